"""Which version of a client's model is in service: the registry's aliases beside what the store knows of the decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from delivery import registry
from delivery.artifacts import Artifact, BaseModel, Suite, TrainingPlan, TrainingRecord, sha256_json
from delivery.client_config import load_client
from delivery.errors import ConfigError, GateNotPassed
from delivery.settings import Workspace, find_workspace
from flows.environment import prepare
from flows.line import Line, store_of

if TYPE_CHECKING:
    from delivery.registry import ModelRegistry


_LOGGED = (
    "method",
    "rank",
    "alpha",
    "learning_rate",
    "epochs",
    "batch_size",
    "micro_batch_tokens",
    "steps",
    "precision",
    "seed",
)
"""What of a plan the registry keeps as parameters of the training run."""


def registry_of(workspace: Workspace) -> ModelRegistry:
    """The registry of a workspace."""
    prepare(workspace)
    return registry.open_registry(workspace.mlflow_tracking_uri, artifact_root=workspace.artifacts / "mlflow")


def training_run(plan: TrainingPlan, record: TrainingRecord, *, base: BaseModel) -> registry.TrainingRun:
    """What the registry keeps of a training run: its recipe, its losses, and what it took beside what was planned."""
    params = {key: str(getattr(plan, key)) for key in _LOGGED}
    figures = {
        "seconds": record.wall_seconds,
        "predicted_seconds": plan.predicted_seconds,
        "peak_memory_bytes": record.peak_memory_bytes,
        "predicted_peak_bytes": plan.predicted_peak_bytes,
        "tokens": record.tokens,
        "supervised_tokens": record.supervised_tokens,
        "tokens_per_second": record.tokens_per_second,
        "effective_training_time": record.effective_training_time,
        "matrix_rate_share": record.matrix_rate_share,
    }
    return registry.TrainingRun(
        params={**params, "base_model": base.name, "base_sha256": base.sha256, "device": record.device},
        curves={
            "loss": tuple((point.step, point.loss) for point in record.losses),
            "validation_loss": tuple((p.step, p.validation) for p in record.losses if p.validation is not None),
        },
        figures={name: float(value) for name, value in figures.items()},
    )


def champion_of(line: Line) -> Artifact | None:
    """The shipped artifact of the version in service, or None."""
    champion = registry_of(line.workspace).champion(line.config.client)
    return champion.shipped if champion is not None else None


def count_look(line: Line, champion: Artifact, candidate: Artifact, suite: Suite) -> None:
    """Enter this delivery as a test of the champion; the same candidate on the same samples is no further one."""
    line.delivery.repository.record_look(
        line.delivery.delivery_id,
        champion_sha256=champion.sha256,
        test_sha256=sha256_json({"candidate": candidate.sha256, "suite": suite.sha256}),
    )


def look_of(line: Line) -> int:
    """Which test of its champion this delivery is, counted from 1."""
    return line.delivery.repository.look(line.delivery.delivery_id) or 1


def versions(client: str) -> list[dict[str, Any]]:
    """A client's versions, newest first."""
    workspace = find_workspace()
    load_client(workspace.clients, client)
    repository = store_of(workspace).client(client)
    found = []
    for version in sorted(registry_of(workspace).versions(client), key=lambda v: v.number, reverse=True):
        known = repository.version(version.number)
        decision = "unknown" if known is None else "ready" if known.promote else f"not ready: {known.why_not}"
        found.append(
            {
                "number": version.number,
                "aliases": list(version.aliases),
                "delivery": version.delivery_id,
                "created_at": version.created_at,
                "shipped": version.shipped.format,
                "sha256": version.shipped.sha256,
                "fingerprint": version.tags.get("fingerprint"),
                "decision": decision,
            }
        )
    return found


def promote(client: str, number: int, *, override: str | None) -> int | None:
    """Put a version into service; returns the champion before it.

    Raises:
        ConfigError: no such version.
        GateNotPassed: its gates were not passed and no reason overrides them.
    """
    workspace = find_workspace()
    load_client(workspace.clients, client)
    models = registry_of(workspace)
    repository = store_of(workspace).client(client)
    known = repository.version(number)
    if override is not None and not override.strip():
        raise ConfigError("--override: give the reason in words")
    if (known is None or not known.promote) and override is None:
        why = known.why_not if known is not None else "nothing is known about its gates"
        if not any(version.number == number for version in models.versions(client)):
            raise ConfigError(f"{client}: there is no version {number}; 'delivery model list {client}' lists them")
        raise GateNotPassed(f"{client}: version {number} is not ready: {why} (--override REASON promotes it all the same)")
    before = models.champion(client)
    if override is not None:
        repository.record_override(number, override)
    models.promote(client, number)
    return before.number if before is not None and before.number != number else None


def rollback(client: str) -> int:
    """Put the champion before this one back; returns its number."""
    workspace = find_workspace()
    load_client(workspace.clients, client)
    return registry_of(workspace).rollback(client).number
