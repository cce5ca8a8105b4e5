"""Suites that a judge decides: everyone is heard, the judge is measured first, and what it may claim is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from delivery import evaluation
from delivery.artifacts import (
    JUDGED,
    Answer,
    BaseModel,
    Canary,
    Estimate,
    Judging,
    OnProgress,
    Sample,
    Scored,
    Suite,
    SystemName,
    SystemResult,
)
from delivery.errors import BudgetReached, ConfigError, NoVerdict
from delivery.evaluation import Endpoint, judging
from delivery.evaluation.judging.prompts import RUBRIC
from delivery.evaluation.judging.results import JudgeRecord, record
from delivery.evaluation.judging.rules import JudgeRules
from delivery.evaluation.suites.ordering import Ordered
from delivery.settings import get_settings
from flows.contenders import Contender
from flows.line import Line
from flows.live import listed
from flows.ordered import further_suites
from flows.results import Heard, Measured
from flows.steps import Step

if TYPE_CHECKING:
    from delivery.evaluation.endpoints.openai import OpenAIEndpoint

WRITTEN = "the suite's own answers"
AGAINST: tuple[SystemName, ...] = ("baseline", "adapter", "base", "champion")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Verdicts:
    """Every system's score, who judged, and by system how the candidate's answers did beside that system's.

    ``duels`` is None in a role play, where single replies are judged and no pairs. Where the judge's word may not be used
    there are none either.
    """

    results: tuple[SystemResult, ...]
    judging: Judging
    duels: evaluation.Duels | None


@Step
def check_judge(line: Line) -> None:
    """Refuse a judge without a price or with a wrong key, or labeled pairs that cannot be read, before anything costs time.

    Raises:
        ConfigError, ClientDataError: as said.
        RetryableError: the judge cannot be reached.
    """
    judged = line.config.use_case.type in JUDGED or any(one.rules is not None for one in further_suites(line))
    if not judged:
        return
    _labeled(line)
    settings = get_settings()
    if settings.judge_model:
        endpoint = _hired(line)
        if not settings.offline:
            endpoint.check()


def judge_of(line: Line, base: BaseModel) -> judging.Judge:
    """The judge of ``DELIVERY_JUDGE_MODEL``; without one the untouched base, held to the form of a verdict.

    The latter shows what judging would look like: measured on labeled pairs, it will hardly be allowed a claim.

    Raises:
        ConfigError: the judge is asked beyond this machine and has no price to keep a budget by.
    """
    model, store = get_settings().judge_model, line.folder("answers") / "judge.jsonl"
    if not model:
        return judging.Judge(evaluation.local_endpoint(base), f"{base.name} (untuned)", store, closed=True)
    return judging.Judge(_hired(line), model, store)


def _hired(line: Line) -> OpenAIEndpoint:
    """The model of ``DELIVERY_JUDGE_MODEL``, under one budget for all that a delivery asks it, playing the user included.

    A model on this machine costs nothing unless ``client.yaml`` gives it a price.
    """
    settings, order = get_settings(), line.config.evaluation.judge
    url, key = settings.judge_base_url or settings.openai_base_url, settings.openai_api_key
    own = urlsplit(url).hostname in _LOOPBACK
    price = order.price or (None if own else listed(settings.judge_model))
    if price is None and not own:
        raise ConfigError(
            f"{line.config.folder / 'client.yaml'}: evaluation.judge.price: is missing, and the price book does not list the "
            f"judge {settings.judge_model!r}; give input and output in dollars per million tokens (0 where it costs nothing)"
        )
    budget = None
    if price is not None:
        delivery = line.recorder.delivery_id if line.recorder is not None else "none"
        budget = evaluation.Budget(
            line.folder("answers") / f"judge-{delivery}.budget",
            limit_usd=order.budget_usd,
            price=evaluation.TokenPrice(price.input, price.output),
        )
    secret = key.get_secret_value() if key else ""
    return evaluation.http_endpoint(url, model=settings.judge_model, api_key=secret, budget=budget)


def _labeled(line: Line) -> tuple[judging.LabeledPair, ...]:
    own = line.config.labeled_pairs_path()
    return judging.labeled_pairs(own) if own is not None else judging.labeled_pairs()


def calibrate(line: Line, suite: Suite, rules: JudgeRules, base: BaseModel) -> str:
    """What the judge is worth on labeled pairs, or why that cannot be said.

    Raises:
        EvalIncompleteError: not one verdict came, and some replies failed to come: they may the next time.
    """
    labeled = _labeled(line)

    def work(_: Path, on_progress: OnProgress) -> Measured:
        try:
            found = judging.calibrate(judge_of(line, base), labeled, criteria=rules.rubric, on_progress=on_progress)
        except (NoVerdict, BudgetReached) as error:
            return Measured(None, str(error))
        return Measured(found)

    inputs = {"judge": identity(line, base), "rules": rules.model_dump(mode="json"), "labeled": labeled}
    return line.stage("calibrate_judge" + ("" if suite.kind == "use_case" else f"_on_{suite.name}"), inputs, work)


def identity(line: Line, base: BaseModel) -> list[str]:
    """Who judges, and what that may cost: a verdict that was withheld for want of money is sought again with more."""
    settings = get_settings()
    if not settings.judge_model:
        return [base.sha256]
    order = line.config.evaluation.judge.model_dump_json(include={"budget_usd", "price"})
    return [settings.judge_model, settings.judge_base_url or settings.openai_base_url, order]


def hear(line: Line, contender: Contender, suite: Suite, *, room: int, stage: str) -> str:
    """What a contender says to the suite, in answers of up to ``room`` tokens; refused when too many samples have none.

    A role play is played with the frozen turns, and beside them with the judge's model as the user. Recorded replies fit no
    other turns, and the base that judges for want of a better one is not asked to play a user.
    """
    plays, system = suite.scorer == "role_play", contender.system
    simulating = plays and bool(get_settings().judge_model) and not contender.pack_sha256
    kept = line.folder("answers") / f"{contender.identity}.jsonl"

    def answer(endpoint: Endpoint, on_progress: OnProgress) -> Heard:
        asked = [contender.prompt(sample) for sample in suite.samples]
        # Whoever answers is on this machine, or has answered already.
        answers = evaluation.collect(endpoint, asked, path=kept, max_new_tokens=room, on_progress=on_progress, offline=False)
        return Heard(system, answers, pack_sha256=contender.pack_sha256)

    def play(endpoint: Endpoint, on_progress: OnProgress) -> Heard:
        played = judging.play(endpoint, suite.samples, path=kept, max_new_tokens=room, on_progress=on_progress, offline=False)
        beside: tuple[judging.Dialogue, ...] = ()
        with suppress(BudgetReached):
            if simulating:
                folder = kept.with_name(f"{contender.identity}-simulated")
                beside = judging.simulate(
                    endpoint, _hired(line), suite.samples, folder=folder, max_new_tokens=room, on_progress=on_progress
                )
        return Heard(system, tuple(one.answer for one in played), played, beside, contender.pack_sha256)

    def work(folder: Path, on_progress: OnProgress) -> Heard:
        with contender.reach(folder) as endpoint:
            heard = (play if plays else answer)(endpoint, on_progress)
        evaluation.raise_if_unanswered(system, heard.answers, line.config.evaluation.max_errored)
        return heard

    user = get_settings().judge_model if simulating else ""
    inputs = {"suite": suite.sha256, "identity": contender.identity, "room": room, "system": system, "user": user}
    return line.stage(stage, inputs, work)


def judge(
    line: Line, ordered: Ordered, heard: Sequence[Heard], *, measured: Measured, base: BaseModel, on_progress: OnProgress
) -> Verdicts:
    """Every system's score, and the candidate head to head with each, as far as the judge's word may be used.

    Answers are judged in pairs: every system's beside those of the baseline, or where there is none beside the suite's own,
    which gives each its win rate. What a gate asks for is asked directly, the candidate's answer beside that of the adapter,
    the base, the champion: against a strong baseline all of them may lose nearly every time, and a loss by quantization would
    not show. Where quantization changed no letter of an answer that is a tie and no judge is asked. Replies of a role play are
    judged one by one, and the scores of systems compared.

    Where the judge gave no verdict at all, or its budget is used up, there are no scores; where more than
    ``evaluation.max_errored`` of them are missing there are scores, and no comparisons.
    """
    hearing = _Hearing(
        judge_of(line, base),
        ordered.suite,
        heard,
        judging.Terms(ordered.rules or JudgeRules(), measured.calibration),
        line.config.evaluation.max_errored,
        on_progress,
    )
    try:
        if measured.calibration is None:
            raise NoVerdict(measured.why_not)
        return hearing.dialogues() if ordered.suite.scorer == "role_play" else hearing.pairs()
    except (NoVerdict, BudgetReached) as error:
        return hearing.unjudged(str(error))


@dataclass(frozen=True)
class _Hearing:
    judge: judging.Judge
    suite: Suite
    heard: Sequence[Heard]
    terms: judging.Terms
    max_errored: float
    on_progress: OnProgress

    def dialogues(self) -> Verdicts:
        """Every reply checked point by point."""
        players = [
            judging.Player(name, one.system.model, one.dialogues, one.simulated)
            for name, one in zip(self._names(), self.heard, strict=True)
        ]
        found = judging.judge_dialogues(self.judge, self.suite, players=players, terms=self.terms, on_progress=self.on_progress)
        scored = [one.scored for one in found.plays]
        beside = {one.system: {"simulated_user": one.simulated.score} for one in found.plays if one.simulated is not None}
        withheld = (*found.withheld, *self._missing(scored))
        values = [one.judged_score for one in found.plays]
        return Verdicts(self._results(scored, values), _judging(found, withheld, beside), None)

    def pairs(self) -> Verdicts:
        """Every answer beside the reference's, and then the candidate's beside those of the others."""
        names, reference = self._names(), self._reference()
        found = judging.judge_pairs(
            self.judge,
            self.suite,
            contestants=[one for one in self._contestants() if one.system != reference.system],
            reference=reference,
            terms=self.terms,
            on_progress=self.on_progress,
        )
        by_name = {one.system: one.scored for one in found.contests} | {reference.system: found.reference}
        beside = {
            one.system: {"length_controlled": one.length_controlled} | ({"corrected": one.corrected} if one.corrected else {})
            for one in found.contests
        }
        scored = [by_name[name] for name in names]
        withheld = (*found.withheld, *self._missing(scored))
        duels: dict[SystemName, Sequence[Scored]] = {}
        if not withheld:
            try:
                duels = self._duels(by_name, reference)
                withheld = self._missing(list(duels.values()))
            except (NoVerdict, BudgetReached) as error:
                withheld = (str(error),)
        values = {one.system: one.win_rate for one in found.contests}
        rates = [values.get(name, Estimate(0.5, 0.5, 0.5)) for name in names]
        return Verdicts(self._results(scored, rates), _judging(found, withheld, beside), {} if withheld else duels)

    def unjudged(self, why: str) -> Verdicts:
        """No score for anyone, and the reason."""
        results = []
        for one in self.heard:
            by_id = {answer.sample_id: answer for answer in one.answers}
            scored = [_not_judged(sample, by_id.get(sample.id), why) for sample in self.suite.samples]
            results.append(_result(self.suite, one, scored))
        prompt = RUBRIC if self.suite.scorer == "role_play" else self.judge.pairwise
        sides = {name: one.system.model for name, one in zip(self._names(), self.heard, strict=True)}
        found = _Said(
            judge=record(self.judge, prompt, self.terms.rules.rubric),
            calibration=self.terms.calibration,
            canaries=(),
            limitations=judging.family_limitations(self.judge.model, sides),
        )
        return Verdicts(tuple(results), _judging(found, (why,), {}), {})

    def _duels(
        self, scored: Mapping[str, Sequence[Scored]], reference: judging.Contestant
    ) -> dict[SystemName, Sequence[Scored]]:
        others = {one.system: one for one in self._contestants()}
        candidate = others.get("candidate")
        if candidate is None:
            return {}
        duels: dict[SystemName, Sequence[Scored]] = {}
        for name in AGAINST:
            if name == reference.system:
                duels[name] = scored["candidate"]
            elif name in others:
                duels[name] = judging.duel(
                    self.judge, self.suite, ours=candidate, theirs=others[name], terms=self.terms, on_progress=self.on_progress
                )
        return duels

    def _names(self) -> list[str]:
        """What each is called: of several prompts of the baseline the first, which is the one to beat, is the baseline."""
        names: list[str] = []
        for one in self.heard:
            names.append(one.system.system if one.system.system not in names else f"{one.system.system}_{one.system.prompting}")
        return names

    def _contestants(self) -> list[judging.Contestant]:
        return [
            judging.Contestant(name, one.system.model, one.answers) for name, one in zip(self._names(), self.heard, strict=True)
        ]

    def _reference(self) -> judging.Contestant:
        baseline = next((one for one in self._contestants() if one.system == "baseline"), None)
        written = tuple(Answer(sample.id, sample.expected) for sample in self.suite.samples)
        return baseline or judging.Contestant("reference", WRITTEN, written)

    def _results(self, scored: Sequence[Sequence[Scored]], values: Sequence[Estimate]) -> tuple[SystemResult, ...]:
        """Results with the judge's own intervals, which a few equal scores do not draw together to a point."""
        found = []
        for one, of_one, value in zip(self.heard, scored, values, strict=True):
            result = _result(self.suite, one, of_one)
            found.append(replace(result, metrics=result.metrics | {self.suite.primary_metric: value}))
        return tuple(found)

    def _missing(self, scored: Sequence[Sequence[Scored]]) -> tuple[str, ...]:
        """Why too much is missing, where it is."""
        n = len(self.suite.samples)
        least = min((sum(one.score is not None for one in of_one) for of_one in scored), default=n)
        if n - least <= self.max_errored * n:
            return ()
        return (f"{n - least} of {n} samples have no verdict, more than evaluation.max_errored={self.max_errored:g} allows",)


@dataclass(frozen=True)
class _Said:
    """The part of what was judged that is the same for pairs and dialogues."""

    judge: JudgeRecord
    calibration: judging.Calibration | None
    canaries: tuple[Canary, ...]
    limitations: tuple[str, ...]


def _result(suite: Suite, heard: Heard, scored: Sequence[Scored]) -> SystemResult:
    result = evaluation.summarise(suite, scored, system=heard.system, answers=heard.answers)
    return replace(result, pack_sha256=heard.pack_sha256)


def _not_judged(sample: Sample, answer: Answer | None, why: str) -> Scored:
    output = answer.output if answer is not None else None
    return Scored(
        sample.id,
        sample.expected,
        output,
        None,
        valid=output is not None,
        correct=None,
        error=f"not judged: {why}",
        cluster=sample.cluster,
    )


def _judging(
    found: judging.JudgedDialogues | judging.JudgedPairs | _Said,
    withheld: Sequence[str],
    beside: dict[str, dict[str, Estimate]],
) -> Judging:
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
        withheld=tuple(withheld),
        limitations=found.limitations,
        beside=beside,
    )
