"""From what a system said to right, wrong or errored. Nothing a system can say makes a scorer fail.

A row, end to end: ``"NEUTRAL\\n\\nThe sentence reports ..."`` -> rule first_word -> ``"neutral"`` -> expected
``"dovish"`` -> ``Scored(valid=True, correct=False)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jsonschema_rs

from delivery.artifacts import JUDGED, Answer, Sample, Scored, Scorer, Suite
from delivery.client_config import ParseRule
from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation.scoring.choices import score_choice, score_preference
from delivery.evaluation.scoring.instructions import score_instructions
from delivery.evaluation.scoring.outcome import Outcome
from delivery.evaluation.scoring.parsing import canonical_json, first_json_object, parse
from delivery.evaluation.scoring.questions import score_qa

NO_ANSWER = "no answer recorded"

ScoreOne = Callable[[Sample, str], Outcome]

_BY_RULE: dict[Scorer, ScoreOne] = {
    "choice": score_choice,
    "preference": score_preference,
    "qa": score_qa,
    "instructions": score_instructions,
}


def score(suite: Suite, answers: Sequence[Answer], *, parse: ParseRule | None = None) -> tuple[Scored, ...]:
    """One outcome per sample of the suite, in its order; answers are aligned by id. A sample may have its own scorer.

    ``parse`` replaces the suite's rule, for answers to a prompt that asked for another form. A sample without an answer
    is errored, not wrong. An extraction's fields are the top-level keys of the expected object, compared as canonical
    JSON with strings stripped and case-folded (null is a value like others). An answer that holds no JSON object, or
    one that is not valid under the schema, is invalid: every expected field counts as missed (``fn``), none as wrong
    (``fp``).

    Raises:
        ConfigError: the suite's schema is no JSON Schema, or its samples need a judge.
        ClientDataError: a sample's expected answer is not of the suite's form.
    """
    by_id = {answer.sample_id: answer for answer in answers}
    scorers: dict[Scorer, ScoreOne] = {}
    found = []
    for sample in suite.samples:
        name = sample.scorer or suite.scorer
        if name not in scorers:
            scorers[name] = _scorer(name, suite, parse or suite.parse)
        answer = by_id.get(sample.id)
        if answer is None or answer.output is None:
            found.append(_errored(sample, answer))
            continue
        outcome = scorers[name](sample, answer.output)
        found.append(
            Scored(
                sample_id=sample.id,
                expected=sample.expected,
                output=answer.output,
                cluster=sample.cluster,
                **outcome._asdict(),
            )
        )
    return tuple(found)


def schema_validator(schema: dict[str, Any], *, where: str) -> Any:
    """A validator under a JSON Schema that fetches nothing.

    Raises:
        ConfigError: it is no JSON Schema; ``where`` names file and key.
    """
    try:
        return jsonschema_rs.validator_for(schema, retriever=_no_retrieval)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        line = str(error).strip().split("\n", 1)[0]
        raise ConfigError(f"{where}: is no usable JSON Schema ({line})") from error


def _scorer(name: Scorer, suite: Suite, rule: ParseRule) -> ScoreOne:
    if name in JUDGED:
        raise ConfigError(f"suite {suite.name}: scorer: {name} is decided by a judge, not by a rule")
    if name == "classification":
        return _Classification(suite, rule).score
    if name == "extraction":
        return _Extraction(suite).score
    return _BY_RULE[name]


class _Classification:
    def __init__(self, suite: Suite, rule: ParseRule) -> None:
        self.labels, self.rule = suite.labels, rule

    def score(self, sample: Sample, output: str) -> Outcome:
        said = parse(output, rule=self.rule, labels=self.labels)
        right = said == sample.expected
        return Outcome(
            said,
            valid=said is not None,
            correct=right,
            tp=int(right),
            fp=int(said is not None and not right),
            fn=int(not right),
        )


class _Extraction:
    def __init__(self, suite: Suite) -> None:
        where = "client.yaml: use_case.schema" if suite.kind == "use_case" else f"suite {suite.name}: schema"
        self.validator = schema_validator(suite.json_schema or {}, where=where)

    def score(self, sample: Sample, output: str) -> Outcome:
        expected = first_json_object(sample.expected)
        if expected is None:
            raise ClientDataError(f"sample {sample.id!r}: its expected answer is no JSON object; correct the label")
        said = first_json_object(output)
        valid = said is not None and self._is_valid(said)
        tp, fp, fn = _compare_fields(expected, said) if said is not None and valid else (0, 0, len(expected))
        parsed = None if said is None else canonical_json(said)
        return Outcome(parsed, valid=valid, correct=valid and not fp and not fn, tp=tp, fp=fp, fn=fn)

    def _is_valid(self, said: Mapping[str, Any]) -> bool:
        try:
            return bool(self.validator.is_valid(said))
        except ValueError:
            # Nested more deeply than the validator goes.
            return False


def _errored(sample: Sample, answer: Answer | None) -> Scored:
    return Scored(
        sample_id=sample.id,
        expected=sample.expected,
        output=None,
        parsed=None,
        valid=False,
        correct=None,
        error=(answer.error if answer is not None else None) or NO_ANSWER,
        cluster=sample.cluster,
    )


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri}: schemas are not fetched; put the definition under $defs")


def _compare_fields(expected: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[int, int, int]:
    right = sum(1 for key, value in expected.items() if key in said and _folded(value) == _folded(said[key]))
    return right, len(said) - right, len(expected) - right


def _folded(value: Any) -> str:
    return canonical_json(_fold_strings(value))


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
