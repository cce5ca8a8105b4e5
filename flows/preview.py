"""What can be said before a delivery: findings about data, and the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from delivery import costs, dataset, training
from delivery.artifacts import (
    BaseModel,
    Check,
    DataReport,
    LabeledDataset,
    Machine,
    OnProgress,
    TrainingPlan,
    no_progress,
)
from delivery.client_config import ClientConfig, SplitRule, list_clients, load_client
from delivery.errors import ClientDataError, ConfigError, DoesNotFit
from delivery.settings import Workspace, find_workspace
from flows import baseline, judged, pools, steps
from flows.environment import prepare
from flows.line import Line
from flows.power import discordance_seen, guards, power, with_power


def check_data(path_or_client: str, *, on_progress: OnProgress = no_progress) -> DataReport:
    """Findings about a client's data, or about a file as it is. Rows that cannot be read are among the findings."""
    workspace = _workspace_with(path_or_client)
    if workspace is None:
        return _check_file(path_or_client, on_progress)
    prepare(workspace)
    line = Line(workspace, load_client(workspace.clients, path_or_client), on_progress=on_progress)
    base = steps.fetch_base_model.on(line)
    try:
        report = line.read(DataReport, steps.check_data.on(line, steps.load_data.on(line), base))
        return with_power(line, report, seen=discordance_seen(line))
    except dataset.RowProblems:
        reading = dataset.read(line.config.data_paths(), use_case=line.config.use_case)

    def examine(readable: LabeledDataset) -> DataReport:
        guarded = steps.guard_rows(line, readable)
        rows = dataset.StoredRows(
            guarded.dataset, dataset.split(guarded.dataset, line.config.data.splits, decided=line.row_store.decided())
        )
        report = steps.examine(line, rows, base=line.read(BaseModel, base), intake=guarded.intake, on_progress=on_progress)
        return with_power(line, report, seen=discordance_seen(line))

    return _with_problems(reading, examine)


def write_review(path_or_client: str, report: DataReport, out: Path) -> None:
    """Write the suspect labels of a report as a CSV for the people who know the labels."""
    workspace = _workspace_with(path_or_client)
    config = load_client(workspace.clients, path_or_client) if workspace is not None else None
    paths, use_case = (config.data_paths(), config.use_case) if config is not None else ([path_or_client], None)
    dataset.write_review(report.profile.suspects, dataset.read(paths, use_case=use_case).dataset.examples, out)


def _check_file(path: str, on_progress: OnProgress) -> DataReport:
    def examine(readable: LabeledDataset) -> DataReport:
        guarded = dataset.guard(readable, mode="allow")
        splits = dataset.split(readable, SplitRule())
        return dataset.check(readable, splits, dataset.Context(intake=guarded.intake), on_progress=on_progress)

    return _with_problems(dataset.read([path]), examine)


def _with_problems(reading: dataset.Reading, examine: Callable[[LabeledDataset], DataReport]) -> DataReport:
    """What the readable rows show, with the others as the finding of ``schema``."""
    if not reading.total:
        return examine(reading.dataset)
    detail = f"{reading.total} rows cannot be read, first {reading.problems[0]}"
    remedy = "correct these rows; the other findings are about the rows that can be read"
    broken = Check("schema", "refuse", reading.total, detail, remedy, reading.problems)
    try:
        report = examine(reading.dataset)
    except ClientDataError:
        # Too few rows are left to say more.
        rows = reading.dataset
        return DataReport(len(rows.examples), rows.format, rows.fingerprint, {}, (broken,))
    return replace(report, checks=tuple(broken if check.name == "schema" else check for check in report.checks))


def _workspace_with(name: str) -> Workspace | None:
    try:
        workspace = find_workspace()
    except ConfigError:
        if Path(name).exists():
            return None
        raise
    if name in list_clients(workspace.clients) or not Path(name).exists():
        return workspace
    return None


def preview(workspace: Workspace, config: ClientConfig, *, pool: str = costs.LOCAL) -> dict[str, Any]:
    """Recipe, memory, time, money, pools and detectable difference of a delivery that was not started.

    Raises:
        ConfigError: there is no such pool.
        DoesNotFit: the training does not fit there; says what would.
    """
    described = None if pool in pools.THIS_MACHINE else pools.pool_of(pool, workspace)
    line = Line(workspace, config)
    base = steps.fetch_base_model.on(line)
    data = steps.load_data.on(line)
    report = line.read(DataReport, steps.check_data.on(line, data, base))
    steps.refuse_unusable(report, config.client)
    baseline.check_baseline.on(line, data)
    judged.check_judge.on(line)
    model = line.read(BaseModel, base)
    if described is None:
        planned = line.read(TrainingPlan, steps.plan_training.on(line, data, base))
        here: TrainingPlan | Machine = planned
        stats = planned.stats
    else:
        here, stats = training.measure_machine(), training.count_tokens(model, line.rows(data).splits)
    found = pools.offers(workspace, config, base=model, stats=stats, here=here)
    chosen = found[0] if described is None else next(offer for offer in found if offer.pool == pool)
    if chosen.plan is None:
        raise pools.with_pools(DoesNotFit(f"--pool {pool}: {chosen.why_not}"), found)
    cheapest = pools.cheapest(found)
    return {
        "client": config.client,
        "data": {"rows": report.rows, "splits": report.splits, "fingerprint": report.fingerprint},
        "base_model": asdict(model),
        "training": asdict(chosen.plan),
        "machine_memory_bytes": chosen.memory_bytes,
        "predicted_seconds": chosen.plan.all_seconds,
        "predicted_usd": str(chosen.usd),
        "hardware": config.cost.hardware if described is None else pool,
        "pool": chosen.pool,
        "pools": [_shown(offer) for offer in found],
        "cheapest": None if cheapest is None else cheapest.pool,
        "power": asdict(power(line, report.splits["test"], seen=discordance_seen(line))),
        "guards": [asdict(check) for check in guards(line, report.splits["test"])],
    }


def _shown(offer: pools.Offer) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "pool": offer.pool,
        "device": offer.device,
        "devices": offer.devices,
        "memory_bytes": offer.memory_bytes,
        "hourly_usd": str(offer.hourly_usd),
        "preemptible": offer.preemptible,
        "fits": offer.plan is not None,
        "why_not": offer.why_not,
    }
    if offer.plan is None:
        return shown
    return shown | {
        "method": offer.plan.method,
        "steps": offer.plan.steps,
        "micro_batch_tokens": offer.plan.micro_batch_tokens,
        "accumulation": offer.accumulation,
        "predicted_peak_bytes": offer.plan.predicted_peak_bytes,
        "predicted_seconds": offer.plan.all_seconds,
        "predicted_usd": str(offer.usd),
    }
