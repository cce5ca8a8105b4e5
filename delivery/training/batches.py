"""Which rows make which optimizer step, in which micro-batches. Pure, and decided by the rows and the seed alone.

A *unit* is what stays together: one example with all rows that it gives (the turns that are learned of a chat).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import Protocol

from delivery.training.packing import pack, shared_length

MicroBatch = list[int]
Step = list[MicroBatch]

_POOL = 32
"""Batches' worth of padded rows that are sorted by length together. Rows of one batch are then of nearly one length, which
keeps padding under a few per cent, while the pools themselves are drawn anew in every epoch."""


class Sizes(Protocol):
    """What micro-batches of some units compute."""

    def __len__(self) -> int:
        """How many units there are."""

    def batches(self, order: Sequence[int], batch_size: int) -> list[list[int]]:
        """The units, which are in random order, as batches."""

    def together(self, units: Sequence[int]) -> list[int]:
        """The units of a batch with those side by side that are cheap together."""

    def added(self, ordered: Sequence[int]) -> list[int]:
        """About how many tokens each adds to a micro-batch that its neighbours are in."""

    def tokens(self, units: Sequence[int]) -> int:
        """Tokens that a micro-batch of these units computes."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows without padding, openings that they share once (``packing``). ``units`` holds the token ids of each unit's rows."""

    units: Sequence[Sequence[list[int]]]

    def __len__(self) -> int:
        """How many units there are."""
        return len(self.units)

    def batches(self, order: Sequence[int], batch_size: int) -> list[list[int]]:
        """As they come."""
        return [list(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]

    def together(self, units: Sequence[int]) -> list[int]:
        """Neighbours share the longest openings."""
        return sorted(units, key=lambda unit: (self.units[unit][-1], unit))

    def added(self, ordered: Sequence[int]) -> list[int]:
        """The last row of each, without what it shares with a neighbour."""
        rows = [self.units[unit][-1] for unit in ordered]
        shared = [0, *(shared_length(*pair) for pair in pairwise(rows)), 0]
        return [1 + len(row) - max(sides) for row, sides in zip(rows, pairwise(shared), strict=True)]

    def tokens(self, units: Sequence[int]) -> int:
        """Length of the packed sequence."""
        return pack([row for unit in units for row in self.units[unit]]).tokens


@dataclass(frozen=True, slots=True)
class Padded:
    """Rows padded to the longest of their micro-batch. ``units`` holds the lengths of each unit's rows."""

    units: Sequence[Sequence[int]]

    def __len__(self) -> int:
        """How many units there are."""
        return len(self.units)

    def batches(self, order: Sequence[int], batch_size: int) -> list[list[int]]:
        """Pools of some batches, sorted by length."""
        found = []
        for start in range(0, len(order), _POOL * batch_size):
            pool = sorted(order[start : start + _POOL * batch_size], key=self._longest)
            found += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        return found

    def together(self, units: Sequence[int]) -> list[int]:
        """Neighbours are of nearly one length."""
        return sorted(units, key=lambda unit: (self._longest(unit), unit))

    def added(self, ordered: Sequence[int]) -> list[int]:
        """All rows of each."""
        return [sum(self.units[unit]) for unit in ordered]

    def tokens(self, units: Sequence[int]) -> int:
        """Padding included."""
        return sum(len(self.units[unit]) for unit in units) * max(map(self._longest, units))

    def _longest(self, unit: int) -> int:
        return max(self.units[unit])


def schedule(sizes: Sizes, *, batch_size: int, micro_batch_tokens: int, steps: int, seed: int) -> list[Step]:
    """``steps`` optimizer steps over units of these sizes; every unit once per epoch.

    Each step is a list of micro-batches, each a list of unit numbers. A unit that alone computes more than
    ``micro_batch_tokens`` is a micro-batch of its own.
    """
    if not len(sizes):
        raise ValueError("there are no rows to train on")
    taken: list[Step] = []
    epoch = 0
    while len(taken) < steps:
        # The epoch is part of the seed, so the order of a later epoch does not hang on how earlier ones were drawn.
        rng = random.Random(f"{seed}/{epoch}")
        order = list(range(len(sizes)))
        rng.shuffle(order)
        drawn = sizes.batches(order, batch_size)
        rng.shuffle(drawn)
        taken += [micro_batches(sizes, units, micro_batch_tokens) for units in drawn[: steps - len(taken)]]
        epoch += 1
    return taken


def micro_batches(sizes: Sizes, units: Sequence[int], budget: int) -> list[MicroBatch]:
    """The units of one batch in the fewest even parts that each compute at most ``budget`` tokens, or are one unit."""
    ordered = sizes.together(units)
    added = sizes.added(ordered)
    until = list(accumulate(added))
    for parts in range(1, len(ordered) + 1):
        # A unit goes where its middle falls when the whole is cut evenly.
        places = [int(parts * (end - size / 2) / until[-1]) for end, size in zip(until, added, strict=True)]
        groups = [[unit for _, unit in group] for _, group in groupby(zip(places, ordered, strict=True), key=itemgetter(0))]
        if all(len(group) == 1 or sizes.tokens(group) <= budget for group in groups):
            return groups
    return [[unit] for unit in ordered]


def validation_steps(steps: int) -> tuple[int, ...]:
    """After which steps the validation loss is measured: at each third, the end included."""
    return tuple(sorted({max(1, steps * third // 3) for third in (1, 2, 3)}))


def validation_rows(steps: int, batch_size: int) -> int:
    """How many validation rows are scored at each of those points, at most.

    64 show a trend; fewer where that would cost a short run more than a tenth of its time (three points, and a forward
    pass is half of what training on a row costs).
    """
    return min(64, max(4, steps * batch_size // 15))
