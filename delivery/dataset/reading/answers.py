"""Whether an answer is one that the use case knows."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import jsonschema_rs

from delivery.client_config import UseCase
from delivery.dataset.reading.problems import KEPT, BadRow, quoted
from delivery.dataset.reading.rows import parse_json
from delivery.errors import ConfigError

LONGEST_SLIP = 200

Check = Callable[[str, str], str]
"""(answer, its field) -> the answer to keep. Raises ``BadRow``."""


def answer_check(use_case: UseCase | None) -> Check:
    """What answers have to pass: the labels of a classification, the schema of an extraction, otherwise nothing.

    Raises:
        ConfigError: ``use_case.schema`` is no JSON Schema.
    """
    if use_case is not None and use_case.type == "classification" and use_case.labels:
        return _labels(use_case.labels)
    if use_case is not None and use_case.type == "extraction" and use_case.json_schema is not None:
        return _schema(use_case.json_schema)
    return lambda answer, field: answer


def _labels(labels: tuple[str, ...]) -> Check:
    spelling = {label.strip().casefold(): label for label in labels}
    hints: dict[str, str] = {}

    def hint_for(folded: str) -> str:
        # The search costs a millisecond a label set: it is made for what may be a slip, and not for every row of a file.
        if folded not in hints:
            if len(folded) > LONGEST_SLIP or len(hints) >= KEPT:
                return ""
            near = difflib.get_close_matches(folded, spelling, n=1)
            hints[folded] = f" (did you mean {quoted(spelling[near[0]])}?)" if near else ""
        return hints[folded]

    def check(answer: str, field: str) -> str:
        folded = answer.strip().casefold()
        if folded in spelling:
            return spelling[folded]
        hint = hint_for(folded)
        raise BadRow(
            f"{quoted(answer)} is no label of the use case{hint}; correct it, or add it to use_case.labels", field=field
        )

    return check


def _schema(schema: dict[str, object]) -> Check:
    try:
        validator = jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = " ".join(str(getattr(error, "message", error)).split())
        raise ConfigError(f"use_case.schema: is no usable JSON Schema ({reason[:200]}); correct it in client.yaml") from error

    def check(answer: str, field: str) -> str:
        try:
            value = parse_json(answer)
        except BadRow as bad:
            inside = f" {bad.field}" if bad.field else ""
            raise BadRow(f"the answer{inside} {bad.what}; an extraction's answer is JSON", field=field) from bad
        try:
            wrong = next(validator.iter_errors(value), None)
        except ValueError as error:
            raise BadRow("the answer is nested too deeply; make it flatter", field=field) from error
        if wrong is not None:
            place = ".".join(str(part) for part in wrong.instance_path) or "the answer"
            place = place if place.isprintable() and len(place) <= 80 else quoted(place, 80)
            what = f"does not fit use_case.schema at {place}: {quoted(wrong.message, 160)}; correct the answer or the schema"
            raise BadRow(what, field=field) from None
        return answer

    return check
