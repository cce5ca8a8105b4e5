"""The client's own suite: its holdout rows as samples, with how they are scored and sliced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from delivery.artifacts import Example, Sample, Suite, sha256_json
from delivery.client_config import ClientConfig, UseCase
from delivery.errors import ClientDataError
from delivery.evaluation.judging.rules import rules_of
from delivery.evaluation.scoring.choices import LETTERS
from delivery.evaluation.scoring.questions import is_readable
from delivery.evaluation.suites.freezing import frozen
from delivery.evaluation.suites.references import ROLE_PLAY_RUBRIC, checked_reference

MOST_SLICES = 12


def use_case_suite(config: ClientConfig, test: Sequence[Example]) -> Suite:
    """The suite ``use_case`` of a client: one sample per holdout row, in their order.

    Slices are the expected label (classification) or the first schema property where it is one of few values
    (extraction), and every metadata key that has 2 to 12 values. Rows of one ``data.splits.group_by`` value are a cluster.

    ``expected`` is the row's answer. A ``preference`` holds its two answers as options, in an order that the row's id
    decides; a system says which it prefers, or an endpoint scores both as its choices. A ``role_play`` holds the system
    prompt as its persona, the user's turns, and the points that every reply is checked against.

    Raises:
        ClientDataError: no rows, an id twice, or an answer that is none; names file and line.
    """
    use_case = config.use_case
    if not test:
        raise ClientDataError(f"{config.client}: no test rows to evaluate on; give some rows split: test")
    _refuse_twice(test)
    slices = _slices(use_case, test)
    group_by = config.data.splits.group_by
    samples = tuple(
        Sample(
            id=row.id,
            messages=row.messages,
            expected=_expected(use_case, row),
            input_sha256=row.input_sha256,
            slices=slices[index],
            cluster=row.metadata.get(group_by, "") if group_by else "",
            reference=_reference(use_case, row, points=config.evaluation.judge.points or ROLE_PLAY_RUBRIC),
        )
        for index, row in enumerate(test)
    )
    suite = Suite(
        name="use_case",
        kind="use_case",
        scorer=use_case.type,
        parse=use_case.parse,
        samples=samples,
        labels=use_case.labels or (),
        json_schema=use_case.json_schema,
        sha256="",
    )
    return frozen(suite, judge=rules_of(config).model_dump(mode="json")) if suite.judged else frozen(suite)


def _refuse_twice(test: Sequence[Example]) -> None:
    first: dict[str, Example] = {}
    for row in test:
        if row.id in first:
            raise ClientDataError(f"{_where(row)}: id: {row.id!r} also names the row at {_where(first[row.id])}; rename one")
        first[row.id] = row


def _expected(use_case: UseCase, row: Example) -> str:
    if use_case.type == "extraction":
        _object(row)
    elif use_case.type == "qa" and not is_readable(row.answer, numeric=False):
        raise ClientDataError(f"{_where(row)}: answer: holds neither a word nor a number; correct the label")
    elif use_case.type == "preference":
        return LETTERS[_options(row).index(row.answer)]
    elif use_case.type == "classification":
        folded = {label.casefold(): label for label in use_case.labels or ()}
        label = folded.get(row.answer.strip().casefold())
        if label is None:
            raise ClientDataError(f"{_where(row)}: answer: {row.answer[:80]!r} is not among use_case.labels; correct the label")
        return label
    return row.answer


def _reference(use_case: UseCase, row: Example, *, points: Sequence[str]) -> dict[str, Any]:
    if use_case.type == "preference":
        return checked_reference("preference", {"options": _options(row)})
    if use_case.type == "qa":
        return checked_reference("qa", {})
    if use_case.type == "role_play":
        turns = [message.content for message in row.messages if message.role == "user"]
        persona = next((message.content for message in row.messages if message.role == "system"), use_case.system_prompt)
        try:
            return checked_reference("role_play", {"persona": persona, "turns": turns, "rubric": list(points)})
        except ValueError as error:
            raise ClientDataError(f"{_where(row)}: messages: {error}") from error
    return {}


def _options(row: Example) -> list[str]:
    if not row.rejected:
        raise ClientDataError(f"{_where(row)}: has no answer that was not preferred; write the row as prompt, chosen, rejected")
    turned = int(sha256_json(row.id)[:2], 16) % 2
    return [row.rejected, row.answer] if turned else [row.answer, row.rejected]


def _slices(use_case: UseCase, test: Sequence[Example]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = [{} for _ in test]
    for key in sorted({key for row in test for key in row.metadata}):
        values = [row.metadata.get(key) for row in test]
        if 2 <= len({value for value in values if value is not None}) <= MOST_SLICES:
            _set(rows, key, values)
    if use_case.type == "classification":
        _set(rows, "label", [_expected(use_case, row) for row in test])
    elif use_case.type == "extraction":
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
