"""Engine: greedy answers from weights in this process, for the untouched base and for the adapter on it.

Requests of one call share their opening tokens (system prompt, shots): their keys and values are computed once. Batches
are of similar length, padded on the left; rows that have ended leave the batch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from delivery.artifacts import Answer
from delivery.evaluation.endpoints.endpoint import OnAnswer, Request
from delivery.weights import hf as weights

BATCH = 32
_LEAVE_SHARE = 0.25
_ROOM = 64
"""Tokens that a grown cache has room for."""


class _Prompt(NamedTuple):
    sample_id: str
    ids: list[int]


class _Prefix(NamedTuple):
    length: int
    cache: DynamicCache | None


class HFEndpoint:
    """An ``Endpoint`` on transformers. The same requests in one call give the same answers.

    Weights are bf16 where the machine computes in it. Sums are then rounded differently in batches of another make-up, so
    a call that resumes an evaluation can differ from an undisturbed one where two tokens are all but equally likely.
    """

    def __init__(self, path: Path, *, name: str, adapter: Path | None = None, batch_size: int = BATCH) -> None:
        self.name = name
        self.batch_size = batch_size
        self._path, self._adapter = path, adapter
        self._model: Any = None
        self._tokenizer: Any = None

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """Answer in batches, the longest prompts first. A prompt beyond the context length is an error of its sample.

        Raises:
            ConfigError: the model or its chat template cannot be used.
            IntegrityError: the adapter's files are missing.
        """
        self._load()
        context = int(getattr(self._model.config, "max_position_embeddings", 0)) or None
        prompts = []
        for request in requests:
            ids = weights.render(self._tokenizer, request.messages).ids
            if context is not None and len(ids) + max_new_tokens > context:
                why = f"prompt of {len(ids)} and {max_new_tokens} new tokens exceed the context of {context}"
                on_answer(Answer(request.sample_id, None, error=why, prompt_tokens=len(ids)))
            else:
                prompts.append(_Prompt(request.sample_id, ids))
        prefix = self._shared_prefix(prompts)
        for batch in _batches(prompts, self.batch_size):
            for answer in self._answer_batch(batch, prefix, max_new_tokens):
                on_answer(answer)

    def _load(self) -> None:
        if self._model is None:
            self._tokenizer = weights.load_tokenizer(self._path)
            self._model = weights.load_model(self._path, adapter=self._adapter)
            self._model.get_output_embeddings().register_forward_pre_hook(_compact)

    @property
    def _ends(self) -> torch.Tensor:
        configured = self._model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return torch.tensor(sorted({self._tokenizer.eos_token_id, *(e for e in ends if e is not None)}))

    def _new_cache(self) -> DynamicCache:
        cache = DynamicCache(config=self._model.config)
        cache.layers = [_Growing() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        return cache

    @torch.inference_mode()
    def _shared_prefix(self, prompts: Sequence[_Prompt]) -> _Prefix:
        if len(prompts) < 2:
            return _Prefix(0, None)
        shortest, first, last = min(len(p.ids) for p in prompts), min(p.ids for p in prompts), max(p.ids for p in prompts)
        # What the first and the last in order share, all between them share; each keeps a token of its own to go on from.
        length = min(shortest - 1, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))))
        if length == 0:
            return _Prefix(0, None)
        cache = self._new_cache()
        ids = torch.tensor([first[:length]], device=self._model.device)
        self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return _Prefix(length, cache)

    def _answer_batch(self, batch: Sequence[_Prompt], prefix: _Prefix, max_new_tokens: int) -> Iterator[Answer]:
        started = time.perf_counter()
        generated = self._generate([p.ids[prefix.length :] for p in batch], prefix, max_new_tokens)
        ends = set(self._ends.tolist())
        seconds = (time.perf_counter() - started) / len(batch)
        for prompt, ids in zip(batch, generated, strict=True):
            text = self._tokenizer.decode([i for i in ids if i not in ends], skip_special_tokens=True)
            yield Answer(prompt.sample_id, text, prompt_tokens=len(prompt.ids), completion_tokens=len(ids), seconds=seconds)

    @torch.inference_mode()
    def _generate(self, rows: Sequence[list[int]], prefix: _Prefix, max_new_tokens: int) -> list[list[int]]:
        """Greedy continuation of each row, up to and with its end token."""
        device = self._model.device
        width = max(len(row) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.ones((len(rows), prefix.length + width), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, width - len(row) :] = torch.tensor(row)
            mask[index, prefix.length : prefix.length + width - len(row)] = 0
        ids, mask, ends = ids.to(device), mask.to(device), self._ends.to(device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, prefix.length :]
        cache = copy.deepcopy(prefix.cache) if prefix.cache is not None else self._new_cache()
        cache.batch_repeat_interleave(len(rows))
        generated: list[list[int]] = [[] for _ in rows]
        active = torch.arange(len(rows), device=device)
        running = torch.ones(len(rows), dtype=torch.bool, device=device)
        for _ in range(max_new_tokens):
            logits = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits
            tokens = logits[:, -1].argmax(-1)
            for row, token, goes_on in zip(active.tolist(), tokens.tolist(), running.tolist(), strict=True):
                if goes_on:
                    generated[row].append(token)
            running &= ~torch.isin(tokens, ends)
            if not running.any():
                break
            ids, mask, positions = tokens[:, None], torch.nn.functional.pad(mask, (0, 1), value=1), positions[:, -1:] + 1
            if (~running).float().mean() >= _LEAVE_SHARE:
                keep = running.nonzero()[:, 0]
                cache.batch_select_indices(keep)
                ids, mask, positions, active, running = ids[keep], mask[keep], positions[keep], active[keep], running[keep]
        return generated


class _Growing(DynamicLayer):
    """Keys and values with room behind them: a token costs its own bytes and not a copy of all before it."""

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = _appended(self.keys, key_states), _appended(self.values, value_states)
        return self.keys, self.values


def _appended(held: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """``new`` behind ``held`` along the tokens (batch, heads, tokens, d), in held's own storage where that has room."""
    batch, heads, count, dim = new.shape
    length = held.shape[-2] if held.numel() else 0
    # A tensor that was selected, repeated or is new has no room: its heads lie next to each other.
    if not length or held.stride(1) < (length + count) * dim:
        roomy = new.new_empty(batch, heads, length + count + _ROOM, dim)
        if length:
            roomy[:, :, :length] = held
        held = roomy
    whole = held.as_strided((batch, heads, length + count, dim), held.stride(), held.storage_offset())
    whole[:, :, length:] = new
    return whole


def _compact(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
    """The last positions as a tensor of their own: of a slice, a matrix product would copy the output matrix once per row."""
    return (inputs[0].contiguous(),)


def _batches(prompts: Sequence[_Prompt], size: int) -> Iterator[list[_Prompt]]:
    longest_first = sorted(prompts, key=lambda prompt: (-len(prompt.ids), prompt.sample_id))
    for start in range(0, len(longest_first), size):
        yield longest_first[start : start + size]
