"""The client's own suite: its holdout rows as samples, with how they are scored and sliced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from delivery.artifacts import Example, Sample, Suite, sha256_json
from delivery.client_config import ClientConfig, UseCase
from delivery.errors import ClientDataError, ConfigError

MOST_SLICES = 12


def use_case_suite(config: ClientConfig, test: Sequence[Example]) -> Suite:
    """The suite ``use_case`` of a client: one sample per holdout row, in their order.

    Slices are the expected label (classification) or the first schema property where it is one of few values
    (extraction), and every metadata key that has 2 to 12 values.

    Raises:
        ConfigError: the use case's type cannot be scored yet.
        ClientDataError: no rows, an id twice, or a label that is none; names file and line.
    """
    use_case = config.use_case
    if use_case.type not in ("classification", "extraction"):
        raise ConfigError(
            f"{config.folder / 'client.yaml'}: use_case.type: {use_case.type} is not supported yet; "
            "use classification or extraction"
        )
    if not test:
        raise ClientDataError(f"{config.client}: no test rows to evaluate on; give some rows split: test")
    _refuse_twice(test)
    slices = _slices(use_case, test)
    samples = tuple(
        Sample(
            id=row.id,
            messages=row.messages,
            expected=_expected(use_case, row),
            input_sha256=row.input_sha256,
            slices=slices[index],
        )
        for index, row in enumerate(test)
    )
    labels = use_case.labels or ()
    named = {
        "samples": [[s.id, s.expected, s.slices, [[message.role, message.content] for message in s.messages]] for s in samples],
        "labels": labels,
        "schema": use_case.json_schema,
        "parse": use_case.parse,
    }
    return Suite(
        name="use_case",
        kind="use_case",
        scorer="classification" if use_case.type == "classification" else "extraction",
        parse=use_case.parse,
        samples=samples,
        labels=labels,
        json_schema=use_case.json_schema,
        sha256=sha256_json(named),
    )


def _refuse_twice(test: Sequence[Example]) -> None:
    first: dict[str, Example] = {}
    for row in test:
        if row.id in first:
            raise ClientDataError(f"{_where(row)}: id: {row.id!r} also names the row at {_where(first[row.id])}; rename one")
        first[row.id] = row


def _expected(use_case: UseCase, row: Example) -> str:
    if use_case.type == "extraction":
        _object(row)
        return row.answer
    folded = {label.casefold(): label for label in use_case.labels or ()}
    label = folded.get(row.answer.strip().casefold())
    if label is None:
        raise ClientDataError(f"{_where(row)}: answer: {row.answer[:80]!r} is not among use_case.labels; correct the label")
    return label


def _slices(use_case: UseCase, test: Sequence[Example]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = [{} for _ in test]
    for key in sorted({key for row in test for key in row.metadata}):
        values = [row.metadata.get(key) for row in test]
        if 2 <= len({value for value in values if value is not None}) <= MOST_SLICES:
            _set(rows, key, values)
    if use_case.type == "classification":
        _set(rows, "label", [_expected(use_case, row) for row in test])
    else:
        properties: dict[str, Any] = (use_case.json_schema or {})["properties"]
        name = next(iter(properties))
        values = [_text(_object(row).get(name)) for row in test]
        if len(set(values)) <= MOST_SLICES:
            _set(rows, name, values)
    return rows


def _set(rows: list[dict[str, str]], key: str, values: Sequence[str | None]) -> None:
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            row[key] = value


def _object(row: Example) -> dict[str, Any]:
    try:
        found = orjson.loads(row.answer)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ClientDataError(f"{_where(row)}: answer: must be a JSON object; correct the label")
    return found


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _where(row: Example) -> str:
    return f"{row.source}:{row.line}" if row.source else f"row {row.id!r}"
