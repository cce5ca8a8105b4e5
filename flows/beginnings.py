"""Where a training run begins: at the adapter of the version in service, or at a fresh one, and why."""

from __future__ import annotations

import json
from typing import NamedTuple

from delivery.artifacts import Artifact, BaseModel, TrainingPlan
from delivery.errors import ConfigError, DeliveryError
from delivery.registry import ModelVersion
from flows.line import Line, store_of
from flows.versions import registry_of

STARTED_FROM = "started_from"
FORM = "adapter_form"


class Beginning(NamedTuple):
    """The adapter to start from, None for a fresh one, its form, and a sentence on why."""

    adapter: Artifact | None
    form: str
    why: str


def form_of(plan: TrainingPlan) -> str:
    """What two adapters must share for one to go on from the other."""
    return json.dumps([plan.rank, plan.alpha, plan.rslora, sorted(plan.targets)])


def beginning_of(line: Line, data: str, base: BaseModel) -> Beginning:
    """The champion's adapter where training may go on from it.

    It may where every row that it was trained on is a training row now. So nothing that is held out today, or stands beside a
    row that is, was ever trained on, and a row that the client took back is not known to the next model either. On the very
    rows that the champion was trained on, training begins where the champion's began: it is the same training, done already.
    """
    training, client = line.config.training, line.config.client
    if training.warm_start == "never":
        return _fresh("as client.yaml asks")
    if training.sweep is not None:
        return _fresh("the runs of a sweep begin alike")
    champion = registry_of(line.workspace).champion(client) if _was_registered(line) else None
    if champion is None:
        return _fresh("no version is in service")
    version = f"version {champion.number}"
    if champion.tags.get("base_sha256") != base.sha256:
        return _fresh(f"{version} in service has another base model")
    if champion.tags.get("data_version") == data.removeprefix("rows/"):
        begun = champion.tags.get(STARTED_FROM, "")
        if not begun:
            return _fresh(f"{version} in service, made from these very rows, began with one")
        return Beginning(
            adapter_of(line, begun),
            champion.tags.get(FORM, ""),
            f"Begins where {version} in service, made from these rows, began.",
        )
    why_not = _unfit(line, champion, data)
    if why_not:
        return _fresh(f"{version} in service {why_not}")
    return Beginning(
        champion.artifact("adapter"),
        champion.tags[FORM],
        f"Begins with the adapter of {version} in service: all rows that it learned are training rows now.",
    )


def adapter_of(line: Line, sha256: str) -> Artifact:
    """The registered adapter with this hash.

    Raises:
        ConfigError: no version of the client has it any more.
    """
    for version in registry_of(line.workspace).versions(line.config.client):
        for artifact in version.artifacts:
            if artifact.format == "adapter" and artifact.sha256 == sha256:
                return artifact
    raise ConfigError(
        f"{line.config.client}: the adapter {sha256[:12]} that training starts from is no longer registered; "
        "set training.warm_start: never and run again"
    )


def lineage(plan: TrainingPlan) -> dict[str, str]:
    """What a registered version says about its adapter, for the run that may go on from it."""
    return {FORM: form_of(plan)} | ({STARTED_FROM: plan.start} if plan.start else {})


def _was_registered(line: Line) -> bool:
    """Whether our own store knows of any version: opening the registry takes seconds."""
    return store_of(line.workspace).client(line.config.client).version(1) is not None


def _fresh(why: str) -> Beginning:
    return Beginning(None, "", f"A fresh adapter: {why}.")


def _unfit(line: Line, champion: ModelVersion, data: str) -> str:
    """Why training may not go on from the champion; empty where it may."""
    if FORM not in champion.tags or all(artifact.format != "adapter" for artifact in champion.artifacts):
        return "does not say how its adapter was made"
    try:
        learned = line.row_store.read(champion.tags.get("data_version", "")).splits.train
    except DeliveryError:
        return "was made from rows that are no longer known"
    now = {row.input_key for row in line.rows(data).splits.train}
    gone = sum(row.input_key not in now for row in learned)
    if gone:
        return f"learned {gone} rows that are not training rows now"
    return ""
