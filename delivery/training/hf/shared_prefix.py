"""Attention over packed rows: several rows in one sequence, openings that they share computed once, and no padding.

Every token attends to the segments that its own follows on, and to its segment up to itself, which is what it would see if
its row stood alone; its position is that in its row (see ``delivery.training.packing``). So loss and gradients are those of
training on every row by itself, the gradient of a shared token being the sum over its rows, for less work: linear layers
see shared tokens once. The idea is that of prefix sharing in serving (Juravsky et al., "Hydragen", 2024), here as a tree
and with a backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from delivery.training.memory import PLAIN_ATTENTION_UP_TO, PLAIN_QUERIES
from delivery.training.packing import Block, Pack, blocks

NAME = "shared_prefix"

_FUSED_QUERIES = 512
"""Queries of a block for fused kernels, which gain by length and lose by masks."""


class View(NamedTuple):
    """A block of queries and what they may not see of its last keys; in ``_fused`` what they may see of all.

    ``mask`` is bool (queries, keys), or None for a plain triangle.
    """

    block: Block
    mask: torch.Tensor | None


def register() -> None:
    """Make the attention known to transformers under ``NAME``; models loaded with it take a ``layout`` in each call."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def views_of(packed: Pack, device: torch.device) -> tuple[View, ...]:
    """What the attention of every layer needs to know of a packed sequence; a model is given it as ``layout``."""
    starts = torch.zeros(packed.tokens, dtype=torch.long)
    for segment in packed.segments:
        starts[segment.start : segment.end] = segment.start
    plain = _plain_on(device)
    found = []
    for block in blocks(packed, tokens=PLAIN_QUERIES if plain else _FUSED_QUERIES, cut=plain):
        queries, keys = torch.arange(block.start, block.end)[:, None], torch.arange(block.own, block.end)
        mask = (keys < starts[block.start : block.end, None]) | (keys > queries)
        if plain:
            # From the first key on that anyone may not see.
            mask = mask[:, int(mask.any(0).int().argmax()) :]
        else:
            before = sum(end - start for start, end in block.before)
            mask = torch.nn.functional.pad(~mask, (before, 0), value=True)
        alone = not block.before and int(starts[block.end - 1]) == block.start
        found.append(View(block, None if alone and not plain else mask.to(device)))
    return tuple(found)


def _plain_on(device: torch.device) -> bool:
    return device.type == "cpu"


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _: Any,
    *,
    layout: Sequence[View],
    scaling: float,
    **__: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes: query (1, heads, tokens, d), key and value (1, key heads, tokens, d); returns (1, tokens, heads, d)."""
    attend = _Blocks.apply if _plain_on(query.device) else _fused
    return attend(query, key, value, layout, scaling), None


def _keys(x: torch.Tensor, block: Block, dim: int) -> torch.Tensor:
    """The keys (or values) of a block: those before, and its own."""
    own = x.narrow(dim, block.own, block.end - block.own)
    return torch.cat([*(x.narrow(dim, a, b - a) for a, b in block.before), own], dim) if block.before else own


class _Blocks(torch.autograd.Function):
    """Block after block, with plain products whose scores fit into the caches.

    On a CPU that beats torch's fused attention, above all backward in bfloat16. Scores of blocks with few keys are kept for
    the backward pass; those of longer ones are computed again, so memory does not grow with the square of a row.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        query, key, value, views, scaling = inputs
        query, key, value = query[0], key[0], value[0]
        out = query.new_empty(query.shape[1], query.shape[0], query.shape[2])
        kept = []
        for view in views:
            shares = _shares(_queries(query, view.block, key.shape[0], scaling), key, view)
            got = torch.bmm(shares, _keys(value, view.block, 1))
            out[view.block.start : view.block.end] = got.view(query.shape[0], -1, query.shape[2]).transpose(0, 1)
            if shares.shape[2] <= PLAIN_ATTENTION_UP_TO:
                kept.append(shares)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.views, ctx.scaling = views, scaling
        return out[None]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        heads, _, dim = query.shape
        kept.reverse()
        to_query = torch.empty_like(query)
        # Many blocks add to the keys that they share: in float32, whatever the precision of each.
        wide = torch.promote_types(query.dtype, torch.float32)
        to_key, to_value = (torch.zeros_like(x, dtype=wide) for x in (key, value))
        for view in ctx.views:
            block = view.block
            queries = _queries(query, block, key.shape[0], ctx.scaling)
            keys = _keys(key, block, 1)
            shares = kept.pop() if keys.shape[1] <= PLAIN_ATTENTION_UP_TO else _shares(queries, key, view)
            gradient = gradients[0][0, block.start : block.end].transpose(0, 1).reshape(queries.shape)
            to_shares = torch.bmm(gradient, _keys(value, block, 1).transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_shares, shares, -1, shares.dtype)
            to_query[:, block.start : block.end] = torch.bmm(to_scores, keys).mul_(ctx.scaling).view(heads, -1, dim)
            _add(to_key, block, torch.bmm(to_scores.transpose(1, 2), queries))
            _add(to_value, block, torch.bmm(shares.transpose(1, 2), gradient))
        return to_query[None], to_key.to(key.dtype)[None], to_value.to(value.dtype)[None], None, None


def _queries(query: torch.Tensor, block: Block, key_heads: int, scaling: float) -> torch.Tensor:
    """A block's scaled queries, those of heads that share a key head as rows of one matrix: (key heads, group x queries, d)."""
    return (query[:, block.start : block.end] * scaling).reshape(key_heads, -1, query.shape[2])


def _shares(queries: torch.Tensor, key: torch.Tensor, view: View) -> torch.Tensor:
    """How much each query takes of each key: (key heads, group x queries, keys)."""
    scores = torch.bmm(queries, _keys(key, view.block, 1).transpose(1, 2))
    assert view.mask is not None
    count, own = view.mask.shape
    scores.view(len(scores), -1, count, scores.shape[2])[..., -own:].masked_fill_(view.mask, float("-inf"))
    return torch.softmax(scores, dim=-1)


def _add(total: torch.Tensor, block: Block, part: torch.Tensor) -> None:
    """Add what a block gives to its keys where they stand."""
    at = 0
    for start, end in (*block.before, (block.own, block.end)):
        total[:, start:end] += part[:, at : at + end - start]
        at += end - start


def _fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, views: Sequence[View], scaling: float) -> torch.Tensor:
    """Block after block by torch's kernels, which keep no scores."""
    parts = [
        scaled_dot_product_attention(
            query[:, :, block.start : block.end],
            _keys(key, block, 2),
            _keys(value, block, 2),
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=query.shape[1] > key.shape[1],
        )
        for block, mask in views
    ]
    return torch.cat(parts, dim=2).transpose(1, 2)
