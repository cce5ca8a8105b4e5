"""A registry in memory, for tests: it copies nothing and forgets with the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from delivery.artifacts import Artifact
from delivery.registry.aliases import AliasRules, Entry, decode_before, require_registrable, require_slug
from delivery.registry.protocol import ModelVersion, TrainingRun


class InMemoryRegistry(AliasRules):
    """Keeps versions, aliases and the champions before them in dictionaries by client."""

    def __init__(self) -> None:
        self._versions: dict[str, list[ModelVersion]] = {}
        self._aliases: dict[str, dict[str, int]] = {}
        self._before: dict[tuple[str, int], str] = {}
        self._runs: dict[tuple[str, str], TrainingRun] = {}
        self._erased: dict[str, int] = {}
        """The last number that an erased client had."""

    def register(
        self, client: str, artifacts: Sequence[Artifact], *, shipped: Artifact, delivery_id: str, tags: Mapping[str, str]
    ) -> ModelVersion:
        """See ``ModelRegistry``."""
        require_registrable(artifacts, shipped)
        held = self._versions.setdefault(require_slug(client), [])
        last = max((version.number for version in held), default=self._erased.get(client, 0))
        known = next((v for v in held if v.delivery_id == delivery_id), None)
        if known is None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            run = delivery_id if (client, delivery_id) in self._runs else ""
            known = ModelVersion(last + 1, delivery_id, dict(tags), (), now, "memory:", tuple(artifacts), shipped, run)
            held.append(known)
            self._challenge(client, known.number)
        return next(version for version in self.versions(client) if version.number == known.number)

    def log_training(self, client: str, delivery_id: str, training: TrainingRun) -> str:
        """See ``ModelRegistry``."""
        self._runs.setdefault((require_slug(client), delivery_id), training)
        return delivery_id

    def training_run(self, client: str, delivery_id: str) -> TrainingRun | None:
        """See ``ModelRegistry``."""
        return self._runs.get((client, delivery_id))

    def erase(self, client: str) -> tuple[ModelVersion, ...]:
        """See ``ModelRegistry``."""
        found = self.versions(client)
        self._erased[client] = max((version.number for version in found), default=self._erased.get(client, 0))
        self._versions.pop(client, None)
        self._runs = {key: run for key, run in self._runs.items() if key[0] != client}
        self._aliases.pop(client, None)
        return found

    def _entries(self, client: str) -> tuple[Entry, ...]:
        aliases = self._aliases.get(require_slug(client), {})
        return tuple(
            Entry(
                replace(v, aliases=tuple(sorted(alias for alias, number in aliases.items() if number == v.number))),
                decode_before(self._before.get((client, v.number))),
            )
            for v in self._versions.get(client, [])
        )

    def _point(self, client: str, alias: str, number: int) -> None:
        self._aliases.setdefault(client, {})[alias] = number

    def _drop(self, client: str, alias: str) -> None:
        self._aliases.get(client, {}).pop(alias, None)

    def _remember(self, client: str, number: int, before: str) -> None:
        self._before[client, number] = before
