"""Rows to their sides: training, validation, test. A side is decided once, and rows that are alike never straddle sides."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from delivery.artifacts import Example, LabeledDataset, Split, Splits
from delivery.client_config import SplitRule
from delivery.errors import ClientDataError

MIN_ROWS = 20
MIN_TEST_ROWS = 10

_HELD_OUT: tuple[Split, ...] = ("test", "validation")


class _Alike(NamedTuple):
    """``near``: pairs of places whose inputs are nearly the same. ``groups``: places of rows that belong on one side."""

    near: list[tuple[int, int]]
    groups: list[list[int]]


def split(dataset: LabeledDataset, rule: SplitRule, *, decided: Mapping[str, Split] | None = None) -> Splits:
    """Give every row its side.

    Rows whose inputs are equal or nearly so, or that share the value of ``group_by``, form a group. A row keeps the side
    that it had in an earlier version (``decided``, see ``side_names``), else the split that it brings; the rest of its group
    follows. A group that knows no side yet goes by a hash of its smallest name, the seed and the shares. Where a group stands
    on two sides all the same, because it was delivered so or grew together later, the test side keeps its rows, and the
    others are left out of training and validation (then training rows of what validation holds). Equal rows within training
    stay: they are how often the client saw the case.

    Raises:
        ClientDataError: too few rows in all, to train on or to test with; or a row lacks the field of ``group_by``.
    """
    examples = dataset.examples
    if len(examples) < MIN_ROWS:
        raise ClientDataError(f"data: {len(examples)} rows, but it takes at least {MIN_ROWS}; label more")
    alike = _find_alike(examples, rule)
    known = [_known_side(example, rule, decided or {}) for example in examples]
    sides: list[Split | None] = [None] * len(examples)
    for group in alike.groups:
        _place_group(group, examples, rule, known=known, sides=sides)
    splits = Splits(
        train=_on("train", examples, sides),
        validation=_on("validation", examples, sides),
        test=_on("test", examples, sides),
        left_out=tuple(example.id for example, side in zip(examples, sides, strict=True) if side is None),
        near=tuple((examples[one].id, examples[other].id) for one, other in alike.near),
    )
    _refuse_too_few(splits, len(examples), rule)
    return splits


def side_names(example: Example, rule: SplitRule) -> tuple[str, ...]:
    """The names under which a row's side is remembered, the strongest first: its id, its input, its ``group_by`` group.

    They are hashes, so that a list of them says nothing about the rows.
    """
    if rule.group_by is None:
        return example.names
    group = f"{rule.group_by}={_group_name(example, rule.group_by)}"
    return *example.names, f"group:{hashlib.sha256(group.encode()).hexdigest()[:32]}"


def _known_side(example: Example, rule: SplitRule, decided: Mapping[str, Split]) -> Split | None:
    if decided:
        for name in side_names(example, rule):
            if name in decided:
                return decided[name]
    return example.split


def _place_group(
    group: Sequence[int],
    examples: Sequence[Example],
    rule: SplitRule,
    *,
    known: Sequence[Split | None],
    sides: list[Split | None],
) -> None:
    found = {side for place in group if (side := known[place]) is not None}
    if not found:
        found = {_side(min(_name(examples[place], rule) for place in group), rule)}
    # Only what stands on the most protected side may be used: a row beside it would tell of it.
    kept: Split = next((side for side in _HELD_OUT if side in found), "train")
    for place in group:
        if known[place] == kept or (known[place] is None and len(found) == 1):
            sides[place] = kept


def _on(side: Split, examples: Sequence[Example], sides: Sequence[Split | None]) -> tuple[Example, ...]:
    return tuple(example for example, placed in zip(examples, sides, strict=True) if placed == side)


def _find_alike(examples: Sequence[Example], rule: SplitRule) -> _Alike:
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    from delivery.dataset.near import near_pairs
    from delivery.dataset.shingles import folded

    first_with: dict[str, int] = {}
    same_input = [first_with.setdefault(example.input_key, place) for place, example in enumerate(examples)]
    firsts = list(first_with.values())
    near = [(firsts[one], firsts[other]) for one, other in near_pairs([folded(examples[n].asked) for n in firsts]).tolist()]
    links = list(enumerate(same_input)) + near
    if rule.group_by is not None:
        first_of: dict[str, int] = {}
        links += [(n, first_of.setdefault(_group_name(e, rule.group_by), n)) for n, e in enumerate(examples)]
    rows, columns = np.array(links, np.int64).T
    graph = coo_array((np.ones(len(links), np.int8), (rows, columns)), shape=(len(examples), len(examples)))
    members: dict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(connected_components(graph, directed=False)[1].tolist()):
        members[label].append(place)
    return _Alike(near, list(members.values()))


def _side(name: str, rule: SplitRule) -> Split:
    place = _fraction(f"{rule.seed}:{name}")
    if place < rule.test:
        return "test"
    return "validation" if place < rule.test + rule.validation else "train"


def _name(example: Example, rule: SplitRule) -> str:
    if rule.group_by is not None:
        return _group_name(example, rule.group_by)
    # A derived id may carry a suffix that tells rows of one input apart; they belong on one side.
    derived = example.input_key[:16]
    return derived if example.id.startswith(derived) else example.id


def _group_name(example: Example, field: str) -> str:
    group = example.metadata.get(field)
    if group is None:
        where = f"{example.source}:{example.line}: metadata.{field}"
        raise ClientDataError(f"{where}: is missing, but data.splits.group_by names it; add it, or unset group_by")
    return group


def _fraction(name: str) -> float:
    """A name to [0, 1): 53 bits of its SHA-256, all that a float holds, so that 1.0 cannot come out of rounding."""
    return (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 11) / 2**53


def _refuse_too_few(splits: Splits, rows: int, rule: SplitRule) -> None:
    copies = f", {len(splits.left_out)} left out as copies of held-out rows" if splits.left_out else ""
    if not splits.train:
        raise ClientDataError(f"data: no row of {rows} is left to train on{copies}; label more, or lower data.splits.test")
    if len(splits.test) < MIN_TEST_ROWS:
        takes = math.ceil(MIN_TEST_ROWS / rule.test)
        what = f"{len(splits.test)} test rows of {rows}, but it takes at least {MIN_TEST_ROWS}"
        remedy = f"about {takes} rows with data.splits.test: {rule.test:g}, or rows with split: test"
        raise ClientDataError(f"data: {what}; give {remedy}")
