from __future__ import annotations

import random

from delivery.artifacts import Message
from delivery.evaluation import choose_shots, few_shot, zero_shot
from tests.delivery.evaluation.cases import LABELS, classification, extraction, row, rows

TRAIN = [row(f"t-{i}", f"train {i} " + "x" * (i % 7), LABELS[i % 3]) for i in range(60)]
SUITE = classification(["dovish", "hawkish"])


def test_zero_shot_is_the_sample_itself() -> None:
    request = zero_shot(SUITE.samples[0])
    assert (request.sample_id, request.messages) == ("row-0", SUITE.samples[0].messages)


def test_shots_stand_between_system_message_and_question() -> None:
    request = few_shot(SUITE.samples[0], TRAIN[:2])
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert request.messages[2] == Message("assistant", "dovish")
    assert request.messages[-1] == SUITE.samples[0].messages[-1]
    assert few_shot(SUITE.samples[0], []) == zero_shot(SUITE.samples[0])


def test_choice_is_balanced_and_the_same_whatever_the_order() -> None:
    shots = choose_shots(TRAIN, 6, suite=SUITE)
    shuffled = random.Random(0).sample(TRAIN, len(TRAIN))
    assert shots == choose_shots(shuffled, 6, suite=SUITE)
    assert sorted(s.answer for s in shots) == ["dovish", "dovish", "hawkish", "hawkish", "neutral", "neutral"]
    assert shots != choose_shots(TRAIN, 6, suite=SUITE, seed=8)


def test_choice_varies_the_first_field_of_an_extraction() -> None:
    answers = [f'{{"line":"{line}","urgent":true,"reference":null}}' for line in ("home", "home", "home", "pet", "motor")]
    shots = choose_shots(rows(answers * 3, prefix="t"), 3, suite=extraction(answers[:1]))
    assert len({s.answer for s in shots}) == 3


def test_short_rows_first_and_never_beyond_the_budget() -> None:
    long = [row(f"l-{i}", "y" * 4_000, "dovish") for i in range(9)]
    short = [row(f"s-{i}", f"short {i}", "dovish") for i in range(9)]
    assert {s.id[0] for s in choose_shots([*long, *short], 9, suite=SUITE)} == {"s"}
    assert len(choose_shots(long, 5, suite=SUITE)) == 1
    assert choose_shots(long, 5, suite=SUITE, characters=100) == ()
    assert choose_shots([], 5, suite=SUITE) == ()


def test_no_shot_is_a_holdout_row() -> None:
    leaked = [row("t-1", "row text 0", "dovish"), row("t-2", "other", "dovish")]
    assert [s.id for s in choose_shots(leaked, 4, suite=SUITE)] == ["t-2"]
