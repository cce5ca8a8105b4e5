"""Suites that a judge decides: everyone plays or answers, the judge is measured first, and what it may claim is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from delivery import evaluation
from delivery.artifacts import (
    Answer,
    BaseModel,
    Estimate,
    Judging,
    OnProgress,
    Scored,
    Suite,
    SuiteResult,
)
from delivery.evaluation import judging
from delivery.evaluation.judging.rules import JudgeRules
from delivery.settings import get_settings
from flows.evidence import Contender, compared
from flows.line import Line

REPLY = 160
"""Tokens that a reply may have."""
WRITTEN = "the suite's own answers"


def judge_of(line: Line, base: BaseModel) -> judging.Judge:
    """The judge of ``DELIVERY_JUDGE_MODEL``; without one the untouched base, held to the form of a verdict.

    The latter shows what judging would look like: measured on labeled pairs, it will hardly be allowed a claim.
    """
    settings, store = get_settings(), line.folder("answers") / "judge.jsonl"
    if not settings.judge_model:
        return judging.Judge(evaluation.local_endpoint(base), f"{base.name} (untuned)", store, closed=True)
    key = settings.openai_api_key
    endpoint = evaluation.http_endpoint(
        settings.judge_base_url or settings.openai_base_url,
        model=settings.judge_model,
        api_key=key.get_secret_value() if key else "",
    )
    return judging.Judge(endpoint, settings.judge_model, store)


def evaluate_judged(
    line: Line, suite: Suite, rules: JudgeRules, *, data: str, base: BaseModel, contenders: Sequence[Contender]
) -> str:
    """All contenders on a judged suite; where the judge may claim nothing, there are figures and no comparisons."""
    gates, plays = line.config.evaluation.gates, suite.scorer == "role_play"
    parts = [_play(line, suite, one, base) if plays else _answer(line, suite, one) for one in contenders]
    measured = _calibrate(line, rules, base)

    def work(_: Path, on_progress: OnProgress) -> SuiteResult:
        judge, terms = judge_of(line, base), judging.Terms(rules, line.read(judging.Calibration, measured))
        found: judging.JudgedDialogues | judging.JudgedPairs
        if plays:
            players = [line.read(judging.Player, part) for part in parts]
            answers = [tuple(dialogue.answer for dialogue in player.dialogues) for player in players]
            found = judging.judge_dialogues(judge, suite, players=players, terms=terms, on_progress=on_progress)
        else:
            contestants = [line.read(judging.Contestant, part) for part in parts]
            answers = [contestant.answers for contestant in contestants]
            written = tuple(Answer(sample.id, sample.expected) for sample in suite.samples)
            reference = judging.Contestant("reference", WRITTEN, written)
            found = judging.judge_pairs(
                judge, suite, contestants=contestants, reference=reference, terms=terms, on_progress=on_progress
            )
        results = [
            evaluation.summarise(suite, _scored(found, one.system.system), system=one.system, answers=given)
            for one, given in zip(contenders, answers, strict=True)
        ]
        whole = compared(line, data, suite, results)
        return replace(whole, comparisons=() if found.withheld else whole.comparisons, judging=_judging(found))

    inputs = {"parts": parts, "judge": measured, "gates": gates.model_dump(mode="json"), "data": data}
    return line.stage(f"judge_on_{suite.name}", inputs, work)


def _calibrate(line: Line, rules: JudgeRules, base: BaseModel) -> str:
    """What the judge is worth on labeled pairs."""
    labeled = judging.labeled_pairs()

    def work(_: Path, on_progress: OnProgress) -> judging.Calibration:
        return judging.calibrate(judge_of(line, base), labeled, criteria=rules.rubric, on_progress=on_progress)

    inputs = {"judge": _judge_identity(base), "rules": rules.model_dump(mode="json"), "labeled": labeled}
    return line.stage("calibrate_judge", inputs, work)


def _judge_identity(base: BaseModel) -> list[str]:
    settings = get_settings()
    return (
        [settings.judge_model, settings.judge_base_url or settings.openai_base_url] if settings.judge_model else [base.sha256]
    )


def _play(line: Line, suite: Suite, contender: Contender, base: BaseModel) -> str:
    """A contender's dialogues: with the frozen turns, and beside them with the judge's model as the user.

    The base that judges for want of a better one is not asked to play a user.
    """
    answers, simulating = line.folder("answers"), bool(get_settings().judge_model)

    def work(folder: Path, on_progress: OnProgress) -> judging.Player:
        beside: tuple[judging.Dialogue, ...] = ()
        with contender.reach(folder) as endpoint:
            kept = answers / f"{contender.identity}.jsonl"
            played = judging.play(
                endpoint, suite.samples, path=kept, max_new_tokens=REPLY, on_progress=on_progress, offline=False
            )
            if simulating:
                user, kept = judge_of(line, base).endpoint, answers / f"{contender.identity}-simulated"
                beside = judging.simulate(
                    endpoint, user, suite.samples, folder=kept, max_new_tokens=REPLY, on_progress=on_progress
                )
        return judging.Player(contender.system.system, contender.system.model, played, beside)

    user = _judge_identity(base) if simulating else []
    inputs = {"suite": suite.sha256, "identity": contender.identity, "room": REPLY, "user": user}
    return line.stage(f"{contender.system.system}_on_{suite.name}", inputs, work)


def _answer(line: Line, suite: Suite, contender: Contender) -> str:
    """A contender's answers."""

    def work(folder: Path, on_progress: OnProgress) -> judging.Contestant:
        with contender.reach(folder) as endpoint:
            answers = evaluation.collect(
                endpoint,
                [contender.prompt(sample) for sample in suite.samples],
                path=line.folder("answers") / f"{contender.identity}.jsonl",
                max_new_tokens=REPLY,
                on_progress=on_progress,
                offline=False,
            )
        return judging.Contestant(contender.system.system, contender.system.model, answers)

    inputs = {"suite": suite.sha256, "identity": contender.identity, "room": REPLY}
    return line.stage(f"{contender.system.system}_on_{suite.name}", inputs, work)


def _scored(found: judging.JudgedDialogues | judging.JudgedPairs, system: str) -> tuple[Scored, ...]:
    one = found.play(system) if isinstance(found, judging.JudgedDialogues) else found.contest(system)
    return one.scored if one is not None else ()


def _judging(found: judging.JudgedDialogues | judging.JudgedPairs) -> Judging:
    measured = found.calibration
    return Judging(
        model=found.judge.model,
        prompt=f"{found.judge.prompt} {found.judge.prompt_version}",
        prompt_sha256=found.judge.prompt_sha256,
        labeled=measured.n if measured else 0,
        kappa=measured.kappa if measured else None,
        agreement=measured.agreement if measured else None,
        order_consistency=measured.order_consistency if measured else None,
        pick_first_rate=measured.pick_first_rate if measured else None,
        canaries=found.canaries,
        withheld=found.withheld,
        limitations=found.limitations,
        beside=_beside(found),
    )


def _beside(found: judging.JudgedDialogues | judging.JudgedPairs) -> dict[str, dict[str, Estimate]]:
    if isinstance(found, judging.JudgedDialogues):
        return {one.system: {"simulated_user": one.simulated.score} for one in found.plays if one.simulated is not None}
    return {
        one.system: {"length_controlled": one.length_controlled} | ({"corrected": one.corrected} if one.corrected else {})
        for one in found.contests
    }
