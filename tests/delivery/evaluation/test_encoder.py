from __future__ import annotations

import json
from dataclasses import replace

import pytest

from delivery.errors import ClientDataError
from delivery.evaluation import encoder_answers, score, use_case_suite
from tests.delivery.evaluation.cases import SCHEMA, classification, config, row

WORDS = {"dovish": "cut rates ease stimulus", "hawkish": "raise rates tighten inflation", "neutral": "met today in Washington"}
TRAIN = [row(f"t-{i}", f"We will {text} number {i}", label) for i in range(20) for label, text in WORDS.items()]
TEST = [row(f"e-{i}", f"They {text} again {i}", label) for i, (label, text) in enumerate(WORDS.items())]

CAPITALS = {"France": "Paris", "Norway": "Oslo", "Kenya": "Nairobi", "Peru": "Lima"}


def test_it_learns_labels_and_is_deterministic() -> None:
    suite = use_case_suite(config(), TEST)
    answers = encoder_answers(TRAIN, suite)
    assert [a.output for a in answers] == list(WORDS)
    assert [a.output for a in encoder_answers(TRAIN, suite)] == list(WORDS)
    assert all(a.seconds is not None and a.seconds > 0 for a in answers)


def test_a_question_is_answered_as_the_training_row_that_is_most_alike() -> None:
    train = [row(f"t-{i}", f"What is the capital of {land}?", city) for i, (land, city) in enumerate(CAPITALS.items())]
    test = [row("e-0", "Say, what is Norway's capital?", "Oslo"), row("e-1", "The capital of Kenya is what?", "Nairobi")]
    suite = use_case_suite(config("qa"), test)
    assert [one.correct for one in score(suite, encoder_answers(train, suite))] == [True, True]


def test_it_assembles_an_object_from_fields() -> None:
    claims = [("motor", "car crash"), ("home", "burst pipe"), ("pet", "the dog ate")]
    train = [
        row(f"t-{i}", f"{text} {'now please' if i % 2 else 'some day'} {i}", _claim(line, i % 2 == 1, None if i % 3 else "HX"))
        for i in range(30)
        for line, text in claims
    ]
    test = [
        row("e-0", "a car crash, now please", _claim("motor", True, None)),
        row("e-1", "burst pipe", _claim("home", False, None)),
    ]
    suite = use_case_suite(config("extraction"), test)
    scored = score(suite, encoder_answers(train, suite))
    assert [s.correct for s in scored] == [True, True]


def test_a_field_that_most_rows_lack_is_left_out_and_one_value_needs_no_classifier() -> None:
    schema = {**SCHEMA, "required": ["line"], "properties": {**SCHEMA["properties"], "always": {"const": 4}}}
    train = [
        row(f"t-{i}", f"text {i}", json.dumps({"line": "home", "always": 4} | ({"reference": "x"} if i == 0 else {})))
        for i in range(9)
    ]
    suite = use_case_suite(config("extraction", use_case={"schema": schema}), train[:1])
    assert json.loads(encoder_answers(train, suite)[0].output or "") == {"line": "home", "always": 4}


def test_texts_without_a_letter_and_without_rows() -> None:
    suite = use_case_suite(config(), [row("e-0", "?!", "dovish")])
    assert encoder_answers([row("t-0", "!!", "dovish"), row("t-1", "??", "neutral")], suite)[0].output in WORDS
    with pytest.raises(ClientDataError, match="training rows"):
        encoder_answers([], suite)


def test_weights_count() -> None:
    suite = classification(["dovish"])
    train = [
        replace(row(f"t-{i}", "row text", label), weight=w) for i, (label, w) in enumerate([("dovish", 1.0), ("neutral", 9.0)])
    ]
    assert encoder_answers(train, suite)[0].output == "neutral"


def _claim(line: str, urgent: bool, reference: str | None) -> str:
    return json.dumps({"line": line, "urgent": urgent, "reference": reference})
