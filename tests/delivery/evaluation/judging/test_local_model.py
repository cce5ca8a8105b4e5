"""Role play and judging with real weights: few of them, so that what counts is the wiring and not the verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery.artifacts import BaseModel
from delivery.evaluation import local_endpoint
from delivery.evaluation.judging.dialogues import play, simulate
from delivery.evaluation.judging.judge import NO_VERDICT, Judge, Pair, compare
from tests.delivery.evaluation.judging.test_dialogues import SAMPLES

pytestmark = pytest.mark.slow


def test_a_local_model_plays_a_scene_and_the_user_of_another(tmp_path: Path, shallow: BaseModel) -> None:
    endpoint = local_endpoint(shallow)
    played = play(endpoint, SAMPLES, path=tmp_path / "replies.jsonl", max_new_tokens=8)
    assert [len(one.turns) for one in played] == [3, 2]
    assert all(turn.reply for one in played for turn in one.turns)
    assert all(one.error is None and one.prompt_tokens > 0 and one.completion_tokens > 0 for one in played)
    simulated = simulate(endpoint, endpoint, SAMPLES[1:], folder=tmp_path, max_new_tokens=8)
    assert simulated[0].turns[0].user == played[1].turns[0].user
    assert simulated[0].turns[1].user != played[1].turns[1].user


def test_a_judge_too_small_to_write_a_verdict_leaves_errored_pairs_and_no_guesses(tmp_path: Path, shallow: BaseModel) -> None:
    judge = Judge(local_endpoint(shallow), shallow.name, tmp_path / "verdicts.jsonl", max_new_tokens=8)
    (found,) = compare(judge, [Pair("p", "What is two and two?", "Four.", "Five.")], criteria="the right one")
    assert (found.choice, found.error) == (None, NO_VERDICT)
