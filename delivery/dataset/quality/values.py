"""Answers that take few values: the label of a classification, and of an extraction each field that is like a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from delivery.artifacts import Example
from delivery.client_config import UseCase

LABEL = "label"
"""The field of a classification."""
ABSENT = "(absent)"
FEW = 100
SEEN = 5
COVERED = 0.95


def values_by_field(examples: Sequence[Example], use_case: UseCase | None) -> dict[str, list[str]]:
    """By field the value of every row (strings as they are, other values as JSON), ``ABSENT`` where a row has none.

    A classification has the one field ``label``. Of an extraction, fields with few values count: at most ``FEW`` that are
    each seen ``SEEN`` times cover the share ``COVERED`` of the rows; nested objects give fields such as ``a.b``. Without a
    use case, answers that are all JSON objects are an extraction's, and others are labels where they are few in that
    sense. Use cases of other types have no such fields.
    """
    if not examples or (use_case is not None and use_case.type not in ("classification", "extraction")):
        return {}
    answers = [example.answer for example in examples]
    if use_case is not None and use_case.type == "classification":
        return {LABEL: [answer.strip() for answer in answers]}
    objects = _objects(answers)
    if objects is None:
        labels = [answer.strip() for answer in answers]
        return {LABEL: labels} if use_case is None and _are_few(labels) else {}
    names = dict.fromkeys(name for found in objects for name in found)
    fields = ((name, [found.get(name, ABSENT) for found in objects]) for name in names)
    return {name: values for name, values in fields if _are_few(values)}


def _are_few(values: Sequence[str]) -> bool:
    often = [rows for rows in Counter(values).values() if rows >= SEEN]
    return 0 < len(often) <= FEW and sum(often) >= COVERED * len(values)


def _objects(answers: Sequence[str]) -> list[dict[str, str]] | None:
    """Every answer as its fields, or nothing where one is no JSON object."""
    read: dict[str, dict[str, str]] = {}
    for answer in dict.fromkeys(answers):
        try:
            value = orjson.loads(answer)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(value, dict):
            return None
        read[answer] = dict(_flat(value, ""))
    return [read[answer] for answer in answers]


def _flat(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{path}{name}.")
        elif isinstance(inner, str):
            yield f"{path}{name}", inner
        else:
            yield f"{path}{name}", orjson.dumps(inner, option=orjson.OPT_SORT_KEYS).decode()
