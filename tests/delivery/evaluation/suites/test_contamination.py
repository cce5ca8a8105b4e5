from __future__ import annotations

from pathlib import Path

import pytest

from delivery import dataset
from delivery.artifacts import Message, Sample
from delivery.errors import EvalIncompleteError
from delivery.evaluation import asked_texts, compare, restricted, without
from delivery.evaluation.suites.loading import read_suite
from tests.delivery.evaluation.cases import classification, config, result, row
from tests.delivery.evaluation.suites.test_loading import CHOICE, PLAY, QUESTION, write

PASSAGE = "the river rises every spring when the snow melts on the northern hills above"


def test_what_is_asked_is_the_users_words_without_options_or_a_role_play_s_persona_and_scene(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, CHOICE, QUESTION, system_prompt="Be short."))
    assert asked_texts(suite) == ("Capital of France?", "6 x 7?")
    play = read_suite(write(tmp_path, PLAY, kind="role_play", scorer="role_play", judge={"rubric": "x"}))
    assert asked_texts(play) == ("A smith.\nA forge.",)


def test_samples_that_training_rows_hold_are_found_exactly_nearly_and_by_a_passage(tmp_path: Path) -> None:
    inputs = (
        "What is the capital of the island?",
        "How many nuts are left in the larger of the two bags when Ida has eaten six?",
        f"Read this: {PASSAGE} the town. Why is the cellar wet?",
        "Nothing like it.",
    )
    suite = read_suite(write(tmp_path, *({**QUESTION, "id": f"q-{n}", "input": text} for n, text in enumerate(inputs))))
    train = [
        row("t-0", "WHAT is the  capital of the island?", "x"),
        row("t-1", "How many nuts are left in the larger of the two bags when Ida has eaten seven?", "x"),
        row("t-2", f"An old farmer told us that {PASSAGE} our fields and that nobody minds.", "x"),
    ]
    assert dataset.held_by_rows(asked_texts(suite), train) == (0, 1, 2)
    assert dataset.held_by_rows(asked_texts(suite), train[:1]) == (0,)


def test_a_result_is_shown_again_on_the_clean_samples_alone() -> None:
    suite = classification(["dovish"] * 10)
    candidate = result(suite, ["dovish"] * 6 + ["hawkish"] * 3 + [None])
    baseline = result(suite, ["dovish"] * 10, "baseline")
    clean = without(suite, {f"row-{n}" for n in range(5)})
    ours, theirs = restricted(candidate, clean), restricted(baseline, clean)
    assert (ours.n, ours.n_scored, ours.n_errored, ours.system) == (5, 4, 1, "candidate")
    assert ours.metrics["accuracy"].value == 0.25
    assert clean.sha256 not in (suite.sha256, without(suite, {"row-0"}).sha256)
    found = compare(clean, [ours, theirs], gates=config().evaluation.gates)
    assert (found.n, found.comparisons[0].n) == (5, 4)
    with pytest.raises(EvalIncompleteError, match="answered none of 0 samples"):
        restricted(candidate, without(suite, {sample.id for sample in suite.samples}))


def test_a_sample_of_several_turns_is_asked_with_all_of_them() -> None:
    turns = (Message("system", "s"), Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?"))
    suite = classification(["dovish"])
    many = Sample("m", turns, "dovish", "")
    assert asked_texts(type(suite)("n", "general", "classification", "exact", (many,), (), None, "")) == ("Hi\nHello\nWhy?",)
