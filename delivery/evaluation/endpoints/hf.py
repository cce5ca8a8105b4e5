"""Engine: greedy answers from weights in this process, for the untouched base and for the adapter on it.

Requests of one call share what they open with (system prompt, shots, a document): its keys and values are computed once
(``prefixes`` says which, ``shared`` computes them). Prompts are computed without padding; the batches that answers are
generated in are of similar length, padded on the left, and rows that have ended leave them. Of architectures whose
attention ``shared`` does not know, every prompt is computed alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from delivery.artifacts import Answer
from delivery.evaluation.endpoints import choosing
from delivery.evaluation.endpoints.choosing import ROOT, ChoiceTree, Constrained, Everything, Likelihood, Search
from delivery.evaluation.endpoints.endpoint import OnAnswer, Request
from delivery.evaluation.endpoints.prefixes import Batch, Prompt, choices_of, plan
from delivery.evaluation.endpoints.shared import Following, SharedKeys, bytes_per_token, read, supports
from delivery.weights import hf as weights

BATCH = 32
KV_BYTES = 2 << 30
"""Memory for keys and values: half for prompts, half for the batch that is being answered."""
_LEAVE_SHARE = 0.25
_ROOM = 64
"""Tokens that a grown cache has room for."""


class _Begun(NamedTuple):
    """A batch whose prompts are computed: their first tokens, what they go on from, and when it was begun."""

    prompts: list[Prompt]
    tokens: torch.Tensor
    cache: DynamicCache
    since: float


_Asked = list[tuple[int, int]]
"""Tokens of choices: the number of the sample and that of the inner token."""


_ReadOff = Callable[[_Asked], list[Following]]
_S = TypeVar("_S", bound=Search)


class HFEndpoint:
    """An ``Endpoint`` on transformers. The same requests in one call give the same answers.

    Weights are bf16 where the machine computes in it, unless ``dtype`` says otherwise. Sums are then rounded differently in
    batches of another make-up, so a call that resumes an evaluation can differ from an undisturbed one where two tokens are
    all but equally likely. Keys and values take at most ``kv_bytes``, or what the longest prompt needs alone.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        adapter: Path | None = None,
        batch_size: int = BATCH,
        kv_bytes: int = KV_BYTES,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name = name
        self.batch_size, self.kv_bytes = batch_size, kv_bytes
        self._path, self._adapter, self._dtype = path, adapter, dtype
        self._model: Any = None
        self._tokenizer: Any = None

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """Answer in batches, long prompts first. A prompt beyond the context length is an error of its sample.

        ``max_new_tokens`` does not bound the answers of requests with ``choices``: these are said whole.

        Raises:
            ConfigError: the model or its chat template cannot be used.
            IntegrityError: the adapter's files are missing.
            ValueError: a choice has no tokens.
        """
        prompts = self._prompts(requests, max_new_tokens, on_answer)
        for begun in self._begin([p for p in prompts if p.choices is None], max_new_tokens):
            for answer in self._answer_batch(begun, max_new_tokens):
                on_answer(answer)
        closed = [p for p in prompts if p.choices is not None]
        given = {request.sample_id: request for request in requests}
        ends = self._ends.tolist()
        searches = [
            Likelihood(_tree(p)) if given[p.sample_id].choosing == "likelihood" else Constrained(_tree(p), ends) for p in closed
        ]
        for prompt, search, seconds in self._choose(closed, searches):
            said, length = given[prompt.sample_id].choices[search.choice], len(_tree(prompt).paths[search.choice])
            on_answer(Answer(prompt.sample_id, said, None, len(prompt.ids), length, seconds))

    def log_likelihoods(self, requests: Sequence[Request]) -> dict[str, tuple[float, ...]]:
        """Sample id -> the log-probability of each of its ``choices``, in nats, without an end token.

        A prompt beyond the context length is left out.

        Raises:
            ConfigError, IntegrityError: as in ``answer``.
            ValueError: a request without choices, or a choice without tokens.
        """
        if not all(request.choices for request in requests):
            raise ValueError("only requests with choices have log-likelihoods")
        prompts = self._prompts(requests, 0, lambda _: None)
        searches = [Everything(_tree(prompt)) for prompt in prompts]
        return {prompt.sample_id: search.sums for prompt, search, _ in self._choose(prompts, searches)}

    def _load(self) -> None:
        if self._model is None:
            self._tokenizer = weights.load_tokenizer(self._path)
            self._model = weights.load_model(self._path, adapter=self._adapter, dtype=self._dtype)
            self._model.get_output_embeddings().register_forward_pre_hook(_compact)

    def _prompts(self, requests: Sequence[Request], max_new_tokens: int, on_answer: OnAnswer) -> list[Prompt]:
        """The prompts that fit into the context; of the others, the error is told."""
        self._load()
        context = int(getattr(self._model.config, "max_position_embeddings", 0)) or None
        trees: dict[tuple[str, ...], ChoiceTree] = {}
        prompts = []
        for request in requests:
            ids = weights.render(self._tokenizer, request.messages).ids
            if request.choices and request.choices not in trees:
                trees[request.choices] = self._choice_tree(request)
            tree = trees.get(request.choices)
            new = max_new_tokens if tree is None else tree.longest
            if context is not None and len(ids) + new > context:
                why = f"prompt of {len(ids)} and {new} new tokens exceed the context of {context}"
                on_answer(Answer(request.sample_id, None, error=why, prompt_tokens=len(ids)))
            else:
                prompts.append(Prompt(request.sample_id, ids, tree))
        return prompts

    def _choice_tree(self, request: Request) -> ChoiceTree:
        choices = []
        for choice in request.choices:
            ids, start = weights.render(self._tokenizer, request.messages, choice)
            # The last token of an answer is its end.
            choices.append(ids[start:-1])
        return choosing.choice_tree(choices)

    @property
    def _ends(self) -> torch.Tensor:
        configured = self._model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return torch.tensor(sorted({self._tokenizer.eos_token_id, *(e for e in ends if e is not None)}))

    def _new_cache(self) -> DynamicCache:
        cache = DynamicCache(config=self._model.config)
        cache.layers = [_Growing() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        return cache

    def _room(self) -> int:
        return max(1, self.kv_bytes // 2 // bytes_per_token(self._model))

    def _begin(self, prompts: Sequence[Prompt], max_new_tokens: int) -> Iterator[_Begun]:
        """Batches with their prompts computed, and their first answer tokens."""
        if not supports(self._model):
            for batch in _batches(prompts, self.batch_size):
                since = time.perf_counter()
                cache = self._new_cache()
                yield _Begun(batch, self._alone([p.ids for p in batch], cache).argmax(-1), cache, since)
            return
        batches = plan(prompts, rows=self.batch_size, room=self._room(), new_tokens=max_new_tokens)
        shared = SharedKeys(self._model, _slots(batches))
        for planned in batches:
            since = time.perf_counter()
            following = shared.compute(planned, {row.path[-1]: () for row in planned.rows})
            tokens = torch.tensor([following[row.path[-1]].best for row in planned.rows], device=self._model.device)
            cache = self._new_cache()
            for layer, (keys, values) in zip(cache.layers, shared.rows(planned.rows), strict=True):
                layer.update(keys, values)
            yield _Begun([row.prompt for row in planned.rows], tokens, cache, since)

    def _choose(self, prompts: Sequence[Prompt], searches: Sequence[_S]) -> Iterator[tuple[Prompt, _S, float]]:
        """Each prompt with its search, which knows all that it wants, and the seconds that it took."""
        of = {prompt.sample_id: search for prompt, search in zip(prompts, searches, strict=True)}
        for members, read_off in self._closed_batches(prompts):
            started = time.perf_counter()
            running = [of[prompt.sample_id] for prompt in members]
            asked = [(number, ROOT) for number in range(len(members))]
            while asked:
                for (number, inner), following in zip(asked, read_off(asked), strict=True):
                    running[number].tell(inner, following.log_probs)
                asked = [(number, inner) for number, search in enumerate(running) for inner in search.wanted()]
            seconds = (time.perf_counter() - started) / len(members)
            yield from ((prompt, search, seconds) for prompt, search in zip(members, running, strict=True))

    def _closed_batches(self, prompts: Sequence[Prompt]) -> Iterator[tuple[list[Prompt], _ReadOff]]:
        """Batches, each with what computes tokens of its choices and tells what follows them."""
        ends = tuple(self._ends.tolist())

        def wanted(prompt: Prompt, inner: int) -> tuple[int, ...]:
            return (*(step.token for step in _tree(prompt).followers[inner + 1]), *ends)

        def alone(members: list[Prompt], asked: _Asked) -> list[Following]:
            found: list[Following] = []
            for start in range(0, len(asked), self.batch_size):
                part = [(members[number], inner) for number, inner in asked[start : start + self.batch_size]]
                logits = self._alone([p.ids + _tree(p).opening(inner) for p, inner in part], self._new_cache())
                found.extend(read(logits, [wanted(p, inner) for p, inner in part]))
            return found

        def together(shared: SharedKeys, batch: Batch, asked: _Asked) -> list[Following]:
            rows = batch.rows
            slots = {rows[number].slot(inner): wanted(rows[number].prompt, inner) for number, inner in asked}
            # The roots are the prompts' own last tokens and come first of all, with the prompts.
            tokens = batch if asked[0][1] == ROOT else choices_of(rows, asked)
            following = shared.compute(tokens, slots)
            return [following[slot] for slot in slots]

        if not supports(self._model):
            for members in _batches(prompts, self.batch_size):
                yield members, partial(alone, members)
            return
        batches = plan(prompts, rows=self.batch_size, room=self._room())
        shared = SharedKeys(self._model, _slots(batches))
        for batch in batches:
            yield [row.prompt for row in batch.rows], partial(together, shared, batch)

    @torch.inference_mode()
    def _alone(self, rows: Sequence[list[int]], cache: DynamicCache) -> torch.Tensor:
        """The logits (rows, vocabulary) behind each row, which shares nothing with the others."""
        width = max(len(row) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, width - len(row) :] = torch.tensor(row)
        mask = _left_padded([len(row) for row in rows])
        logits: torch.Tensor = self._model(
            input_ids=ids.to(self._model.device),
            attention_mask=mask.to(self._model.device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(self._model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1]

    def _answer_batch(self, begun: _Begun, max_new_tokens: int) -> Iterator[Answer]:
        generated = self._generate(begun, max_new_tokens)
        ends = set(self._ends.tolist())
        seconds = (time.perf_counter() - begun.since) / len(begun.prompts)
        for prompt, ids in zip(begun.prompts, generated, strict=True):
            text = self._tokenizer.decode([i for i in ids if i not in ends], skip_special_tokens=True)
            yield Answer(prompt.sample_id, text, prompt_tokens=len(prompt.ids), completion_tokens=len(ids), seconds=seconds)

    @torch.inference_mode()
    def _generate(self, begun: _Begun, max_new_tokens: int) -> list[list[int]]:
        """Greedy continuation of each row, up to and with its end token."""
        device = self._model.device
        lengths = [len(prompt.ids) for prompt in begun.prompts]
        tokens, cache, ends = begun.tokens, begun.cache, self._ends.to(device)
        mask, positions = _left_padded(lengths).to(device), torch.tensor(lengths, device=device)[:, None]
        generated: list[list[int]] = [[] for _ in lengths]
        active = torch.arange(len(lengths), device=device)
        running = torch.ones(len(lengths), dtype=torch.bool, device=device)
        for step in range(max_new_tokens):
            for row, token, goes_on in zip(active.tolist(), tokens.tolist(), running.tolist(), strict=True):
                if goes_on:
                    generated[row].append(token)
            running &= ~torch.isin(tokens, ends)
            if not running.any() or step == max_new_tokens - 1:
                break
            if (~running).float().mean() >= _LEAVE_SHARE:
                keep = running.nonzero()[:, 0]
                cache.batch_select_indices(keep)
                tokens, mask, positions = tokens[keep], mask[keep], positions[keep]
                active, running = active[keep], running[keep]
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)
            logits = self._model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits
            tokens, positions = logits[:, -1].argmax(-1), positions + 1
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


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    longest_first = sorted(prompts, key=lambda prompt: (-len(prompt.ids), prompt.sample_id))
    for start in range(0, len(longest_first), size):
        yield longest_first[start : start + size]


def _slots(batches: Sequence[Batch]) -> int:
    return 1 + max((slot for batch in batches for row in batch.rows for slot in row.path + row.inner), default=0)


def _left_padded(lengths: Sequence[int]) -> torch.Tensor:
    width = max(lengths)
    return (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()


def _tree(prompt: Prompt) -> ChoiceTree:
    if prompt.choices is None:
        raise ValueError(f"{prompt.sample_id}: asked to choose without choices")
    return prompt.choices
