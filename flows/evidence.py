"""The evaluation tasks: each puts one system through the client's holdout.

Answers are appended to one file per system's weights as they arrive, so a killed evaluation goes on where it was, and a
champion is not asked again what it answered as a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from delivery import dataset, evaluation
from delivery.artifacts import (
    Adapter,
    Answer,
    BaseModel,
    OnProgress,
    Scorer,
    Suite,
    SuiteResult,
    SystemResult,
    TrainingPlan,
)
from delivery.client_config import ParseRule
from delivery.evaluation import System, judging
from delivery.evaluation.suites.ordering import Ordered
from flows import judged
from flows.contenders import Contender, here, longest_play, served
from flows.line import Line
from flows.results import Artifacts, Heard, Measured
from flows.steps import Step
from flows.versions import champion_of, count_look


def suite_of(line: Line, data: str) -> Suite:
    """The client's holdout as a suite.

    Raises:
        ClientDataError: a row has no answer of the use case's form; names file and line.
    """
    return evaluation.use_case_suite(line.config, line.rows(data).splits.test)


def put_through(
    line: Line, contender: Contender, suite: Suite, plan: TrainingPlan, *, room: Mapping[Scorer, int] | None = None
) -> str:
    """Ask a contender every sample of the suite and keep as a stage what it said, scored where a rule decides.

    ``room`` gives the tokens that an answer may have by what scores it; without it, as many as the client's own may have.
    """
    system = contender.system
    stage = f"evaluate_{system.system}" if suite.kind == "use_case" else f"{system.system}_on_{suite.name}"
    if suite.judged:
        return judged.hear(line, contender, suite, room=(room or {}).get(suite.scorer, plan.max_new_tokens), stage=stage)
    rooms = {sample.id: (room or {}).get(sample.scorer or suite.scorer, plan.max_new_tokens) for sample in suite.samples}

    def work(folder: Path, on_progress: OnProgress) -> SystemResult:
        kept = line.folder("answers") / f"{contender.identity}.jsonl"
        answers: list[Answer] = []
        with contender.reach(folder) as endpoint:
            for tokens in sorted(set(rooms.values())):
                answers += evaluation.collect(
                    endpoint,
                    [contender.prompt(sample) for sample in suite.samples if rooms[sample.id] == tokens],
                    path=kept,
                    max_new_tokens=tokens,
                    on_progress=_after(len(answers), len(rooms), on_progress),
                    # It is on this machine.
                    offline=False,
                )
        return score(line, suite, answers, system=system)

    inputs = {"suite": suite.sha256, "identity": contender.identity, "rooms": rooms, "prompting": system.prompting}
    return line.stage(stage, inputs, work)


def _after(done: int, total: int, on_progress: OnProgress) -> OnProgress:
    return lambda progress: on_progress(progress._replace(done=done + progress.done, total=total))


def score(
    line: Line, suite: Suite, answers: Sequence[Answer], *, system: System, parse: ParseRule | None = None
) -> SystemResult:
    """A system's metrics; refused when too many samples have no answer."""
    scored = evaluation.score(suite, answers, parse=parse)
    result = evaluation.summarise(suite, scored, system=system, answers=answers)
    evaluation.raise_if_incomplete(result, line.config.evaluation.max_errored)
    return result


@Step
def evaluate_candidate(line: Line, data: str, plan: str, artifacts: str) -> str:
    """The shipped artifact, asked through the server that would serve it."""
    shipped, length = line.read(Artifacts, artifacts).shipped, line.read(TrainingPlan, plan)
    suite, system = suite_of(line, data), System("candidate", line.config.base_model, artifact=shipped.format)
    reach = served(shipped, length, context=partial(longest_play, suite, length))
    return put_through(line, Contender(system, shipped.sha256, reach), suite, length)


@Step
def evaluate_adapter(line: Line, data: str, base: str, plan: str, adapter: str) -> str:
    """The adapter before merging and quantization, in this process: what the shipped artifact must not fall behind."""
    model, trained, length = line.read(BaseModel, base), line.read(Adapter, adapter).artifact, line.read(TrainingPlan, plan)
    reach = partial(here, model, trained)
    contender = Contender(System("adapter", model.name, artifact="adapter"), trained.sha256, reach)
    return put_through(line, contender, suite_of(line, data), length)


@Step
def evaluate_base(line: Line, data: str, base: str, plan: str) -> str:
    """The base model as it was found: what the client would have without us."""
    model, length = line.read(BaseModel, base), line.read(TrainingPlan, plan)
    contender = Contender(System("base", model.name, artifact="merged"), model.sha256, partial(here, model, None))
    return put_through(line, contender, suite_of(line, data), length)


@Step
def evaluate_encoder(line: Line, data: str) -> list[str]:
    """TF-IDF and logistic regression on the same rows: a model that costs nothing and must be worth beating.

    None where a judge decides: what it could answer there is another row's text.
    """
    suite = suite_of(line, data)
    if suite.judged:
        return []

    def work(_: Path, __: OnProgress) -> SystemResult:
        answers = evaluation.encoder_answers(line.rows(data).splits.train, suite)
        system = System("encoder", "tf-idf + logistic regression", prompting="none")
        return score(line, suite, answers, system=system)

    return [line.stage("evaluate_encoder", {"suite": suite.sha256, "data": data}, work)]


@Step
def evaluate_champion(line: Line, data: str, plan: str, artifacts: str) -> list[str]:
    """The version in service on the same holdout; none when there is none, or when the candidate is that version."""
    champion, shipped = champion_of(line), line.read(Artifacts, artifacts).shipped
    if champion is None or champion.sha256 == shipped.sha256:
        return []
    length, suite = line.read(TrainingPlan, plan), suite_of(line, data)
    system = System("champion", line.config.base_model, artifact=champion.format)
    reach = served(champion, length, context=partial(longest_play, suite, length))
    result = put_through(line, Contender(system, champion.sha256, reach), suite, length)
    count_look(line, champion, shipped, suite)
    return [result]


@Step
def compare(line: Line, data: str, base: str, systems: list[str]) -> str:
    """Every system beside the candidate: paired tests, intervals, verdicts, slices, mistakes, scores on clean samples."""
    suite = suite_of(line, data)
    ordered = Ordered(suite, judging.rules_of(line.config) if suite.judged else None)
    return compare_on(line, ordered, systems, data=data, base=base)


def compare_on(line: Line, ordered: Ordered, systems: Sequence[str], *, data: str, base: str) -> str:
    """All systems on one suite, as a stage: scored by a rule as they came, or by a judge, now and together.

    Where the judge may claim nothing there are figures and no comparisons.
    """
    suite, rules, gates = ordered.suite, ordered.rules, line.config.evaluation.gates
    inputs = {"systems": systems, "gates": gates.model_dump(mode="json"), "data": data}
    stage = "compare" if suite.kind == "use_case" else f"compare_on_{suite.name}"
    if rules is None:
        return line.stage(stage, inputs, lambda *_: _compared(line, data, suite, [line.read(SystemResult, r) for r in systems]))
    model = line.read(BaseModel, base)
    measured = judged.calibrate(line, suite, rules, model)

    def work(_: Path, on_progress: OnProgress) -> SuiteResult:
        heard = [line.read(Heard, reference) for reference in systems]
        found = judged.judge(line, ordered, heard, measured=line.read(Measured, measured), base=model, on_progress=on_progress)
        whole = replace(_compared(line, data, suite, found.results, duels=found.duels), judging=found.judging)
        if not found.judging.withheld:
            return whole
        slices = tuple(replace(part, difference=None, q_value=None) for part in whole.slices)
        return replace(whole, comparisons=(), slices=slices)

    judge = {"judge": [measured, *judged.identity(line, model)], "max_errored": line.config.evaluation.max_errored}
    return line.stage(stage, inputs | judge, work)


def _compared(
    line: Line, data: str, suite: Suite, results: Sequence[SystemResult], *, duels: evaluation.Duels | None = None
) -> SuiteResult:
    """All systems on one suite, with what the training rows know of its samples."""
    held = dataset.held_by_rows(evaluation.asked_texts(suite), line.rows(data).splits.train)
    known = {suite.samples[place].id for place in held}
    return replace(
        evaluation.compare(suite, results, gates=line.config.evaluation.gates, duels=duels),
        analysis=evaluation.analyse(suite, results),
        clean=evaluation.clean_scores(suite, results, known),
    )
