"""A judged suite: scores, errors, canaries, and when its claim is withheld."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from delivery.artifacts import Answer, Message, from_json, to_json
from delivery.errors import EvalIncompleteError
from delivery.evaluation.judging.calibration import calibration_of
from delivery.evaluation.judging.judge import Choice, Judgement
from delivery.evaluation.judging.pairs import judge_pairs
from delivery.evaluation.judging.results import Calibration, Contestant, JudgedPairs, Terms
from delivery.evaluation.judging.rules import CANARIES, JudgeRules
from tests.delivery.evaluation.judging.judges import answers, blocks, judge, preferring, suite, verdict


def calibrated(right: int, wrong: int) -> Calibration:
    gold: list[Choice] = ["a", "b"] * (right + wrong)
    other: dict[Choice, Choice] = {"a": "b", "b": "a"}
    said = [one if i < 2 * right else other[one] for i, one in enumerate(gold)]
    return calibration_of([Judgement(str(i), one, one) for i, one in enumerate(said)], gold, judge="claude-x")


def by_quality(text: str) -> float:
    """Canaries are worth nothing, other answers their length."""
    return -1.0 if text in CANARIES.values() else float(len(text))


def run(tmp_path: Path, ours: Sequence[str | None], theirs: Sequence[str | None], **about: object) -> JudgedPairs:
    reply = about.pop("reply", preferring(by_quality))
    terms = Terms(calibration=calibrated(45, 5), **about)  # type: ignore[arg-type]
    return judge_pairs(
        judge(tmp_path, reply),  # type: ignore[arg-type]
        suite(len(ours), clusters=3),
        contestants=[Contestant("candidate", "qwen2", answers(ours))],
        reference=Contestant("baseline", "gpt-4", answers(theirs)),
        terms=terms,
    )


def test_wins_ties_and_losses_are_one_half_and_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, ["long answer", "same", "x", "y"], ["short", "same", "longer", "longest"])
    (contest,) = found.contests
    assert [one.score for one in contest.scored] == [1.0, 0.5, 0.0, 0.0]
    assert [one.parsed for one in contest.scored] == ["better", "tie", "worse", "worse"]
    assert [one.correct for one in contest.scored] == [True, False, False, False]
    assert [one.cluster for one in contest.scored] == ["c0", "c1", "c2", "c0"]
    assert (contest.n, contest.n_tied, contest.n_errored) == (4, 1, 0)
    assert contest.win_rate.value == pytest.approx(0.375)
    assert contest.win_rate.low < 0.375 < contest.win_rate.high
    # 0.375 as seen by a judge that is right in nine of ten.
    assert contest.corrected is not None
    assert contest.corrected.value == pytest.approx((0.375 - 0.1) / 0.8)
    assert [one.score for one in found.reference] == [0.5] * 4
    assert not found.withheld
    assert not found.limitations
    assert found.contest("candidate") is contest
    assert found.contest("base") is None


def test_results_are_stored_and_read_back(tmp_path: Path) -> None:
    found = run(tmp_path, ["long answer", "x"], ["short", "longer"])
    assert from_json(JudgedPairs, to_json(found)) == found
    assert len(found.judge.prompt_sha256) == 64


def test_what_could_not_be_judged_is_errored_and_never_lost(tmp_path: Path) -> None:
    def reply(messages: Sequence[Message]) -> str:
        shown = blocks(messages)
        return "no idea" if "odd" in shown["first answer"] + shown["second answer"] else preferring(by_quality)(messages)

    found = run(tmp_path, [None, "fine", "odd", "better one"], ["aa", None, "aa", "aa"], reply=reply)
    (contest,) = found.contests
    assert [one.score for one in contest.scored] == [None, None, None, 1.0]
    assert [one.error for one in contest.scored] == [
        "HTTP 500",
        "the reference: HTTP 500",
        "the judge gave no verdict of the form asked for, twice",
        None,
    ]
    assert [one.correct for one in contest.scored] == [None, None, None, True]
    assert (contest.n, contest.n_errored) == (1, 3)
    assert [one.score for one in found.reference] == [0.5, None, 0.5, 0.5]


def test_a_judge_that_no_one_can_use_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(EvalIncompleteError, match="candidate: none of 2 pairs could be judged: the judge gave no verdict"):
        run(tmp_path, ["a", "b"], ["c", "d"], reply=lambda _: "?")


def test_a_judge_that_likes_praise_of_itself_has_its_claim_withheld(tmp_path: Path) -> None:
    def gullible(text: str) -> float:
        return 99.0 if "best answer" in text else by_quality(text)

    found = run(tmp_path, ["long answer"] * 5, ["short"] * 5, reply=preferring(gullible))
    assert {one.name: one.rate.value for one in found.canaries} == {"self_praise": 1.0, "politeness": 0.0}
    (reason,) = found.withheld
    assert "self praise" in reason
    assert "0.1" in reason


def test_canaries_run_on_no_more_samples_than_the_suite_says(tmp_path: Path) -> None:
    found = run(tmp_path, ["long answer"] * 9, ["short"] * 9, rules=JudgeRules(canary_samples=4))
    assert [one.n for one in found.canaries] == [4, 4]


def test_without_calibration_or_with_little_agreement_the_claim_is_withheld(tmp_path: Path) -> None:
    def withheld(calibration: Calibration | None) -> tuple[str, ...]:
        return judge_pairs(
            judge(tmp_path, preferring(by_quality)),
            suite(3),
            contestants=[Contestant("candidate", "qwen2", answers(["good one"] * 3))],
            reference=Contestant("baseline", "gpt-4", answers(["short"] * 3)),
            terms=Terms(calibration=calibration),
        ).withheld

    assert withheld(calibrated(45, 5)) == ()
    assert withheld(None) == ("the judge was not measured on labeled pairs",)
    (reason,) = withheld(calibrated(30, 20))
    assert "kappa on 100 labeled pairs is 0.20" in reason
    assert "below the 0.4" in reason


def test_a_judge_of_the_baselines_family_is_named(tmp_path: Path) -> None:
    (sentence,) = judge_pairs(
        judge(tmp_path, preferring(by_quality), model="gpt-4o"),
        suite(2),
        contestants=[Contestant("candidate", "qwen2", answers(["good one"] * 2))],
        reference=Contestant("baseline", "gpt-4", answers(["short"] * 2)),
        terms=Terms(),
    ).limitations
    assert "gpt-4o" in sentence
    assert "baseline (gpt-4)" in sentence


def test_order_consistency_counts_only_pairs_that_were_asked(tmp_path: Path) -> None:
    by_place = run(tmp_path, ["one", "same"], ["two", "same"], reply=lambda _: verdict("first")).contests[0]
    assert by_place.order_consistency is not None
    assert by_place.order_consistency.value == 0
    assert by_place.win_rate.value == 0.5


def test_answers_are_aligned_by_id_and_not_by_place(tmp_path: Path) -> None:
    ours = (Answer("s1", "x"), Answer("s0", "long answer"))
    found = judge_pairs(
        judge(tmp_path, preferring(by_quality)),
        suite(2),
        contestants=[Contestant("candidate", "qwen2", ours)],
        reference=Contestant("baseline", "gpt-4", answers(["short", "longer"])),
        terms=Terms(),
    )
    assert [(one.sample_id, one.score) for one in found.contests[0].scored] == [("s0", 1.0), ("s1", 0.0)]
