"""The evaluation tasks: each puts one system through the client's holdout.

Answers are appended to one file per system's weights as they arrive, so a killed evaluation goes on where it was, and a
champion is not asked again what it answered as a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from delivery import dataset, evaluation, serving
from delivery.artifacts import (
    Adapter,
    Answer,
    Artifact,
    BaseModel,
    OnProgress,
    Sample,
    Scorer,
    Suite,
    SuiteResult,
    SystemResult,
    TrainingPlan,
)
from delivery.client_config import ParseRule
from delivery.errors import ConfigError
from delivery.evaluation import Endpoint, Request, System
from flows.line import Line
from flows.results import Artifacts
from flows.steps import Step
from flows.versions import champion_of, count_look

SLOTS = 8
"""Requests that a server answers at once during evaluation."""


@dataclass(frozen=True)
class Contender:
    """A system that has to be asked: who it is, how to reach it, and what it is sent for a sample."""

    system: System
    identity: str
    reach: Callable[[Path], AbstractContextManager[Endpoint]]
    prompt: Callable[[Sample], Request] = evaluation.zero_shot


def suite_of(line: Line, data: str) -> Suite:
    """The client's holdout as a suite.

    Raises:
        ConfigError: only a judge could score it.
        ClientDataError: a row has no answer of the use case's form; names file and line.
    """
    config = line.config
    if config.use_case.type in evaluation.JUDGED:
        raise ConfigError(
            f"{config.folder / 'client.yaml'}: use_case.type: a delivery cannot score {config.use_case.type} yet; state the "
            "task as classification, extraction or qa, and order a judged suite beside it in evaluation.suites"
        )
    return evaluation.use_case_suite(config, line.rows(data).splits.test)


def served(
    artifact: Artifact, plan: TrainingPlan, *, shots: int = 0, context: Callable[[], int] = lambda: 0
) -> Callable[[Path], AbstractContextManager[Endpoint]]:
    """The artifact behind the server that would serve it, asked through the official client.

    A request has room for the client's own rows with ``shots`` of them in the prompt, and for what ``context`` counts at least.
    """

    @contextmanager
    def reach(folder: Path) -> Iterator[Endpoint]:
        room = max(context(), plan.max_length + plan.max_new_tokens + shots * plan.stats.longest)
        with serving.serve(artifact, slots=SLOTS, context_per_slot=room, log=folder / "server.log") as server:
            yield evaluation.http_endpoint(
                server.base_url, model=server.model, name=artifact.sha256, concurrency=SLOTS, api_key="local"
            )

    return reach


def here(model: BaseModel, adapter: Artifact | None, _: Path) -> AbstractContextManager[Endpoint]:
    """The base, or the adapter on it, answering in this process."""
    return nullcontext(evaluation.local_endpoint(model, adapter=adapter))


def put_through(
    line: Line, contender: Contender, suite: Suite, plan: TrainingPlan, *, room: Mapping[Scorer, int] | None = None
) -> str:
    """Ask a contender every sample of the suite, score what it said, and keep the result as a stage.

    ``room`` gives the tokens that an answer may have by what scores it; without it, as many as the client's own may have.
    """
    system = contender.system
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
    own = suite.kind == "use_case"
    return line.stage(f"evaluate_{system.system}" if own else f"{system.system}_on_{suite.name}", inputs, work)


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
    system = System("candidate", line.config.base_model, artifact=shipped.format)
    return put_through(line, Contender(system, shipped.sha256, served(shipped, length)), suite_of(line, data), length)


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
def evaluate_encoder(line: Line, data: str) -> str:
    """TF-IDF and logistic regression on the same rows: a model that costs nothing and must be worth beating."""
    suite = suite_of(line, data)

    def work(_: Path, __: OnProgress) -> SystemResult:
        answers = evaluation.encoder_answers(line.rows(data).splits.train, suite)
        system = System("encoder", "tf-idf + logistic regression", prompting="none")
        return score(line, suite, answers, system=system)

    return line.stage("evaluate_encoder", {"suite": suite.sha256, "data": data}, work)


@Step
def evaluate_champion(line: Line, data: str, plan: str, artifacts: str) -> list[str]:
    """The version in service on the same holdout; none when there is none, or when the candidate is that version."""
    champion, shipped = champion_of(line), line.read(Artifacts, artifacts).shipped
    if champion is None or champion.sha256 == shipped.sha256:
        return []
    length, suite = line.read(TrainingPlan, plan), suite_of(line, data)
    system = System("champion", line.config.base_model, artifact=champion.format)
    result = put_through(line, Contender(system, champion.sha256, served(champion, length)), suite, length)
    count_look(line, champion, shipped, suite)
    return [result]


@Step
def compare(line: Line, data: str, systems: list[str]) -> str:
    """Every system beside the candidate: paired tests, intervals, verdicts, slices, mistakes, scores on clean samples."""
    gates, suite = line.config.evaluation.gates, suite_of(line, data)

    def work(_: Path, __: OnProgress) -> SuiteResult:
        results = [line.read(SystemResult, reference) for reference in systems]
        return compared(line, data, suite, results)

    return line.stage("compare", {"systems": systems, "gates": gates.model_dump(mode="json"), "data": data}, work)


def compared(line: Line, data: str, suite: Suite, results: Sequence[SystemResult]) -> SuiteResult:
    """All systems on one suite, with what the training rows know of its samples."""
    held = dataset.held_by_rows(evaluation.asked_texts(suite), line.rows(data).splits.train)
    known = {suite.samples[place].id for place in held}
    return replace(
        evaluation.compare(suite, results, gates=line.config.evaluation.gates),
        analysis=evaluation.analyse(suite, results),
        clean=evaluation.clean_scores(suite, results, known),
    )
