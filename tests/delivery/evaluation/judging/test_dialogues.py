"""Role play: how it is played, resumed, simulated and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from delivery.artifacts import Message, Progress, Sample, Suite, from_json, to_json
from delivery.errors import ClientDataError, EvalIncompleteError
from delivery.evaluation.judging.calibration import calibration_of
from delivery.evaluation.judging.dialogues import Dialogue, Turn, play, scene_of, simulate
from delivery.evaluation.judging.judge import NO_VERDICT, Judgement
from delivery.evaluation.judging.results import JudgedDialogues, Player, Terms
from delivery.evaluation.judging.rubric import CALIBRATED_ON_PAIRS, judge_dialogues
from delivery.evaluation.judging.rules import CANARIES, JudgeRules
from tests.delivery.evaluation.judging.judges import FunctionEndpoint, blocks, judge

PERSONAS = {"mara": "Mara, seventy, keeps a lighthouse.", "oto": {"name": "Oto", "trade": "baker"}}


def sample(name: str, persona: str, turns: Sequence[str], rubric: Sequence[str] = ("in role", "kind")) -> Sample:
    reference: dict[str, Any] = {
        "persona": PERSONAS[persona],
        "scene": "A stormy night.",
        "turns": list(turns),
        "rubric": list(rubric),
    }
    slices = {"persona": persona, "scene": "storm"}
    return Sample(name, (), "", name * 8, slices=slices, cluster=persona, scorer="role_play", reference=reference)


SAMPLES = (sample("a", "mara", ["Hello?", "Who are you?", "Bye."]), sample("b", "oto", ["Bread, please.", "How much?"]))
SUITE = Suite("role_play", "role_play", "role_play", "exact", SAMPLES, (), None, "0" * 64)


def speaker(messages: Sequence[Message]) -> str:
    return f"reply {sum(message.role == 'assistant' for message in messages)} to {messages[-1].content}"


def played(tmp_path: Path, reply: Any = speaker) -> tuple[Dialogue, ...]:
    return play(FunctionEndpoint(reply), SAMPLES, path=tmp_path / "replies.jsonl", max_new_tokens=50)


def test_the_users_turns_are_frozen_and_the_systems_own_replies_are_its_context(tmp_path: Path) -> None:
    endpoint = FunctionEndpoint(speaker)
    first, second = play(endpoint, SAMPLES, path=tmp_path / "replies.jsonl", max_new_tokens=50)
    assert first.turns[2] == Turn("Bye.", "reply 2 to Bye.")
    assert [turn.user for turn in second.turns] == ["Bread, please.", "How much?"]
    assert [request.sample_id for request in endpoint.asked] == ["a#0", "b#0", "a#1", "b#1", "a#2"]
    last = endpoint.asked[-1].messages
    assert [message.role for message in last] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "Mara, seventy" in last[0].content
    assert "A stormy night." in last[0].content
    assert "trade: baker" in endpoint.asked[1].messages[0].content


def test_a_persona_that_the_prompt_already_holds_is_not_told_twice(tmp_path: Path) -> None:
    told = replace(SAMPLES[0], messages=(Message("system", "Play this. Mara, seventy, keeps a lighthouse."),))
    endpoint = FunctionEndpoint(speaker)
    play(endpoint, [told], path=tmp_path / "replies.jsonl", max_new_tokens=50)
    assert endpoint.asked[0].messages[0].content.count("lighthouse") == 1


def test_a_second_call_asks_nothing_again_and_a_failed_turn_is_asked_again(tmp_path: Path) -> None:
    failing = FunctionEndpoint(
        lambda messages: RuntimeError("HTTP 500") if messages[-1].content == "How much?" else speaker(messages)
    )
    first, second = play(failing, SAMPLES, path=tmp_path / "replies.jsonl", max_new_tokens=50)
    assert first.error is None
    assert (second.error, len(second.turns), second.answer.output) == ("turn 2: HTTP 500", 1, None)
    again = FunctionEndpoint(speaker)
    seen: list[Progress] = []
    found = play(again, SAMPLES, path=tmp_path / "replies.jsonl", max_new_tokens=50, on_progress=seen.append)
    assert [request.sample_id for request in again.asked] == ["b#1"]
    assert [len(one.turns) for one in found] == [3, 2]
    assert found[0] == first
    assert seen[-1] == Progress(5, 5, "turns")


def test_a_simulated_user_goes_on_from_the_first_frozen_turn(tmp_path: Path) -> None:
    user = FunctionEndpoint(lambda messages: f"user speaks after {messages[-1].content!r}")
    found = simulate(FunctionEndpoint(speaker), user, SAMPLES, folder=tmp_path, max_new_tokens=50)
    assert [turn.user for turn in found[1].turns] == ["Bread, please.", "user speaks after 'reply 0 to Bread, please.'"]
    assert len(found[0].turns) == 3
    asked = user.asked[-1].messages
    assert [message.role for message in asked] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert asked[2].content == "Hello?"


def test_a_simulated_user_that_fails_is_an_error_of_the_dialogue(tmp_path: Path) -> None:
    user = FunctionEndpoint(lambda _: RuntimeError("HTTP 500"))
    found = simulate(FunctionEndpoint(speaker), user, SAMPLES, folder=tmp_path, max_new_tokens=50)
    assert [one.error for one in found] == ["the simulated user: HTTP 500"] * 2


@pytest.mark.parametrize(
    ("field", "value"), [("persona", ""), ("turns", []), ("turns", "Hello"), ("rubric", [""]), ("rubric", None)]
)
def test_a_sample_that_is_no_role_play_is_refused_by_name(field: str, value: Any) -> None:
    broken = replace(SAMPLES[0], reference={**SAMPLES[0].reference, field: value})
    with pytest.raises(ClientDataError, match=f"sample 'a': reference.{field}: must be"):
        scene_of(broken)


def checking(messages: Sequence[Message]) -> str:
    """A judge that finds the first point met in every reply and the second in replies that hold a 0."""
    reply = blocks(messages)["reply to check"]
    return json.dumps({"met": [reply not in CANARIES.values(), "0" in reply]})


def known() -> Terms:
    agreed = [Judgement(str(i), "a" if i % 2 else "b", "a" if i % 2 else "b") for i in range(40)]
    return Terms(calibration=calibration_of(agreed, ["a" if i % 2 else "b" for i in range(40)], judge="claude-x"))


def test_turns_are_averaged_within_a_dialogue_first(tmp_path: Path) -> None:
    found = judge_dialogues(
        judge(tmp_path, checking), SUITE, players=[Player("candidate", "qwen2", played(tmp_path))], terms=known()
    )
    (one,) = found.plays
    # Of three turns the first has both points; of two likewise.
    assert [scored.score for scored in one.scored] == [pytest.approx(4 / 6), pytest.approx(3 / 4)]
    assert one.judged_score.value == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert one.judged_score.low < one.judged_score.value < one.judged_score.high
    assert [scored.cluster for scored in one.scored] == ["mara", "oto"]
    assert one.scored[1].parsed == "[[true, true], [true, false]]"
    assert [(cut.name, cut.value, cut.n) for cut in one.slices] == [
        ("persona", "mara", 1),
        ("persona", "oto", 1),
        ("scene", "storm", 2),
    ]
    assert one.slices[1].score.value == pytest.approx(3 / 4)
    assert one.simulated is None
    assert [(canary.name, canary.rate.value) for canary in found.canaries] == [("self_praise", 0), ("politeness", 0)]
    assert found.withheld == ()
    assert found.limitations == (CALIBRATED_ON_PAIRS,)
    assert found.play("candidate") is one
    assert from_json(JudgedDialogues, to_json(found)) == found


def test_points_that_do_not_apply_are_left_out_of_a_reply_and_replies_without_any_out_of_the_dialogue(tmp_path: Path) -> None:
    def reply(messages: Sequence[Message]) -> str:
        said = blocks(messages)["reply to check"]
        if said in CANARIES.values():
            return '{"met": [false, false]}'
        return '{"met": [null, true]}' if "0" in said else '{"met": [null, null]}' if "1" in said else '{"met": [true, false]}'

    found = judge_dialogues(
        judge(tmp_path, reply), SUITE, players=[Player("candidate", "qwen2", played(tmp_path))], terms=known()
    ).plays[0]
    assert [scored.score for scored in found.scored] == [pytest.approx((1 + 0.5) / 2), 1.0]
    assert [scored.correct for scored in found.scored] == [False, True]


def test_the_judge_sees_what_led_up_to_a_reply_and_the_points(tmp_path: Path) -> None:
    asked = judge(tmp_path, checking)
    judge_dialogues(asked, SUITE, players=[Player("candidate", "qwen2", played(tmp_path))], terms=known())
    content = asked.endpoint.asked[2].messages  # type: ignore[attr-defined]
    shown = blocks(content)
    assert shown["persona"] == "Mara, seventy, keeps a lighthouse."
    assert shown["conversation so far"].endswith("reply 1 to Who are you?\n\nuser: Bye.")
    assert shown["reply to check"] == "reply 2 to Bye."
    assert "1. in role\n2. kind" in content[-1].content


def test_a_dialogue_with_one_turn_that_has_no_verdict_is_errored(tmp_path: Path) -> None:
    def reply(messages: Sequence[Message]) -> str:
        return "hm" if blocks(messages)["reply to check"].endswith("Bye.") else checking(messages)

    found = judge_dialogues(
        judge(tmp_path, reply), SUITE, players=[Player("candidate", "qwen2", played(tmp_path))], terms=known()
    ).plays[0]
    assert [scored.correct for scored in found.scored] == [None, False]
    assert found.scored[0].error == NO_VERDICT
    assert (found.n, found.n_errored) == (1, 1)


def test_a_dialogue_that_broke_off_is_errored_with_its_own_reason(tmp_path: Path) -> None:
    dialogues = played(
        tmp_path, lambda messages: RuntimeError("HTTP 500") if messages[-1].content == "Bye." else speaker(messages)
    )
    found = judge_dialogues(judge(tmp_path, checking), SUITE, players=[Player("candidate", "qwen2", dialogues)], terms=known())
    assert found.plays[0].scored[0].error == "turn 3: HTTP 500"
    with pytest.raises(EvalIncompleteError, match="base: none of 2 dialogues could be judged: no answer recorded"):
        judge_dialogues(judge(tmp_path, checking), SUITE, players=[Player("base", "qwen2", ())], terms=known())


def test_the_simulated_user_stands_beside_and_changes_no_score(tmp_path: Path) -> None:
    dialogues = played(tmp_path)
    simulated = tuple(Dialogue(one.sample_id, (Turn("hi", "0"),)) for one in dialogues)
    alone = judge_dialogues(judge(tmp_path, checking), SUITE, players=[Player("candidate", "q", dialogues)], terms=known())
    beside = judge_dialogues(
        judge(tmp_path, checking), SUITE, players=[Player("candidate", "q", dialogues, simulated)], terms=known()
    )
    assert beside.plays[0].scored == alone.plays[0].scored
    assert beside.plays[0].judged_score == alone.plays[0].judged_score
    assert beside.plays[0].simulated is not None
    assert (beside.plays[0].simulated.n, beside.plays[0].simulated.score.value) == (2, 1.0)


def test_a_constant_reply_that_meets_too_many_points_withholds_the_claim(tmp_path: Path) -> None:
    def lenient(_: Sequence[Message]) -> str:
        return '{"met": [true, true]}'

    terms = replace(known(), rules=JudgeRules(max_canary_score=0.6))
    found = judge_dialogues(judge(tmp_path, lenient), SUITE, players=[Player("candidate", "q", played(tmp_path))], terms=terms)
    assert len(found.withheld) == 2
    assert "politeness) reaches 1.00 on 2 samples, more than the 0.6" in found.withheld[1]
