"""Which turns are learned, and that they are what serving sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from delivery.artifacts import BaseModel, Example, Message
from delivery.training.hf.rows import Rows, tokenize
from delivery.training.turns import Turn, learned_turns
from delivery.weights.hf import load_tokenizer, render

ASKED = Message("user", "w1")
CHAT = Example(
    id="1",
    messages=(Message("system", "sort the text"), ASKED, Message("assistant", "w2 w3", 0.5), Message("user", "w4")),
    answer="w5",
    weight=2.0,
)


def test_turns_with_a_weight_and_the_answer_are_learned() -> None:
    assert learned_turns(CHAT) == (Turn(CHAT.messages[:2], "w2 w3", 0.5), Turn(CHAT.messages, "w5", 2.0))
    silent = replace(CHAT, messages=tuple(replace(m, weight=0.0) for m in CHAT.messages))
    assert learned_turns(silent) == (Turn(silent.messages, "w5", 2.0),)
    assert learned_turns(replace(CHAT, messages=(Message("user", "w1", 3.0), ASKED)))[0].answer == "w5"


def test_each_learned_turn_is_rendered_as_serving_is_asked_for_it(tiny: BaseModel) -> None:
    tokenizer = load_tokenizer(Path(tiny.path))
    (unit,) = tokenize(tokenizer, [CHAT])
    for row, messages, answer in zip(unit, (CHAT.messages[:2], CHAT.messages), ("w2 w3", "w5"), strict=True):
        assert row.ids[: row.answer_start] == render(tokenizer, messages).ids
        assert tokenizer.decode(row.ids[row.answer_start :]) == f"{answer} </s>"
    whole = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in CHAT.messages], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.decode(unit[-1].ids[: unit[-1].answer_start]) == whole.strip()


@pytest.mark.parametrize("packed", [True, False])
def test_a_step_learns_every_turn_with_its_weight(tiny: BaseModel, packed: bool) -> None:
    tokenizer = load_tokenizer(Path(tiny.path))
    other = replace(CHAT, messages=(ASKED,), weight=1.0)
    item = Rows(tokenize(tokenizer, [other, CHAT]), steps=[[[1, 0]]], pad=0, packed=packed)[0]
    (batch,) = item["micro_batches"]
    assert tokenizer.decode(batch["targets"]) == "w2 w3 </s> w5 </s> w5 </s>"
    assert batch["weights"].tolist() == [0.5] * 3 + [2.0] * 2 + [1.0] * 2
    assert batch["rows"].tolist() == [1] * 3 + [2] * 2 + [0] * 2
    assert item["total"] == pytest.approx(7.5)
    # The token before each target, which predicts it.
    before = tokenizer.decode(batch["input_ids"].flatten()[batch["positions"]])
    assert before == "assistant w2 w3 assistant w5 assistant w5"
