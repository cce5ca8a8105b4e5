"""Engine: keys and values of a tree of tokens, computed in packs without padding, each token once.

A pack is one sequence of tokens of many prompts; a mask lets each see the tokens on its own path and no others, and each
has the position that it has on its path. What a token sees is thus what it would see if its prompt stood alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from delivery.evaluation.endpoints.prefixes import NO_SLOT, Batch, Row
from delivery.weights.hf import has_plain_attention

_PACK = {"cpu": 512, "cuda": 4096}
"""Tokens that are computed at once: few enough for the processor's cache, many enough for its matrix units."""


class Following(NamedTuple):
    """What comes after a token: the likeliest token of all, and the log-probabilities of those that were asked for."""

    best: int
    log_probs: dict[int, float]


def supports(model: Any) -> bool:
    """Whether a model's attention takes a mask that says which token sees which."""
    return has_plain_attention(model.config) and model.config._attn_implementation in ("sdpa", "eager")


def bytes_per_token(model: Any) -> int:
    """Keys and values of one token in all layers, in the model's own precision."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * dim * model.dtype.itemsize)


class SharedKeys:
    """Keys and values by slot, for one call. Memory: ``slots`` times ``bytes_per_token``."""

    def __init__(self, model: Any, slots: int) -> None:
        self._model = model
        self._parents = np.full(slots, NO_SLOT)
        self._cache = DynamicCache(config=model.config)
        self._layers = [_Slots(slots) for _ in self._cache.layers]
        self._cache.layers = list(self._layers)

    @torch.inference_mode()
    def compute(self, batch: Batch, asked: Mapping[int, Sequence[int]]) -> dict[int, Following]:
        """Compute a batch's tokens; for each slot in ``asked``, what follows it, with these tokens' log-probabilities."""
        following: dict[int, Following] = {}
        size = _PACK[self._model.device.type]
        for start in range(0, len(batch.slots), size):
            pack = slice(start, start + size)
            slots = np.array(batch.slots[pack])
            self._parents[slots] = batch.parents[pack]
            places = [place for place, slot in enumerate(slots.tolist()) if slot in asked]
            logits = self._forward(batch, pack, places)
            wanted = [asked[slots[place]] for place in places]
            following |= zip(slots[places].tolist(), read(logits, wanted), strict=True)
        return following

    def rows(self, rows: Sequence[Row]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Layer by layer, keys and values of whole prompts: (rows, heads, tokens, d), prompts padded on the left."""
        width = max(len(row.path) for row in rows)
        table = np.zeros((len(rows), width), dtype=np.int64)
        for index, row in enumerate(rows):
            table[index, width - len(row.path) :] = row.path
        slots = torch.from_numpy(table).to(self._model.device)
        for layer in self._layers:
            yield layer.keys_held[slots].transpose(1, 2), layer.values_held[slots].transpose(1, 2)

    def _forward(self, batch: Batch, pack: slice, places: Sequence[int]) -> torch.Tensor:
        device, slots = self._model.device, batch.slots[pack]
        seen, visible = self._visible(slots)
        mask = None
        if seen or not _chain(visible):
            hidden = torch.finfo(self._model.dtype).min
            mask = torch.zeros(visible.shape, dtype=self._model.dtype).masked_fill_(torch.from_numpy(~visible), hidden)
            mask = mask[None, None].to(device)
        for layer in self._layers:
            layer.write, layer.read = (torch.tensor(of, device=device) for of in (slots, seen + slots))
        logits: torch.Tensor = self._model(
            input_ids=torch.tensor([batch.tokens[pack]], device=device),
            attention_mask=mask,
            position_ids=torch.tensor([batch.positions[pack]], device=device),
            past_key_values=self._cache,
            use_cache=True,
            # No position at all is nothing that models are tried with.
            logits_to_keep=torch.tensor(places or [0], device=device),
        ).logits[0]
        return logits

    def _visible(self, slots: Sequence[int]) -> tuple[list[int], np.ndarray[Any, np.dtype[np.bool_]]]:
        """Earlier slots that this pack sees, and which of them (columns) and of its own each of its tokens (rows) sees."""
        here = {slot: row for row, slot in enumerate(slots)}
        parents = self._parents[list(slots)].tolist()
        seen: dict[int, int] = {}
        openings: dict[int, list[int]] = {NO_SLOT: []}
        for parent in parents:
            if parent in here or parent in openings:
                continue
            path = [parent]
            while (above := int(self._parents[path[-1]])) != NO_SLOT:
                path.append(above)
            openings[parent] = [seen.setdefault(slot, len(seen)) for slot in path]
        visible = np.zeros((len(slots), len(seen) + len(slots)), dtype=np.bool_)
        for row, parent in enumerate(parents):
            if parent in here:
                visible[row] = visible[here[parent]]
            else:
                visible[row, openings[parent]] = True
            visible[row, len(seen) + row] = True
        return list(seen), visible


class _Slots(DynamicLayer):
    """One layer's keys and values by slot. A forward pass writes its own to ``write`` and sees those of ``read``."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.write = self.read = torch.empty(0, dtype=torch.long)
        self.keys_held = self.values_held = torch.empty(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            heads, dim = key_states.shape[1], key_states.shape[3]
            # Zeros: padding reads slots that hold nothing yet, and what no mask can hide is not-a-number.
            self.keys_held, self.values_held = (key_states.new_zeros(self.slots, heads, dim) for _ in range(2))
        self.keys_held[self.write] = key_states[0].transpose(0, 1)
        self.values_held[self.write] = value_states[0].transpose(0, 1)
        keys, values = (held.index_select(0, self.read).transpose(0, 1)[None] for held in (self.keys_held, self.values_held))
        return keys, values

    def get_seq_length(self) -> int:
        return len(self.read) - len(self.write)


def _chain(visible: np.ndarray[Any, np.dtype[np.bool_]]) -> bool:
    """Whether every token sees all before it: then the causal attention that needs no mask says the same."""
    return int(visible.sum()) == len(visible) * (len(visible) + 1) // 2


def read(logits: torch.Tensor, wanted: Sequence[Sequence[int]]) -> Iterator[Following]:
    """For each row of logits its best token and the log-probabilities of some, taken in float32."""
    if not wanted:
        return
    best = logits.argmax(-1).tolist()
    at = torch.tensor([row for row, tokens in enumerate(wanted) for _ in tokens], dtype=torch.long, device=logits.device)
    tokens = torch.tensor([token for tokens in wanted for token in tokens], dtype=torch.long, device=logits.device)
    wide = logits.float()
    values = iter((wide[at, tokens] - wide.logsumexp(-1)[at]).tolist())
    for row, asked in enumerate(wanted):
        yield Following(best[row], {token: next(values) for token in asked})
