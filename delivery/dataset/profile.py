"""What the rows look like: labels, lengths, copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from delivery.artifacts import DataProfile, Example, LabelCount, LengthBin
from delivery.client_config import UseCase
from delivery.dataset.leakage import Alike

SIDES = ("train", "validation", "test")
FIRST_EDGE = 25


def profile_of(alike: Alike, *, use_case: UseCase | None, identifiers: Mapping[str, int]) -> DataProfile:
    """The profile of divided rows."""
    splits = alike.splits
    shared: Counter[str] = Counter()
    for key, rows in alike.by_input.items():
        shared["near" if key in alike.near_inputs else "exact" if len(rows) > 1 else "unique"] += len(rows)
    return DataProfile(
        labels=_labels(alike, use_case),
        lengths=_lengths(alike.examples),
        copies={**{kind: shared[kind] for kind in ("unique", "exact", "near")}, "left_out": len(splits.left_out)},
        identifiers=dict(identifiers),
    )


def _labels(alike: Alike, use_case: UseCase | None) -> tuple[LabelCount, ...]:
    """Labels, or fields of few values, by side; rows that are left out of use count nowhere."""
    from delivery.dataset.quality.values import values_by_field

    side_of = {e.id: side for side in SIDES for e in getattr(alike.splits, side)}
    sides = [side_of.get(example.id) for example in alike.examples]
    found = []
    for name, values in values_by_field(alike.examples, use_case).items():
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for value, side in zip(values, sides, strict=True):
            if side is not None:
                counts[value][side] += 1
        ranked = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
        found += [LabelCount(name, value, {side: by_side[side] for side in SIDES}) for value, by_side in ranked]
    return tuple(found)


def _lengths(examples: Iterable[Example]) -> tuple[LengthBin, ...]:
    """Rows by the characters of their input, in bins that double."""
    bins: Counter[int] = Counter()
    for example in examples:
        bins[(len(example.asked) // FIRST_EDGE).bit_length()] += 1
    low, high = min(bins), max(bins)
    edges = [0, *(FIRST_EDGE << place for place in range(high + 1))]
    return tuple(LengthBin(edges[place], edges[place + 1], bins[place]) for place in range(low, high + 1))
