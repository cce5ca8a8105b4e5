"""Which model versions a client has, which one is in service, and how to go back."""

from __future__ import annotations

from pathlib import Path

from delivery.registry.fake import InMemoryRegistry
from delivery.registry.protocol import CHALLENGER, CHAMPION, ModelRegistry, ModelVersion, TrainingRun

__all__ = ["CHALLENGER", "CHAMPION", "InMemoryRegistry", "ModelRegistry", "ModelVersion", "TrainingRun", "open_registry"]


def open_registry(tracking_uri: str, *, artifact_root: Path | None) -> ModelRegistry:
    """The registry in MLflow at a tracking URI (SQLite needs no server); it is made where it does not exist.

    ``artifact_root`` is where the files of registered versions go; None leaves that to the MLflow server.

    Raises:
        ConfigError: the database cannot be created, or was made by another version of MLflow.
        RetryableError: it does not answer.
    """
    from delivery.registry.mlflow import MlflowRegistry

    return MlflowRegistry(tracking_uri, artifact_root=artifact_root)
