"""What a registry does, whatever keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from delivery.artifacts import Artifact
from delivery.client_config import Format
from delivery.errors import ConfigError

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a registry keeps of the training behind a version: parameters, curves by step, and single figures."""

    params: dict[str, str]
    curves: dict[str, tuple[tuple[int, float], ...]]
    """By name, (step, value)."""
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version of a client's model. Numbers count from 1 and are never used again.

    ``path`` holds one folder per format (a URI where the store is not this machine's disk); ``artifacts`` describes
    them with the hashes they were registered with, so ``verify_artifact`` can check them. ``shipped`` is the one of them
    that the client gets and that is served.
    """

    number: int
    delivery_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]
    created_at: str
    path: str
    artifacts: tuple[Artifact, ...]
    shipped: Artifact
    run: str = ""
    """The registry's id of the training run; empty where none was given."""

    def artifact(self, format: Format) -> Artifact:
        """The files of one format.

        Raises:
            ConfigError: the version was registered without that format.
        """
        found = next((a for a in self.artifacts if a.format == format), None)
        if found is None:
            held = ", ".join(a.format for a in self.artifacts)
            raise ConfigError(f"version {self.number} was registered without {format} (it holds {held})")
        return found


class ModelRegistry(Protocol):
    """The versions of each client's model and the aliases ``champion`` (in service) and ``challenger`` (newest)."""

    def register(
        self, client: str, artifacts: Sequence[Artifact], *, shipped: Artifact, delivery_id: str, tags: Mapping[str, str]
    ) -> ModelVersion:
        """Copy the artifacts into the registry as a new version, which becomes the challenger.

        Done once per delivery: called again, also after being killed anywhere, it finishes what is missing and gives
        the same version.

        Raises:
            IntegrityError: a file is not the one that was recorded; nothing is registered.
            ConfigError: ``shipped`` is none of the artifacts, or the client's name is none.
        """
        ...

    def log_training(self, client: str, delivery_id: str, training: TrainingRun) -> str:
        """Record the training run of a delivery and return its id; the version registered for the delivery refers to it.

        Done once per delivery: called again, also after being killed anywhere, it gives the same run, whole.
        """
        ...

    def training_run(self, client: str, delivery_id: str) -> TrainingRun | None:
        """What ``log_training`` recorded."""
        ...

    def versions(self, client: str) -> tuple[ModelVersion, ...]:
        """All versions of a client, oldest first; none for a client that has no model yet."""
        ...

    def champion(self, client: str) -> ModelVersion | None:
        """The version in service."""
        ...

    def set_alias(self, client: str, alias: str, number: int) -> None:
        """Point an alias at a version.

        Raises:
            ConfigError: there is no such version.
        """
        ...

    def promote(self, client: str, number: int) -> ModelVersion:
        """Put a version into service and remember the one before it; a promoted challenger is a challenger no longer.

        Raises:
            ConfigError: there is no such version.
        """
        ...

    def rollback(self, client: str) -> ModelVersion:
        """Put the champion before this one back into service, and return it. Repeated, it goes further back.

        Raises:
            ConfigError: there is no earlier champion.
        """
        ...

    def erase(self, client: str) -> tuple[ModelVersion, ...]:
        """Take every version of a client out of the registry and its files off the disk; returns what there was.

        Called again, also after being killed anywhere, it finishes what is left. Numbers go on where they were.
        """
        ...
