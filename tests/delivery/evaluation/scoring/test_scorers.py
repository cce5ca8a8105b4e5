from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Answer
from delivery.client_config import ParseRule
from delivery.errors import ConfigError
from delivery.evaluation import parse, score
from tests.delivery.evaluation.cases import LABELS, answers, classification, extraction

RULES: tuple[ParseRule, ...] = ("exact", "first_word", "first_label", "json")
EXPECTED = '{"line":"home","urgent":true,"reference":"HX-1"}'


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("dovish", "dovish"),
        (" **Dovish.**\n", "dovish"),
        ("«HAWKISH»", "hawkish"),
        ("dovish, I think", None),
        ("dov ish", None),
        ("", None),
        ("...", None),
    ],
)
def test_exact(output: str, said: str | None) -> None:
    assert parse(output, rule="exact", labels=LABELS) == said


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("NEUTRAL\n\nThe sentence reports ...", "neutral"),
        ("'Hawkish': rates rise", "hawkish"),
        ("The stance is hawkish", None),
        ("HAWKISH/DOVISH", None),
        ("   ", None),
    ],
)
def test_first_word(output: str, said: str | None) -> None:
    assert parse(output, rule="first_word", labels=LABELS) == said


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("It is hawkish, not dovish.", "hawkish"),
        ("neutrality aside, DOVISH", "dovish"),
        ("none of them", None),
        ("card payment fee charged", "card payment fee charged"),
        ("a card payment, then", "card payment"),
        ("card_payment", None),
    ],
)
def test_first_label_is_the_earliest_whole_word_and_the_longest_there(output: str, said: str | None) -> None:
    labels = (*LABELS, "card", "card payment", "card payment fee charged")
    assert parse(output, rule="first_label", labels=labels) == said


def test_labels_that_differ_by_punctuation_alone_need_their_own_spelling() -> None:
    assert parse("C++", rule="exact", labels=("C", "C++")) == "C++"
    assert parse("c", rule="exact", labels=("C", "C++")) == "C"
    assert parse("(C)", rule="exact", labels=("C", "C++")) is None


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ('{"b": 1, "a": 2}', '{"a":2,"b":1}'),
        ('Sure!\n```json\n{"a": [1, {"b": null}]}\n```\nAnything else?', '{"a":[1,{"b":null}]}'),
        ('{not json} then {"a": "ü"}', '{"a":"ü"}'),
        ('[{"a": 1}]', '{"a":1}'),
        ('{"a": 1} {"b": 2}', '{"a":1}'),
        ('{"a": {"b": 1}, "c": "cut o', None),
        ('{"a": {"b": 1}, "c":', None),
        ('{"a": {"b": 1}, "c"', None),
        ('{"a": NaN}', None),
        ("no object", None),
    ],
)
def test_json_finds_the_first_whole_object(output: str, said: str | None) -> None:
    assert parse(output, rule="json", labels=()) == said


def test_json_holds_a_label() -> None:
    assert parse('{"stance": "Dovish"}', rule="json", labels=LABELS) == "dovish"
    assert parse('{"why": "...", "label": "neutral"}', rule="json", labels=LABELS) == "neutral"
    assert parse('{"label": 3}', rule="json", labels=LABELS) is None


def test_classification_counts() -> None:
    suite = classification(["dovish", "dovish", "dovish", "dovish"])
    right, wrong, invalid, errored = score(suite, answers(suite, ["Dovish", "hawkish", "?", None]))
    assert (right.correct, right.tp, right.fp, right.fn, right.parsed) == (True, 1, 0, 0, "dovish")
    assert (wrong.correct, wrong.valid, wrong.tp, wrong.fp, wrong.fn) == (False, True, 0, 1, 1)
    assert (invalid.correct, invalid.valid, invalid.fp, invalid.fn) == (False, False, 0, 1)
    assert (errored.correct, errored.error, errored.output) == (None, "HTTP 500", None)


def test_answers_are_aligned_by_id_and_a_missing_one_is_errored() -> None:
    suite = classification(["dovish", "hawkish", "neutral"])
    scored = score(suite, [Answer("row-2", "neutral"), Answer("row-0", "dovish"), Answer("elsewhere", "dovish")])
    assert [s.sample_id for s in scored] == ["row-0", "row-1", "row-2"]
    assert [s.correct for s in scored] == [True, None, True]
    assert scored[1].error == "no answer recorded"


def test_a_pack_may_bring_its_own_rule() -> None:
    suite = classification(["dovish"])
    given_answers = answers(suite, ["DOVISH\nbecause"])
    assert score(suite, given_answers)[0].correct is False
    assert score(suite, given_answers, parse="first_word")[0].correct is True


@pytest.mark.parametrize(
    ("output", "counts", "valid"),
    [
        (EXPECTED, (3, 0, 0), True),
        ('{"reference": " hx-1 ", "urgent": true, "line": "home"}', (3, 0, 0), True),
        ('{"line":"motor","urgent":true,"reference":"HX-1"}', (2, 1, 1), True),
        ('{"line":"home","urgent":true,"reference":null}', (2, 1, 1), True),
        ('{"line":"home","urgent":1,"reference":"HX-1"}', (0, 0, 3), False),
        ('{"line":"home","urgent":true}', (0, 0, 3), False),
        ('{"line":"home","urgent":true,"reference":"HX-1","extra":1}', (0, 0, 3), False),
        ("I cannot", (0, 0, 3), False),
    ],
)
def test_extraction_counts_fields(output: str, counts: tuple[int, int, int], valid: bool) -> None:
    suite = extraction([EXPECTED])
    scored = score(suite, answers(suite, [output]))[0]
    assert (scored.tp, scored.fp, scored.fn) == counts
    assert scored.valid is valid
    assert scored.correct is (counts == (3, 0, 0))


def test_optional_fields_that_only_one_side_has() -> None:
    suite = replace(extraction([EXPECTED]), json_schema={"type": "object"})
    scored = score(suite, answers(suite, ['{"line":"home","n":2.0,"other":1}']))[0]
    assert (scored.tp, scored.fp, scored.fn) == (1, 2, 2)


def test_numbers_compare_by_value_and_booleans_are_none() -> None:
    suite = replace(extraction(['{"n":2,"flag":true,"list":["A ",1]}']), json_schema={"type": "object"})
    assert score(suite, answers(suite, ['{"n":2.0,"flag":true,"list":["a",1.0]}']))[0].correct is True
    assert score(suite, answers(suite, ['{"n":2,"flag":1,"list":["a",true]}']))[0].tp == 1


def test_a_schema_that_is_none_is_refused_and_nothing_is_fetched() -> None:
    for schema in ({"type": "objekt"}, {"$ref": "http://127.0.0.1:9/schema.json"}):
        suite = replace(extraction([EXPECTED]), json_schema=schema)
        with pytest.raises(ConfigError, match=r"use_case\.schema"):
            score(suite, answers(suite, [EXPECTED]))


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@settings(max_examples=200, deadline=None)
@given(output=st.text() | JSON_LIKE.map(json.dumps) | st.text(alphabet='{}[]",:a1\\u'), rule=st.sampled_from(RULES))
def test_whatever_is_said_is_scored(output: str, rule: ParseRule) -> None:
    assert parse(output, rule=rule, labels=LABELS) in (*LABELS, None)
    one = classification(["dovish"])
    assert score(one, answers(one, [output]), parse=rule)[0].correct in (True, False)
    many = extraction([EXPECTED])
    scored = score(many, answers(many, [output]))[0]
    assert (scored.tp + scored.fn, scored.correct is not None) == (3, True)


@pytest.mark.parametrize(
    "output", ['{"a":' * 20_000, "{" * 50_000, '{"a":' * 3_000 + "1" + "}" * 3_000, "9" * 5_000, "\ud800{"]
)
def test_hostile_outputs_are_invalid_and_quick(output: str) -> None:
    suite = extraction([EXPECTED])
    assert score(suite, answers(suite, [output]))[0].valid is False


@given(label=st.sampled_from(LABELS), before=st.text(alphabet=" \n*'\"(`."), after=st.text(alphabet=" \n*'\".)`"))
def test_folding_keeps_every_label(label: str, before: str, after: str) -> None:
    for rule in ("exact", "first_label"):
        assert parse(f"{before}{label.upper()}{after}", rule=rule, labels=LABELS) == label
