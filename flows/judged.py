"""Suites that a judge decides: everyone plays or answers, the judge is measured first, and what it may claim is reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from delivery import evaluation
from delivery.artifacts import (
    Answer,
    BaseModel,
    Canary,
    Estimate,
    Judging,
    OnProgress,
    Scored,
    Suite,
    SuiteResult,
    SystemResult,
)
from delivery.evaluation import judging
from delivery.evaluation.judging.rules import JudgeRules
from delivery.settings import get_settings
from flows.evidence import Contender, compared
from flows.line import Line

REPLY = 160
"""Tokens that a reply may have."""
WRITTEN = "the suite's own answers"


@contextmanager
def judge_of(line: Line, base: BaseModel) -> Iterator[judging.Judge]:
    """The judge of ``DELIVERY_JUDGE_MODEL``; without one the untouched base, held to the form of a verdict.

    The latter shows what judging would look like: measured on labeled pairs, it will hardly be allowed a claim.
    """
    settings, store = get_settings(), line.folder("answers") / "judge.jsonl"
    if settings.judge_model:
        key = settings.openai_api_key
        endpoint = evaluation.http_endpoint(
            settings.judge_base_url or settings.openai_base_url,
            model=settings.judge_model,
            api_key=key.get_secret_value() if key else "",
        )
        yield judging.Judge(endpoint, settings.judge_model, store)
        return
    yield judging.Judge(evaluation.local_endpoint(base), f"{base.name} (untuned)", store, closed=True)


def evaluate_judged(
    line: Line, suite: Suite, rules: JudgeRules, *, data: str, base: BaseModel, contenders: Sequence[Contender]
) -> str:
    """All contenders on a judged suite; where the judge may claim nothing, there are figures and no comparisons."""
    settings, gates = get_settings(), line.config.evaluation.gates

    def work(folder: Path, on_progress: OnProgress) -> SuiteResult:
        with judge_of(line, base) as judge:
            taken = [_take_part(line, suite, one, folder, user=judge, on_progress=on_progress) for one in contenders]
            measured = judging.calibrate(judge, judging.labeled_pairs(), criteria=rules.rubric, on_progress=on_progress)
            terms = judging.Terms(rules, measured)
            found: judging.JudgedDialogues | judging.JudgedPairs
            if suite.scorer == "role_play":
                players = [one for one in taken if isinstance(one, judging.Player)]
                found = judging.judge_dialogues(judge, suite, players=players, terms=terms, on_progress=on_progress)
            else:
                written = tuple(Answer(sample.id, sample.expected) for sample in suite.samples)
                contestants = [one for one in taken if isinstance(one, judging.Contestant)]
                reference = judging.Contestant("reference", WRITTEN, written)
                found = judging.judge_pairs(
                    judge, suite, contestants=contestants, reference=reference, terms=terms, on_progress=on_progress
                )
        results = [_result(suite, one, part, found) for one, part in zip(contenders, taken, strict=True)]
        whole = compared(line, data, suite, results)
        return replace(whole, comparisons=() if found.withheld else whole.comparisons, judging=_judging(found))

    inputs = {
        "suite": suite.sha256,
        "contenders": [one.identity for one in contenders],
        "judge": [settings.judge_model, settings.judge_base_url, base.sha256],
        "rules": rules.model_dump(mode="json"),
        "gates": gates.model_dump(mode="json"),
        "data": data,
    }
    return line.stage(f"judge_on_{suite.name}", inputs, work)


def _take_part(
    line: Line, suite: Suite, contender: Contender, folder: Path, *, user: judging.Judge, on_progress: OnProgress
) -> judging.Player | judging.Contestant:
    """A contender's answers, or its dialogues: with the frozen turns, and with the judge's model as the user.

    The base that judges for want of a better one is not asked to play a user.
    """
    kept = line.folder("answers") / f"{contender.identity}.jsonl"
    name, model = contender.system.system, contender.system.model
    with contender.reach(folder) as endpoint:
        if suite.scorer == "role_play":
            played = judging.play(endpoint, suite.samples, path=kept, max_new_tokens=REPLY, on_progress=on_progress)
            if user.closed:
                return judging.Player(name, model, played)
            beside = judging.simulate(
                endpoint,
                user.endpoint,
                suite.samples,
                folder=line.folder("answers") / f"{contender.identity}-simulated",
                max_new_tokens=REPLY,
                on_progress=on_progress,
            )
            return judging.Player(name, model, played, beside)
        requests = [contender.prompt(sample) for sample in suite.samples]
        answers = evaluation.collect(
            endpoint, requests, path=kept, max_new_tokens=REPLY, on_progress=on_progress, offline=False
        )
        return judging.Contestant(name, model, answers)


def _result(
    suite: Suite,
    contender: Contender,
    part: judging.Player | judging.Contestant,
    found: judging.JudgedDialogues | judging.JudgedPairs,
) -> SystemResult:
    scored: tuple[Scored, ...] = ()
    if isinstance(found, judging.JudgedDialogues):
        play = found.play(part.system)
        scored = play.scored if play else ()
    else:
        contest = found.contest(part.system)
        scored = contest.scored if contest else ()
    answers = part.answers if isinstance(part, judging.Contestant) else tuple(one.answer for one in part.dialogues)
    return evaluation.summarise(suite, scored, system=contender.system, answers=answers)


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
        canaries=tuple(Canary(one.name, one.n, one.rate) for one in found.canaries),
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
