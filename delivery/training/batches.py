"""Which rows make which optimizer step, in which micro-batches. Pure, and decided by lengths and seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise, takewhile

MicroBatch = list[int]
Step = list[MicroBatch]

_POOL = 32
"""Batches' worth of rows that are sorted by length together. Rows of one batch are then of nearly one length, which
keeps padding under a few per cent, while the pools themselves are drawn anew in every epoch."""


_SHORTEST_PREFIX = 16
"""Tokens: a shorter prefix is not worth products of its own."""


def shared_length(rows: Sequence[list[int]], answer_starts: Sequence[int]) -> int:
    """How many opening tokens all rows share, each keeping one before its answer; 0 where that is too short to matter."""
    if len(rows) < 2:
        return 0
    # What the first and the last in order share, all between them share.
    pairs = zip(min(rows), max(rows), strict=False)
    length = min(min(answer_starts) - 1, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return length if length >= _SHORTEST_PREFIX else 0


def schedule(lengths: Sequence[int], *, batch_size: int, micro_batch_tokens: int, steps: int, seed: int) -> list[Step]:
    """``steps`` optimizer steps over rows of these lengths (tokens); every row once per epoch.

    Each step is a list of micro-batches, each a list of row numbers. A row that alone is longer than
    ``micro_batch_tokens`` is a micro-batch of its own.
    """
    if not lengths:
        raise ValueError("there are no rows to train on")
    taken: list[Step] = []
    epoch = 0
    while len(taken) < steps:
        # The epoch is part of the seed, so the order of a later epoch does not hang on how earlier ones were drawn.
        for rows in _epoch(lengths, batch_size, random.Random(f"{seed}/{epoch}")):
            taken.append(micro_batches(lengths, rows, micro_batch_tokens))
        epoch += 1
    return taken[:steps]


def _epoch(lengths: Sequence[int], batch_size: int, rng: random.Random) -> list[list[int]]:
    rows = list(range(len(lengths)))
    rng.shuffle(rows)
    batches = []
    for start in range(0, len(rows), _POOL * batch_size):
        pool = sorted(rows[start : start + _POOL * batch_size], key=lambda row: lengths[row])
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    rng.shuffle(batches)
    return batches


def micro_batches(lengths: Sequence[int], rows: Sequence[int], budget: int) -> list[MicroBatch]:
    """The rows of one batch in the fewest even parts that each fit ``budget`` tokens, padding included."""
    ordered = sorted(rows, key=lambda row: (lengths[row], row))
    for parts in range(1, len(ordered) + 1):
        cuts = [len(ordered) * i // parts for i in range(parts + 1)]
        groups = [ordered[a:b] for a, b in pairwise(cuts)]
        if all(len(group) * lengths[group[-1]] <= budget for group in groups):
            return groups
    return [[row] for row in ordered]


def validation_steps(steps: int) -> tuple[int, ...]:
    """After which steps the validation loss is measured: at each third, the end included."""
    return tuple(sorted({max(1, steps * third // 3) for third in (1, 2, 3)}))


def validation_rows(steps: int, batch_size: int) -> int:
    """How many validation rows are scored at each of those points, at most.

    64 show a trend; fewer where that would cost a short run more than a tenth of its time (three points, and a forward
    pass is half of what training on a row costs).
    """
    return min(64, max(4, steps * batch_size // 15))
