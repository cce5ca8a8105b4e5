from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Sample
from delivery.evaluation.scoring.questions import is_readable, is_refusal, normalised, said_number, score_qa


def question(expected: str, **reference: Any) -> Sample:
    return Sample("q", (), expected, "", reference={"answers": [], "numeric": False, "tolerance": 0.0, **reference})


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ("42", 42),
        ("-3.50", Fraction(-7, 2)),
        ("−2", -2),
        ("$1,234.5", Fraction(2469, 2)),
        (".5", Fraction(1, 2)),
        ("3/4 cup", Fraction(3, 4)),
        ("75%", 75),
        ("1e6", 1_000_000),
        ("12 apples\n\nHe had 5 and bought 7.", 12),
        ("5 + 7 = 12", 12),
        ("So 5 and 7 make 12.", 12),
        ("17-25 is less than nothing: 8", 8),
        ("The answer is 12, because 5 + 7 is that.", 12),
        ("Answer: 5 + 7 = 12", 12),
        ("#### 1,080", 1080),
        ("First 3, then 4.\nAnswer: 0", 0),
        ("\\boxed{18}", 18),
        ("none at all", None),
        ("", None),
        ("1/0", None),
        ("9" * 5_000, None),
        ("H2O", None),
    ],
)
def test_the_number_that_is_said(output: str, value: Fraction | int | None) -> None:
    assert said_number(output) == value


@pytest.mark.parametrize(
    ("output", "right"),
    [
        ("Paris", True),
        ("the  PARIS.", True),
        ("**Paris**", True),
        ("The answer is Paris.", True),
        ("Paris\n\nIt has been the capital since 987.", True),
        ("It is in France.\nParis", True),
        ("City of Light", True),
        ("Answer: Rome\nParis", False),
        ("Paris or Rome", False),
        ("not Paris", False),
        ("", False),
    ],
)
def test_a_text_is_right_when_it_is_the_answer_and_not_when_it_only_holds_it(output: str, right: bool) -> None:
    assert score_qa(question("Paris", answers=["the City of Light"]), output).correct is right


def test_a_number_is_right_by_its_value_and_within_its_tolerance() -> None:
    assert score_qa(question("1,200", numeric=True), "1200.0").correct
    assert not score_qa(question("3.33", numeric=True), "3.333").correct
    assert score_qa(question("3.33", numeric=True, tolerance=0.005), "3.333").correct
    assert score_qa(question("1/2", numeric=True, answers=["30"]), "It takes 30 minutes").correct
    assert [score_qa(question("2.5", numeric=True), said).parsed for said in ("5/2", "1,000", "x")] == ["2.5", "1000", None]


def test_signs_that_make_another_number_stay() -> None:
    assert normalised("10:30") != normalised("1030")
    assert normalised("1.5") != normalised("15")
    assert normalised("-2") != normalised("2")
    assert normalised("1,000") == normalised("1000")
    assert normalised("3, 5") == normalised("3 5")
    assert normalised("the U.S.A.") == normalised("USA")
    assert normalised("A") == "a"


@pytest.mark.parametrize(
    "output",
    [
        "I don't know.",
        "I’m sorry, but I can't answer that.",
        "Sorry, I am not sure.",
        "I cannot determine the answer from this.",
        "Unfortunately, I am unable to answer this question.",
        "It is impossible to say.",
        "Not enough information is given.",
        "Unknown",
        "N/A",
    ],
)
def test_refusals_are_told_apart_from_wrong_answers(output: str) -> None:
    assert is_refusal(output)
    outcome = score_qa(question("Paris"), output)
    assert (outcome.correct, outcome.refused, outcome.valid) == (False, True, True)


@pytest.mark.parametrize(
    "output", ["Rome", "I know: Rome", "They do not know Rome", "You cannot say it better: Rome", "", "12"]
)
def test_what_only_resembles_a_refusal_is_none(output: str) -> None:
    assert not is_refusal(output)
    assert not score_qa(question("Paris"), output).refused


def test_a_refusal_that_is_expected_is_right() -> None:
    outcome = score_qa(question("unknown"), "Unknown.")
    assert (outcome.correct, outcome.refused) == (True, False)


def test_what_holds_no_answer_is_invalid() -> None:
    assert score_qa(question("Paris"), " \n").valid is False
    assert score_qa(question("5", numeric=True), "five").valid is False
    assert is_readable("five", numeric=False)
    assert not is_readable("five", numeric=True)
    assert not is_readable("?!", numeric=False)


@settings(max_examples=300, deadline=None)
@given(output=st.text() | st.text(alphabet="0123456789.,/eE-+$% =\nanswer:is#"), numeric=st.booleans())
def test_whatever_is_said_is_scored(output: str, numeric: bool) -> None:
    outcome = score_qa(question("7", numeric=numeric), output)
    assert not (outcome.correct and outcome.refused)


@given(value=st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=1))
def test_every_way_of_writing_a_whole_number_is_read(value: Fraction) -> None:
    for text in (f"{int(value)}", f"{int(value):,}", f"Answer: {int(value)}.", f"It is **{int(value)}.00** km"):
        assert said_number(text) == value


@pytest.mark.parametrize(
    "text", ["1" * 50_000, "answer is " * 20_000, "-" * 50_000, "1,000" * 20_000, " i am sorry " * 20_000, "##" * 50_000]
)
def test_hostile_outputs_are_quick(text: str) -> None:
    start = time.process_time()
    score_qa(question("7", numeric=True), text)
    score_qa(question("seven"), text)
    assert time.process_time() - start < 2
