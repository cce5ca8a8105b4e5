"""What the rows look like: labels, lengths, copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import orjson

from delivery.artifacts import DataProfile, Example, LabelCount, LengthBin
from delivery.dataset.leakage import Alike

FEW = 100
"""Values that a field may have to count as a label."""
SIDES = ("train", "validation", "test")
FIRST_EDGE = 25


def profile_of(alike: Alike, *, identifiers: Mapping[str, int]) -> DataProfile:
    """The profile of divided rows."""
    splits = alike.splits
    shared: Counter[str] = Counter()
    for key, rows in alike.by_input.items():
        shared["near" if key in alike.near_inputs else "exact" if len(rows) > 1 else "unique"] += len(rows)
    return DataProfile(
        labels=_labels({side: getattr(splits, side) for side in SIDES}),
        lengths=_lengths(alike.examples),
        copies={**{kind: shared[kind] for kind in ("unique", "exact", "near")}, "left_out": len(splits.left_out)},
        identifiers=dict(identifiers),
    )


def _labels(sides: Mapping[str, Iterable[Example]]) -> tuple[LabelCount, ...]:
    """Counts of whole answers where they are few, else of the values of each field of a JSON answer that has few."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for side, examples in sides.items():
        for example in examples:
            answers[example.answer][side] += 1
    fields: dict[str, set[str]] = defaultdict(set)
    for answer, by_side in answers.items():
        found = _fields_of(answer)
        for name, value in found.items():
            fields[name].add(value)
            counts[name][value].update(by_side)
    few = [name for name, values in fields.items() if len(values) <= FEW]
    return tuple(
        LabelCount(name, value, {side: by_side[side] for side in SIDES})
        for name in few
        for value, by_side in sorted(counts[name].items(), key=lambda item: (-item[1].total(), item[0]))
    )


def _fields_of(answer: str) -> dict[str, str]:
    if not answer.startswith("{"):
        return {"": answer}
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {"": answer}
    plain = {name: value for name, value in found.items() if not isinstance(value, dict | list)}
    return {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in plain.items()}


def _lengths(examples: Iterable[Example]) -> tuple[LengthBin, ...]:
    """Rows by the characters of their input, in bins that double."""
    bins: Counter[int] = Counter()
    for example in examples:
        bins[(len(example.asked) // FIRST_EDGE).bit_length()] += 1
    low, high = min(bins), max(bins)
    edges = [0, *(FIRST_EDGE << place for place in range(high + 1))]
    return tuple(LengthBin(edges[place], edges[place + 1], bins[place]) for place in range(low, high + 1))
