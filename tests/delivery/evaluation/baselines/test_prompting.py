from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Example, Message
from delivery.evaluation import choose_shots, few_shot, prompt_of, zero_shot
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


ASKED = classification(["dovish"]).samples[0]
"""Its text is "row text 0"."""


def shown(train: list[Example]) -> list[str]:
    """What the shots of a retrieval prompt ask, in order."""
    messages = prompt_of("retrieval_few_shot", train, suite=SUITE)(ASKED).messages
    assert messages[-1] == ASKED.messages[-1]
    return [m.content for m in messages[1:-1] if m.role == "user"]


def test_retrieved_shots_are_the_rows_most_alike_and_the_closest_comes_last() -> None:
    train = [
        row("t-1", "a text about nothing at all that goes on and on", "dovish"),
        row("t-2", "this row has some of it", "hawkish"),
        row("t-3", "the row and its text, which is long enough to be another", "neutral"),
        row("t-4", "unrelated words only", "neutral"),
    ]
    found = shown(train)
    assert found[-1] == train[2].asked
    assert train[3].asked not in found
    assert found == shown(train[::-1])


@pytest.mark.parametrize("copy", ["row text 0", "ROW  text 0", "row text 0.", "Row text 0!"])
def test_a_copy_of_the_question_is_never_a_shot(copy: str) -> None:
    train = [row("t-1", copy, "hawkish"), row("t-2", "another text of a row entirely", "neutral")]
    assert shown(train) == [train[1].asked]


def test_a_question_that_is_like_no_row_gets_no_shots() -> None:
    assert shown([row("t-1", "nothing shared", "dovish")]) == []
    assert shown([row("t-1", "...", "dovish")]) == []
    assert shown([]) == []


def test_no_more_shots_than_have_room() -> None:
    long = [row(f"t-{i}", "text " * 700 + f"number {i}", "dovish") for i in range(9)]
    assert len(shown(long)) == 1
    assert len(shown([row(f"t-{i}", f"a text that is number {i} of several", "dovish") for i in range(9)])) == 4


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=30))
def test_any_text_can_be_looked_up(texts: list[str], question: str) -> None:
    train = [row(f"t-{i}", text, "dovish") for i, text in enumerate(texts)]
    sample = type(ASKED)("q", (Message("user", question),), "dovish", "0" * 64)
    request = prompt_of("retrieval_few_shot", train, suite=SUITE)(sample)
    assert request.messages[-1].content == question
    assert len(request.messages) <= 9


def test_on_banking77_nine_of_ten_questions_get_a_shot_with_their_own_label(shared_data: Path) -> None:
    def examples(side: str, step: int) -> list[Example]:
        lines = (shared_data / "banking77" / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()[::step]
        read = [json.loads(line) for line in lines]
        return [Example(f"{side}-{i}", (Message("user", r["text"]),), r["label"]) for i, r in enumerate(read)]

    prompt = prompt_of("retrieval_few_shot", examples("train", 1), suite=SUITE)
    asked = examples("test", 10)
    hits = 0
    for one in asked:
        messages = prompt(type(ASKED)(one.id, one.messages, one.answer, one.input_sha256)).messages
        hits += one.answer in {m.content for m in messages if m.role == "assistant"}
        assert one.asked not in [m.content for m in messages[:-1]]
    assert hits / len(asked) > 0.9
