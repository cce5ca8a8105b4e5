"""Attention of rows that share their opening tokens, which are computed once for all of them.

A micro-batch is one sequence: the shared tokens, then each row's own, padded on the right to one width. Every own token
attends to the shared ones and to those before it in its row, which is what it would see if its row stood alone; each row
continues the positions of the prefix. So loss and gradients are those of training on every row by itself (the gradient of
the shared tokens being the sum over the rows), for less work: linear layers see the shared tokens once instead of once
per row. The idea is that of prefix sharing in serving (Juravsky et al., "Hydragen", 2024), here with a backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from delivery.training.memory import PLAIN_ATTENTION_UP_TO

NAME = "shared_prefix"

_PLAIN_ATTENTION = ("llama", "qwen2", "qwen3", "smollm3")
"""Architectures whose attention is the softmax of scaled products over all earlier tokens, and nothing else."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A micro-batch of ``prefix`` shared tokens and then ``rows`` rows of ``width`` own tokens each."""

    prefix: int
    rows: int
    width: int


def supports(config: Any) -> bool:
    """Whether a model's attention can be computed so."""
    return config.model_type in _PLAIN_ATTENTION and not getattr(config, "use_sliding_window", False)


def register() -> None:
    """Make the attention known to transformers under ``NAME``; models loaded with it take a ``layout`` in each call."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _: Any,
    *,
    layout: Layout,
    scaling: float,
    **__: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes: query (1, heads, tokens, d), key and value (1, key heads, tokens, d); returns (1, tokens, heads, d)."""
    kv, dim = key.shape[1], key.shape[3]
    group, prefix = query.shape[1] // kv, layout.prefix
    plain = query.device.type == "cpu" and prefix + layout.width <= PLAIN_ATTENTION_UP_TO
    attend = _plain if plain else _fused
    parts = []
    if prefix:
        # The prefix is a row of its own, with nothing before it.
        alone = query[:, :, :prefix].reshape(1, kv, group, prefix, dim)
        here = attend(alone, key[:, :, :prefix], value[:, :, :prefix], None, scaling)
        parts.append(here.permute(0, 3, 1, 2, 4).reshape(1, prefix, kv * group, dim))
    rows, width = layout.rows, layout.width
    own_query = query[0, :, prefix:].reshape(kv, group, rows, width, dim).permute(2, 0, 1, 3, 4)
    own_key, own_value = (x[0, :, prefix:].reshape(kv, rows, width, dim).transpose(0, 1) for x in (key, value))
    before = (key[0, :, :prefix], value[0, :, :prefix]) if prefix else None
    own = attend(own_query, own_key, own_value, before, scaling)
    parts.append(own.permute(0, 3, 1, 2, 4).reshape(1, rows * width, kv * group, dim))
    return torch.cat(parts, dim=1) if prefix else parts[0], None


_Pair = tuple[torch.Tensor, torch.Tensor]


def _plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, before: _Pair | None, scaling: float) -> torch.Tensor:
    """Causal attention of rows, each after the tokens of ``before``; the scores to those are one product for all rows.

    Shapes: query (rows, key heads, group, width, d), key and value (rows, key heads, width, d), ``before`` two of
    (key heads, prefix, d); returns the shape of query.
    """
    rows, kv, group, width, dim = query.shape
    flat = (query * scaling).reshape(rows * kv, group * width, dim)
    own = torch.bmm(flat, key.reshape(rows * kv, width, dim).transpose(1, 2)).view(rows, kv, group, width, width)
    later = torch.ones(width, width, dtype=torch.bool, device=query.device).triu(1)
    scores = own.masked_fill(later, float("-inf"))
    if before is not None:
        keys, values = before
        over = flat.view(rows, kv, group * width, dim).transpose(0, 1).reshape(kv, rows * group * width, dim)
        far = torch.bmm(over, keys.transpose(1, 2)).view(kv, rows, group, width, -1).transpose(0, 1)
        scores = torch.cat([far, scores], dim=-1)
    shares = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    mine = shares[..., -width:].reshape(rows * kv, group * width, width)
    out = torch.bmm(mine, value.reshape(rows * kv, width, dim)).view(rows, kv, group, width, dim)
    if before is not None:
        theirs = shares[..., :-width].transpose(0, 1).reshape(kv, rows * group * width, -1)
        out = out + torch.bmm(theirs, values).view(kv, rows, group, width, dim).transpose(0, 1)
    return out


def _fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, before: _Pair | None, scaling: float) -> torch.Tensor:
    """The same by torch's kernels, which keep no scores; every row gets a copy of the prefix's keys and values."""
    rows, kv, group, width, dim = query.shape
    mask = None
    if before is not None:
        key, value = (
            torch.cat([shared.expand(rows, -1, -1, -1), own], dim=2) for shared, own in zip(before, (key, value), strict=True)
        )
        length = key.shape[2]
        mask = torch.ones(width, length, dtype=torch.bool, device=query.device).tril(length - width)
    out = scaled_dot_product_attention(
        query.reshape(rows, kv * group, width, dim),
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=group > 1,
    )
    return out.view(rows, kv, group, width, dim)
