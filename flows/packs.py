"""What is done with a client's baseline packs outside a delivery: record, import, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from delivery import evaluation
from delivery.artifacts import BaselinePack, OnProgress, no_progress
from delivery.client_config import load_client
from delivery.settings import Workspace
from flows import baseline, live, steps
from flows.environment import prepare
from flows.line import Line


def _line(workspace: Workspace, client: str, on_progress: OnProgress = no_progress) -> tuple[Line, str]:
    prepare(workspace)
    line = Line(workspace, load_client(workspace.clients, client), on_progress=on_progress)
    return line, steps.load_data.on(line)


def record_baseline(workspace: Workspace, client: str, *, on_progress: OnProgress = no_progress) -> dict[str, Any]:
    """Ask the live model every row of the holdout with every prompt of ``client.yaml``, and freeze what it answers.

    Raises:
        ConfigError: no key, no price, a model that is not served, or a budget that is reached.
        EvalIncompleteError: too many rows have no answer.
    """
    line, data = _line(workspace, client, on_progress)
    held = baseline.holdout_of(line, data)
    model = live.live_model(line, held)
    found = live.record(line, held, line.rows(data).splits.train, live=model, on_progress=on_progress)
    spending = model.budget.spending
    return {
        "packs": [pack.name for pack in found.packs],
        "chosen": found.packs[0].name,
        "validation": {"n": found.contest.n, "values": found.contest.values},
        "missing": found.missing,
        "spent_usd": f"{spending.total.normalize():f}",
        "of_it_without_an_answer_usd": f"{spending.reserved.normalize():f}",
        "budget_usd": f"{model.budget.limit_usd:f}",
        "notice": live.sale_notice(line.config.baseline.model, live.day_of(line)),
    }


def import_baseline(workspace: Workspace, client: str, source: Path, *, spec: evaluation.PackSpec) -> BaselinePack:
    """Freeze recorded answers as a pack of the client.

    Raises:
        ConfigError: the specification is wrong, or the pack is there already.
        ClientDataError: a line of the file is wrong, or too many answers are missing.
    """
    line, data = _line(workspace, client)
    held = baseline.holdout_of(line, data)
    return evaluation.import_pack(
        line.config.folder,
        source,
        spec=spec,
        suite=held.test,
        validation=held.validation,
        max_errored=line.config.evaluation.max_errored,
    )


def verify_baselines(workspace: Workspace, client: str) -> list[dict[str, Any]]:
    """Check each pack's hash and inputs; count the samples of the holdout that it answers and lacks."""
    line, data = _line(workspace, client)
    held = baseline.holdout_of(line, data)
    found = []
    for pack in baseline.packs_of(line.config):
        coverage = evaluation.verify_pack(pack, held.test)
        validated = sum(s.id in pack.outputs for s in held.validation.samples) if held.validation else 0
        found.append(
            {
                "name": pack.name,
                "model": pack.model,
                "recorded": coverage.recorded,
                "missing": coverage.missing,
                "validation": validated,
                "notice": live.sale_notice(pack.model, live.day_of(line)),
            }
        )
    return found
