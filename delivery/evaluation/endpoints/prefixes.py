"""Which tokens of many prompts are computed, and in which order, when openings that prompts share are computed once.

Every token gets a slot for its keys and values, and knows the slot of the token before it: a tree of tokens rather than
rows, as in Zheng et al., "SGLang" (2024). A batch's slots are used again for the next batch, but for what that one opens
with; so no more are in use than ``room``. Nothing here knows about tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, filterfalse, pairwise
from typing import NamedTuple

from delivery.evaluation.endpoints.choosing import ROOT, ChoiceTree

NO_SLOT = -1
_WORTH = 16
"""Shared tokens from which prompts are put side by side; below, those of equal length are."""


class Prompt(NamedTuple):
    """A sample's prompt as tokens, at least one, and the answers to choose from where these are given."""

    sample_id: str
    ids: list[int]
    choices: ChoiceTree | None = None

    @property
    def after(self) -> int:
        """Tokens that may be computed behind the prompt: those of choices that others follow."""
        return len(self.choices.tokens) if self.choices is not None else 0


class Row(NamedTuple):
    """A prompt of a batch, the slots of its tokens, and those that its choices' inner tokens have."""

    prompt: Prompt
    path: list[int]
    inner: list[int]

    def slot(self, inner: int) -> int:
        """The slot of an inner token of its choices; of the prompt's last token for the root."""
        return self.path[-1] if inner == ROOT else self.inner[inner]


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts to answer together, and the tokens that are still to compute, each after the one that comes before it."""

    rows: list[Row] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


def plan(prompts: Sequence[Prompt], *, rows: int, room: int, new_tokens: int = 0) -> list[Batch]:
    """Batches of at most ``rows`` prompts whose tokens take at most ``room`` slots, shared ones once.

    Where ``new_tokens`` are to follow each prompt, the batch as a rectangle (prompts x the longest with its new tokens) has
    at most ``room`` places, too. A prompt that is too long for that is a batch of its own, so ``room`` is never less than
    the longest prompt needs. The last token of a prompt is never shared: what follows it is read off there.
    """
    waiting = ordered(prompts)
    batches: list[Batch] = []
    path: list[int] = []
    ids: list[int] = []
    while waiting:
        kept = path[: _shared(ids, waiting[0].ids)]
        batch, path, ids, taken = _fill(waiting, kept, rows=rows, room=room, new_tokens=new_tokens)
        waiting = waiting[taken:]
        batches.append(batch)
    return batches


class _Filled(NamedTuple):
    batch: Batch
    path: list[int]
    ids: list[int]
    taken: int


def _fill(waiting: Sequence[Prompt], kept: list[int], *, rows: int, room: int, new_tokens: int) -> _Filled:
    """The next batch; ``kept`` are the slots of the first waiting prompt's opening tokens, from the batch before."""
    batch = Batch()
    free = filterfalse(set(kept).__contains__, count())
    used, longest = len(kept), 0
    path, ids = kept, waiting[0].ids
    for prompt in waiting[:rows]:
        path = path[: _shared(ids, prompt.ids)]
        new = len(prompt.ids) - len(path) + prompt.after
        longest = max(longest, len(prompt.ids))
        wide = (len(batch.rows) + 1) * (longest + new_tokens) if new_tokens else 0
        if batch.rows and (used + new > room or wide > room):
            break
        used += new
        shared = len(path)
        own = [next(free) for _ in range(len(prompt.ids) - shared)]
        path, ids = path + own, prompt.ids
        inner = [next(free) for _ in range(prompt.after)]
        batch.rows.append(Row(prompt, path, inner))
        batch.tokens.extend(prompt.ids[shared:])
        batch.slots.extend(own)
        batch.parents.extend([path[shared - 1] if shared else NO_SLOT, *own[:-1]])
        batch.positions.extend(range(shared, len(path)))
    last = batch.rows[-1]
    return _Filled(batch, last.path, last.prompt.ids, len(batch.rows))


def choices_of(rows: Sequence[Row], asked: Sequence[tuple[int, int]]) -> Batch:
    """Inner tokens of choices, each as (number of the row, number of the inner token), behind prompts that are computed."""
    batch = Batch()
    for number, inner in asked:
        row = rows[number]
        if row.prompt.choices is None:
            raise ValueError(f"{row.prompt.sample_id}: there are no choices behind this prompt")
        batch.tokens.append(row.prompt.choices.tokens[inner])
        batch.slots.append(row.slot(inner))
        batch.parents.append(row.slot(row.prompt.choices.parents[inner]))
        batch.positions.append(len(row.path) - 1 + row.prompt.choices.depths[inner])
    return batch


def ordered(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Prompts with a long opening in common side by side, and within that the longest first."""
    by_ids = sorted(prompts, key=lambda prompt: (prompt.ids, prompt.sample_id))
    shared = [_common(before.ids, after.ids) for before, after in pairwise(by_ids)]
    return _family(by_ids, shared)


def _family(members: list[Prompt], shared: list[int]) -> list[Prompt]:
    """``shared[i]`` counts the tokens that members i and i + 1 open with alike; members are sorted by their tokens."""
    if len(members) == 1 or not shared:
        return members
    apart = min(shared) + _WORTH
    ends = [index + 1 for index, tokens in enumerate(shared) if tokens < apart] + [len(members)]
    parts, start = [], 0
    for end in ends:
        parts.append(_family(members[start:end], shared[start : end - 1]))
        start = end
    parts.sort(key=lambda part: (-max(len(prompt.ids) for prompt in part), part[0].sample_id))
    return [prompt for part in parts for prompt in part]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _shared(before: Sequence[int], ids: Sequence[int]) -> int:
    return min(_common(before, ids), len(ids) - 1)
