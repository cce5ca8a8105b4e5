"""The stages of a delivery as tasks: each fetches what its stage needs, calls the stage, and returns a reference.

In the flow a stage is called with the delivery's id. ``stage.on(line, ...)`` runs its body without Prefect, for what can be
said before a delivery (``delivery plan``, ``delivery data check``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from prefect import task

from delivery import costs, dataset, evaluation, quantization, report, serving, training, weights
from delivery.artifacts import (
    Adapter,
    BaseModel,
    CostEstimate,
    DataReport,
    DataVersion,
    Decision,
    Intake,
    LabeledDataset,
    OnProgress,
    SuiteResult,
    TrainingPlan,
    no_progress,
    sha256_file,
    sha256_json,
    verify_artifact,
)
from delivery.errors import ClientDataError, DoesNotFit, RetryableError
from delivery.settings import get_settings
from flows import pools
from flows.beginnings import adapter_of, beginning_of, form_of, lineage
from flows.line import Line
from flows.ordered import further_suites
from flows.results import Artifacts, Load, Registered, Written, plan_of
from flows.summary import summarise
from flows.versions import look_of, registry_of, training_run

P = ParamSpec("P")
R = TypeVar("R")

LOADS = (1, 8)
"""Concurrencies at which the shipped artifact's server is measured; capacity is taken at the last one."""


def _may_pass(_task: object, _run: object, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), RetryableError)


class Step(Generic[P, R]):
    """A stage's body as a Prefect task, retried only where the error says that it may pass."""

    def __init__(self, body: Callable[Concatenate[Line, P], R]) -> None:
        self.on = body

        @wraps(body)
        def in_delivery(delivery_id: str, *args: Any, **references: Any) -> R:
            return body(Line.of_delivery(delivery_id), *args, **references)

        self._task = task(
            name=body.__name__, retries=2, retry_delay_seconds=5, retry_condition_fn=_may_pass, persist_result=False
        )(in_delivery)

    def __call__(self, delivery_id: str, *args: P.args, **references: P.kwargs) -> R:
        """Run it as a task of the delivery."""
        result: R = self._task(delivery_id, *args, **references)
        return result


@Step
def fetch_base_model(line: Line) -> str:
    """The open model that the client's starts from, on this machine."""

    def work(_: Path, on_progress: OnProgress) -> BaseModel:
        return weights.resolve(
            line.config.base_model, client_folder=line.config.folder, cache=get_settings().cache, on_progress=on_progress
        )

    # The cache is the user's and may have been emptied since: the files are looked at every time.
    return line.stage("fetch_base_model", {"name": line.config.base_model}, work, always=True)


@Step
def load_data(line: Line) -> str:
    """The client's rows, read one by one, redacted, and divided into sides, as a version that never changes."""
    config, store = line.config, line.row_store
    inputs = {
        "files": [dataset.source_sha256(path) for path in config.data_paths()],
        "use_case": config.use_case.model_dump(mode="json", by_alias=True),
        "splits": config.data.splits.model_dump(mode="json"),
        "pii": [config.data.pii, config.data.identifiers],
        "decided": store.deciding(),
    }

    def work(_: Path, __: OnProgress) -> DataVersion:
        return store_rows(line, dataset.load(config.data_paths(), use_case=config.use_case))

    version = line.read(DataVersion, line.stage("load_data", inputs, work))
    if line.recorder is not None:
        # What is only looked at binds nobody; what is trained on and tested with does, for ever.
        store.decide(version, config.data.splits)
    return f"rows/{version.id}"


def store_rows(line: Line, loaded: LabeledDataset) -> DataVersion:
    """Redact rows, divide them, and store them as a version."""
    guarded = guard_rows(line, loaded)
    splits = dataset.split(guarded.dataset, line.config.data.splits, decided=line.row_store.decided())
    return line.row_store.commit(guarded.dataset, splits, guarded.intake)


def guard_rows(line: Line, loaded: LabeledDataset) -> dataset.Guarded:
    """Rows without the identifiers and secrets that the client wants out of them; the vault keeps what they were."""
    data, client = line.config.data, line.config.client
    key = dataset.client_key(line.workspace.client_key(client))
    redactor = dataset.Redactor(key, data.identifiers)
    guarded = dataset.guard(loaded, mode=data.pii, redactor=redactor, use_case=line.config.use_case)
    if guarded.values:
        dataset.Vault(line.workspace.vault(client)).keep(guarded.values, key)
    return guarded


@Step
def check_data(line: Line, data: str, base: str) -> str:
    """Findings about the data; a delivery stops where the client has to act first."""
    model = line.read(BaseModel, base)

    def work(_: Path, on_progress: OnProgress) -> DataReport:
        intake = line.row_store.version(data.removeprefix("rows/")).intake
        return examine(line, line.rows(data), base=model, intake=intake, on_progress=on_progress)

    inputs = {"data": data, "base": model.sha256, "suites": sha256_json(_samples_of_suites(line))}
    reference = line.stage("check_data", inputs, work)
    findings = line.read(DataReport, reference)
    if line.recorder is not None:
        line.recorder.repository.record_dataset(findings)
        refuse_unusable(findings, line.config.client)
    return reference


def examine(
    line: Line, rows: dataset.StoredRows, *, base: BaseModel, intake: Intake, on_progress: OnProgress = no_progress
) -> DataReport:
    """All checks of divided rows."""
    lengths = dataset.Lengths(weights.token_counter(base), base.context_length)
    context = dataset.Context(use_case=line.config.use_case, lengths=lengths, suites=_samples_of_suites(line), intake=intake)
    return dataset.check(rows.dataset, rows.splits, context, on_progress=on_progress)


def _samples_of_suites(line: Line) -> dict[str, tuple[str, ...]]:
    """The texts of those suites, which training rows must not know."""
    return {one.suite.name: evaluation.asked_texts(one.suite) for one in further_suites(line)}


def refuse_unusable(findings: DataReport, client: str) -> None:
    """Raise ClientDataError where the client has to act first."""
    for check in findings.checks:
        if check.status == "refuse":
            raise ClientDataError(f"{client}: {check.name}: {check.detail} {check.remedy}".rstrip())


@Step
def plan_training(line: Line, data: str, base: str) -> str:
    """Everything that decides the weights, fixed before training starts."""
    model = line.read(BaseModel, base)
    begins = beginning_of(line, data, model)
    start = begins.adapter.sha256 if begins.adapter is not None else ""

    def work(_: Path, __: OnProgress) -> TrainingPlan:
        stats, machine = training.count_tokens(model, line.rows(data).splits), training.measure_machine()
        # No part of the key, as little as the machine's speed: unchanged rows are not trained on again because a
        # prediction would be better now.
        history = pools.past_runs(line.workspace)

        def planned(*, started: bool) -> TrainingPlan:
            wish = line.config.training
            try:
                plan = training.make_plan(wish, base=model, stats=stats, machine=machine, started=started, history=history)
            except DoesNotFit as error:
                found = pools.offers(line.workspace, line.config, base=model, stats=stats, here=machine)
                raise pools.with_pools(error, found) from error
            return training.spread(plan, processes, base=model, sharded=get_settings().sharded)

        if start and form_of(warm := planned(started=True)) == begins.form:
            return training.from_start(warm, start, begins.why)
        other = "A fresh adapter: the one in service has another rank, alpha or other target layers."
        return training.from_start(planned(started=False), "", other if start else begins.why)

    processes = get_settings().processes * get_settings().nodes
    inputs: dict[str, Any] = {"data": data, "base": model.sha256, "training": line.config.training.model_dump(mode="json")}
    inputs |= {"start": start}
    if processes > 1:
        inputs |= {"processes": processes, "sharded": get_settings().sharded}
    return line.stage("plan_training", inputs, work)


@Step
def sweep(line: Line, data: str, base: str, plan: str) -> str:
    """The plan with the best combination of a sweep; the plan as it is where none was ordered."""
    model, planned = line.read(BaseModel, base), line.read(TrainingPlan, plan)
    if not planned.sweep:
        return plan

    def work(folder: Path, on_progress: OnProgress) -> TrainingPlan:
        splits = line.rows(data).splits
        return training.sweep(planned, base=model, splits=splits, workdir=folder, on_progress=on_progress)

    return line.stage("sweep", {"data": data, "base": model.sha256, "plan": plan}, work)


@Step
def train(line: Line, data: str, base: str, plan: str) -> str:
    """The adapter, trained in a process of its own."""
    model = line.read(BaseModel, base)

    def work(folder: Path, on_progress: OnProgress) -> Adapter:
        chosen = line.read(TrainingPlan, plan)
        return training.train(
            chosen,
            base=model,
            splits=line.rows(data).splits,
            workdir=folder,
            on_progress=on_progress,
            start=adapter_of(line, chosen.start) if chosen.start else None,
        )

    return line.stage("train", {"data": data, "base": model.sha256, "plan": plan}, work)


@Step
def quantize(line: Line, base: str, adapter: str) -> str:
    """Every format that was ordered, each with size and hash; one of them ships."""
    config, model = line.config, line.read(BaseModel, base)
    trained = line.read(Adapter, adapter).artifact

    def work(folder: Path, on_progress: OnProgress) -> Artifacts:
        made = quantization.quantize(config.artifacts, base=model, adapter=trained, out=folder, on_progress=on_progress)
        return Artifacts(made, next(artifact for artifact in made if artifact.format == config.ship))

    inputs = {"adapter": trained.sha256, "base": model.sha256, "formats": list(config.artifacts), "ship": config.ship}
    return line.stage("quantize", inputs, work)


@Step
def measure_load(line: Line, data: str, plan: str, artifacts: str) -> str:
    """Latency and capacity of the shipped artifact's server on the client's own prompts."""
    shipped = line.read(Artifacts, artifacts).shipped
    rows, length = line.rows(data).splits, line.read(TrainingPlan, plan)

    def work(folder: Path, on_progress: OnProgress) -> Load:
        prompts = [example.messages for example in (*rows.validation, *rows.test)][:32]
        with serving.serve(
            shipped, slots=max(LOADS), context_per_slot=length.max_length + length.max_new_tokens, log=folder / "server.log"
        ) as server:
            return Load(
                tuple(
                    serving.measure_load(
                        server,
                        prompts[: max(8, 4 * concurrency)],
                        concurrency=concurrency,
                        max_new_tokens=length.max_new_tokens,
                        on_progress=on_progress,
                    )
                    for concurrency in LOADS
                )
            )

    return line.stage("measure_load", {"shipped": shipped.sha256, "data": data, "loads": list(LOADS)}, work)


@Step
def estimate_cost(line: Line, evidence: str, load: str) -> str:
    """What a request costs on the client's hardware, and what the same tokens cost at an API."""
    book = costs.load_price_book()
    today = line.delivery.day

    def work(_: Path, __: OnProgress) -> CostEstimate:
        candidate = line.read(SuiteResult, evidence).system("candidate")
        if candidate is None:
            raise RuntimeError("the candidate was not evaluated")
        # A turn of a dialogue is a request of its own.
        asked = candidate.requests or candidate.n_scored
        return costs.estimate(
            line.config.cost,
            book=book,
            load=line.read(Load, load).latency[-1],
            tokens=costs.Tokens(candidate.prompt_tokens / asked, candidate.completion_tokens / asked),
            baseline_model=line.config.baseline.model,
            today=today,
        )

    inputs = {
        "evidence": evidence,
        "load": load,
        "cost": line.config.cost.model_dump(mode="json"),
        "book": sha256_json(book.model_dump(mode="json")),
        "baseline": line.config.baseline.model,
        "today": today.isoformat(),
    }
    return line.stage("estimate_cost", inputs, work)


@Step
def decide(line: Line, checked: str, evidence: list[str]) -> str:
    """Whether the candidate may go into service, gate by gate."""
    look = look_of(line)

    def work(_: Path, __: OnProgress) -> Decision:
        suites = [line.read(SuiteResult, reference) for reference in evidence]
        for suite in suites:
            line.delivery.repository.record_results(line.delivery.delivery_id, suite)
        return evaluation.decide(line.config, suites, line.read(DataReport, checked), look=look)

    return line.stage("decide", {"evidence": evidence, "checked": checked, "look": look}, work)


@Step
def register(line: Line, data: str, base: str, artifacts: str, decision: str) -> str:
    """The candidate as a new version of the client's model, with where it comes from; its alias is challenger."""
    made, decided = line.read(Artifacts, artifacts), line.read(Decision, decision)
    fingerprint = line.rows(data).dataset.fingerprint
    model, delivery = line.read(BaseModel, base), line.delivery

    def work(_: Path, __: OnProgress) -> Registered:
        for artifact in made.made:
            verify_artifact(artifact)
        # What is served and what it was made from; the other formats can be made again from the adapter.
        kept = [artifact for artifact in made.made if artifact.format in ("adapter", made.shipped.format)]
        models = registry_of(line.workspace)
        trained = line.read(Adapter, line.finished("train")).record
        plan = line.read(TrainingPlan, line.finished("plan_training"))
        models.log_training(line.config.client, delivery.delivery_id, training_run(plan, trained, base=model))
        version = models.register(
            line.config.client,
            kept,
            shipped=made.shipped,
            delivery_id=delivery.delivery_id,
            tags={
                "fingerprint": fingerprint,
                "data_version": data.removeprefix("rows/"),
                "base_model": model.name,
                "base_sha256": model.sha256,
                "report": str(line.workspace.reports(line.config.client, delivery.delivery_id)),
                **lineage(plan_of(line)),
            },
        )
        delivery.repository.record_version(
            version.number, delivery_id=delivery.delivery_id, fingerprint=fingerprint, shipped=made.shipped, decision=decided
        )
        return Registered(version.number)

    return line.stage("register", {"artifacts": artifacts, "decision": decision, "data": data}, work)


@Step
def write_report(line: Line, version: str, further: list[str], rounds: str) -> str:
    """Everything that this delivery found, as HTML for people, JSON for machines and CSV of every sample."""
    delivery = line.delivery
    folder = line.workspace.reports(line.config.client, delivery.delivery_id)

    def work(_: Path, __: OnProgress) -> Written:
        written = sha256_file(report.write(summarise(line, further), folder).json)
        delivery.repository.record_report(delivery.delivery_id, folder=folder, sha256=written)
        return Written(str(folder), written)

    return line.stage(
        "write_report", {"delivery": delivery.delivery_id, "version": version, "further": further, "rounds": rounds}, work
    )


def decision_of(delivery_id: str) -> Decision:
    """What a delivery that reached its end decided."""
    line = Line.of_delivery(delivery_id)
    return line.read(Decision, line.finished("decide"))
