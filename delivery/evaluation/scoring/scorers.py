"""From what a system said to right, wrong or errored. Nothing a system can say makes a scorer fail.

A row, end to end: ``"NEUTRAL\\n\\nThe sentence reports ..."`` -> rule first_word -> ``"neutral"`` -> expected
``"dovish"`` -> ``Scored(valid=True, correct=False)``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from delivery.artifacts import Answer, Sample, Scored, Suite
from delivery.client_config import ParseRule
from delivery.errors import ClientDataError, ConfigError

NO_ANSWER = "no answer recorded"

_DECODER = json.JSONDecoder()
_MOST_OPENINGS = 200


def parse(output: str, *, rule: ParseRule, labels: Sequence[str]) -> str | None:
    """What an output says, or None where the rule finds nothing valid in it.

    Rules, each giving a label in its own spelling:
    ``exact``: the whole output, case and outer punctuation and white space folded.
    ``first_word``: its first word, folded likewise.
    ``first_label``: the label that stands earliest as a whole word; of several at one place, the longest.
    ``json``: the first JSON object in the text (a code fence around it is fine) as canonical JSON; with labels, the
    label that it holds under ``label`` or as its only value.
    """
    if rule == "json":
        return _json_answer(output, tuple(labels))
    if rule == "first_label":
        return _first_label(output, tuple(labels))
    text = output
    if rule == "first_word":
        words = output.split(maxsplit=1)
        text = words[0] if words else ""
    return _label(text, tuple(labels))


def score(suite: Suite, answers: Sequence[Answer], *, parse: ParseRule | None = None) -> tuple[Scored, ...]:
    """One outcome per sample of the suite, in its order; answers are aligned by id.

    ``parse`` replaces the suite's rule, for answers to a prompt that asked for another form. A sample without an answer
    is errored, not wrong. An extraction's fields are the top-level keys of the expected object, compared as canonical
    JSON with strings stripped and case-folded (null is a value like others). An answer that holds no JSON object, or
    one that is not valid under the schema, is invalid: every expected field counts as missed (``fn``), none as wrong
    (``fp``).

    Raises:
        ConfigError: the suite's schema is no JSON Schema.
        ClientDataError: a sample's expected answer is not of the suite's form.
    """
    rule = parse or suite.parse
    by_id = {answer.sample_id: answer for answer in answers}
    scorer = _Classification(suite, rule) if suite.scorer == "classification" else _Extraction(suite)
    return tuple(scorer.score(sample, by_id.get(sample.id)) for sample in suite.samples)


def first_json_object(text: str) -> dict[str, Any] | None:
    """The first JSON object that a text holds; None where there is none or where it breaks off before its end."""
    start = text.find("{")
    for _ in range(_MOST_OPENINGS):
        if start < 0:
            return None
        try:
            _, end = _DECODER.raw_decode(text, start)
            found = orjson.loads(text[start:end])
            return found if isinstance(found, dict) else None
        except json.JSONDecodeError as error:
            # An object cut off at the end must not be replaced by a smaller one inside it.
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
                return None
        except (ValueError, RecursionError):
            pass
        start = text.find("{", start + 1)
    return None


class _Classification:
    def __init__(self, suite: Suite, rule: ParseRule) -> None:
        self.labels, self.rule = suite.labels, rule

    def score(self, sample: Sample, answer: Answer | None) -> Scored:
        if answer is None or answer.output is None:
            return _errored(sample, answer)
        said = parse(answer.output, rule=self.rule, labels=self.labels)
        right = said == sample.expected
        return Scored(
            sample_id=sample.id,
            expected=sample.expected,
            output=answer.output,
            parsed=said,
            valid=said is not None,
            correct=right,
            tp=int(right),
            fp=int(said is not None and not right),
            fn=int(not right),
        )


class _Extraction:
    def __init__(self, suite: Suite) -> None:
        self.validator = _validator(suite.json_schema or {})

    def score(self, sample: Sample, answer: Answer | None) -> Scored:
        expected = first_json_object(sample.expected)
        if expected is None:
            raise ClientDataError(f"sample {sample.id!r}: its expected answer is no JSON object; correct the label")
        if answer is None or answer.output is None:
            return _errored(sample, answer)
        said = first_json_object(answer.output)
        valid = said is not None and self._is_valid(said)
        tp, fp, fn = _compare_fields(expected, said) if said is not None and valid else (0, 0, len(expected))
        return Scored(
            sample_id=sample.id,
            expected=sample.expected,
            output=answer.output,
            parsed=None if said is None else _canonical(said),
            valid=valid,
            correct=valid and not fp and not fn,
            tp=tp,
            fp=fp,
            fn=fn,
        )

    def _is_valid(self, said: Mapping[str, Any]) -> bool:
        try:
            return bool(self.validator.is_valid(said))
        except ValueError:
            # Nested more deeply than the validator goes.
            return False


def _errored(sample: Sample, answer: Answer | None) -> Scored:
    why = (answer.error if answer is not None else None) or NO_ANSWER
    return Scored(sample_id=sample.id, expected=sample.expected, output=None, parsed=None, valid=False, correct=None, error=why)


def _validator(schema: dict[str, Any]) -> Any:
    try:
        return jsonschema_rs.validator_for(schema, retriever=_no_retrieval)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        line = str(error).strip().split("\n", 1)[0]
        raise ConfigError(f"client.yaml: use_case.schema: is no usable JSON Schema ({line})") from error


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri}: schemas are not fetched; put the definition under $defs")


def _compare_fields(expected: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[int, int, int]:
    right = sum(1 for key, value in expected.items() if key in said and _folded(value) == _folded(said[key]))
    return right, len(said) - right, len(expected) - right


def _folded(value: Any) -> str:
    return _canonical(_fold_strings(value))


def _fold_strings(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().casefold()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_fold_strings(item) for item in value]
    if isinstance(value, dict):
        return {key: _fold_strings(item) for key, item in value.items()}
    return value


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _json_answer(output: str, labels: tuple[str, ...]) -> str | None:
    found = first_json_object(output)
    if found is None:
        return None
    if not labels:
        return _canonical(found)
    value = next(iter(found.values())) if len(found) == 1 else found.get("label")
    return _label(value, labels) if isinstance(value, str) else None


def _label(text: str, labels: tuple[str, ...]) -> str | None:
    plain, stripped = _label_table(labels)
    key = text.strip().casefold()
    return plain.get(key) or stripped.get(_strip(key))


def _strip(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _is_outer(text[start]):
        start += 1
    while end > start and _is_outer(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_outer(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] in "PS"


@lru_cache(maxsize=16)
def _label_table(labels: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    plain = {label.strip().casefold(): label for label in labels}
    by_stripped: dict[str, list[str]] = {}
    for label in labels:
        by_stripped.setdefault(_strip(label.casefold()), []).append(label)
    # "C" and "C++" differ by punctuation alone: then only the exact spelling counts.
    return plain, {key: found[0] for key, found in by_stripped.items() if len(found) == 1 and key}


def _first_label(output: str, labels: tuple[str, ...]) -> str | None:
    pattern, plain = _label_pattern(labels)
    found = pattern.search(output.casefold())
    return plain[found.group()] if found else None


@lru_cache(maxsize=16)
def _label_pattern(labels: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    plain = {label.strip().casefold(): label for label in labels}
    longest_first = sorted(plain, key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)"), plain
