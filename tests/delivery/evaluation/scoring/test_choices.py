from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.artifacts import Sample
from delivery.evaluation.scoring.choices import chosen_letter, score_preference

CITIES = ("Rome", "Paris", "Oslo", "Bern")


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("B", "B"),
        (" (b) ", "B"),
        ("**B.**", "B"),
        ("B. Paris", "B"),
        ("B) Paris, as everybody knows", "B"),
        ("B\n\nParis is the capital of France.", "B"),
        ("The answer is (C).", "C"),
        ("The answer is B because Paris is the capital.", "B"),
        ("First I thought A. Then no.\nAnswer: D", "D"),
        ("The answer is A. No, wait: the answer is B.", "B"),
        ("Let us see ...\n\\boxed{C}", "C"),
        ("**Answer:** **C**", "C"),
        ("Rome is in Italy, so it is\nB", "B"),
        ("Correct option: C", "C"),
        ("The answer is option C", "C"),
        ("The correct answer is: **B. Paris**", "B"),
        ("so $\\boxed{\\text{D}}$", "D"),
        ("paris.", "B"),
        # None of these names an option.
        ("", None),
        ("A city that I like", None),
        ("I think so", None),
        ("The answer is a matter of taste", None),
        ("The answer is A city in France", None),
        ("E", None),
        ("The answer is F", None),
        ("Paris or Rome", None),
        ("A or B", None),
        ("42", None),
        ("A. Rome\nB. Paris\nC. Oslo\nD. Bern", None),
        ("A. Rome\nB. Paris\n\nThe answer is B.", "B"),
        ("B\nA. Rome is in Italy.", "B"),
        ("C. Oslo\n\nIt lies by the sea.", "C"),
    ],
)
def test_the_letter_that_is_chosen(output: str, letter: str | None) -> None:
    assert chosen_letter(output, CITIES) == letter


def test_an_option_may_be_a_letter_of_its_own() -> None:
    assert chosen_letter("I", [str(n) for n in range(10)]) == "I"
    assert chosen_letter("I. nine", [str(n) for n in range(10)]) == "I"
    assert chosen_letter("same", ["same", "same"]) is None


@pytest.mark.parametrize(
    ("output", "points"),
    [("A", 1.0), ("B.", 0.0), ("Dear  Ms Lind,\nthank you", 1.0), ("no", 0.0), ("Tie", 0.5), ("both!", 0.5), ("well", 0.0)],
)
def test_a_preference_is_a_letter_or_the_text_itself_and_a_tie_counts_half(output: str, points: float) -> None:
    sample = Sample("p", (), "A", "", reference={"options": ["Dear Ms Lind, thank you.", "No."]})
    assert score_preference(sample, output).score == points
    assert score_preference(sample, output).valid is (output != "well")


@given(output=st.text() | st.text(alphabet="ABIanswer is:()*\n\\boxed{}. "))
def test_whatever_is_said_is_a_letter_of_the_options_or_none(output: str) -> None:
    assert chosen_letter(output, CITIES) in ("A", "B", "C", "D", None)
    sample = Sample("p", (), "A", "", reference={"options": [output, "x"]})
    assert score_preference(sample, output).score in (0.0, 0.5, 1.0)


@pytest.mark.parametrize("part", ["answer: ", "answer ", "A ", "B\n", "answer is (", "**", "\\boxed{", "option "])
def test_hostile_outputs_are_quick(part: str) -> None:
    start = time.process_time()
    for text in (part * 20_000, part + " " * 60_000, part + " " * 60_000 + "x"):
        chosen_letter(text, CITIES)
    assert time.process_time() - start < 2
