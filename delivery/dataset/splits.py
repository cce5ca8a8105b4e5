"""Rows to their sides: training, validation, test."""

from __future__ import annotations

import hashlib
import math

from delivery.artifacts import Example, LabeledDataset, Split, Splits
from delivery.client_config import SplitRule
from delivery.errors import ClientDataError

MIN_ROWS = 20
MIN_TEST_ROWS = 10


def split(dataset: LabeledDataset, rule: SplitRule) -> Splits:
    """Give every row its side. A split that the row brings is kept; the rest go by a hash of the row's own name.

    So a row's side depends on the row, the seed and the shares alone, and stays when the data grows. Training and
    validation rows whose input the test side holds, too, are left out, then training rows that validation holds.
    Copies within the training side stay: they are how often the client saw the case.

    Raises:
        ClientDataError: too few rows in all, to train on or to test with; or a row lacks the field of ``group_by``.
    """
    if len(dataset.examples) < MIN_ROWS:
        raise ClientDataError(f"data: {len(dataset.examples)} rows, but it takes at least {MIN_ROWS}; label more")
    sides: dict[Split, list[Example]] = {"train": [], "validation": [], "test": []}
    for example in dataset.examples:
        sides[example.split or _side(example, rule)].append(example)
    held_out = {example.input_key for example in sides["test"]}
    left_out: set[str] = set()
    side: Split
    for side in ("validation", "train"):
        keys = {example.id: example.input_key for example in sides[side]}
        left_out.update(name for name, key in keys.items() if key in held_out)
        held_out.update(keys.values())
        sides[side] = [example for example in sides[side] if example.id not in left_out]
    splits = Splits(
        train=tuple(sides["train"]),
        validation=tuple(sides["validation"]),
        test=tuple(sides["test"]),
        left_out=tuple(example.id for example in dataset.examples if example.id in left_out),
    )
    _refuse_too_few(splits, len(dataset.examples), rule)
    return splits


def _side(example: Example, rule: SplitRule) -> Split:
    place = _fraction(f"{rule.seed}:{_name(example, rule)}")
    if place < rule.test:
        return "test"
    return "validation" if place < rule.test + rule.validation else "train"


def _name(example: Example, rule: SplitRule) -> str:
    if rule.group_by is None:
        # A derived id may carry a suffix that tells rows of one input apart; they belong on one side.
        derived = example.input_key[:16]
        return derived if example.id.startswith(derived) else example.id
    group = example.metadata.get(rule.group_by)
    if group is None:
        where = f"{example.source}:{example.line}: metadata.{rule.group_by}"
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
