"""The rules of champion and challenger, the same over every store.

Each rule writes what it needs to remember before it moves an alias, and moving the alias is the one step that counts: a
process that is killed in between has changed nothing, and doing it again gives the same result.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from delivery.artifacts import Artifact, verify_artifact
from delivery.client_config import SLUG
from delivery.errors import ConfigError
from delivery.registry.protocol import CHALLENGER, CHAMPION, ModelVersion

_KEPT = 50


class Entry(NamedTuple):
    """A version and what the rules keep about it: the champions before it, newest last."""

    version: ModelVersion
    before: tuple[int, ...]


class AliasRules(ABC):
    """Promotion and rollback over four primitives of a store."""

    @abstractmethod
    def _entries(self, client: str) -> tuple[Entry, ...]:
        """All versions, oldest first."""

    @abstractmethod
    def _point(self, client: str, alias: str, number: int) -> None:
        """Point an alias at a version that exists."""

    @abstractmethod
    def _drop(self, client: str, alias: str) -> None:
        """Remove an alias; nothing happens where there is none."""

    @abstractmethod
    def _remember(self, client: str, number: int, before: str) -> None:
        """Keep the champions before a version, as ``_encode`` writes them."""

    def versions(self, client: str) -> tuple[ModelVersion, ...]:
        """See ``ModelRegistry``."""
        return tuple(entry.version for entry in self._entries(client))

    def champion(self, client: str) -> ModelVersion | None:
        """See ``ModelRegistry``."""
        found = _with_alias(self._entries(client), CHAMPION)
        return found.version if found else None

    def set_alias(self, client: str, alias: str, number: int) -> None:
        """See ``ModelRegistry``."""
        _numbered(self._entries(client), client, number)
        self._point(client, alias, number)

    def promote(self, client: str, number: int) -> ModelVersion:
        """See ``ModelRegistry``."""
        entries = self._entries(client)
        promoted = _numbered(entries, client, number)
        current = _with_alias(entries, CHAMPION)
        if current is None or current.version.number != number:
            before = (*current.before, current.version.number) if current else ()
            self._remember(client, number, _encode(before))
            self._point(client, CHAMPION, number)
        if CHALLENGER in promoted.version.aliases:
            self._drop(client, CHALLENGER)
        return _numbered(self._entries(client), client, number).version

    def rollback(self, client: str) -> ModelVersion:
        """See ``ModelRegistry``."""
        entries = self._entries(client)
        current = _with_alias(entries, CHAMPION)
        if current is None:
            raise ConfigError(f"{client}: no version is in service, so there is nothing to roll back")
        if not current.before:
            raise ConfigError(f"{client}: version {current.version.number} is the first champion; there is none to go back to")
        *earlier, number = current.before
        _numbered(entries, client, number)
        self._remember(client, number, _encode(earlier))
        self._point(client, CHAMPION, number)
        return _numbered(self._entries(client), client, number).version

    def _challenge(self, client: str, number: int) -> None:
        """Make a version that was just registered the challenger, unless a newer one already is."""
        holder = _with_alias(self._entries(client), CHALLENGER)
        if holder is None or holder.version.number < number:
            self._point(client, CHALLENGER, number)


def decode_before(text: str | None) -> tuple[int, ...]:
    """What ``_remember`` was given, as numbers."""
    return tuple(json.loads(text)) if text else ()


def require_registrable(artifacts: Sequence[Artifact], shipped: Artifact) -> None:
    """Check what is to be registered before anything is made.

    Raises:
        IntegrityError: a file is not the one that was recorded.
        ConfigError: what ships is none of the artifacts.
    """
    if shipped.format not in {artifact.format for artifact in artifacts}:
        raise ConfigError(f"{shipped.format} ships but is not among the artifacts: add it to artifacts in client.yaml")
    for artifact in artifacts:
        verify_artifact(artifact)


def require_slug(client: str) -> str:
    """The client's name, which is also its model's.

    Raises:
        ConfigError: it is none.
    """
    if not SLUG.fullmatch(client):
        raise ConfigError(f"{client!r} is not a client's name: lower-case letters, digits and single hyphens")
    return client


def _encode(before: Sequence[int]) -> str:
    return json.dumps(list(before)[-_KEPT:])


def _with_alias(entries: Sequence[Entry], alias: str) -> Entry | None:
    return next((e for e in entries if alias in e.version.aliases), None)


def _numbered(entries: Sequence[Entry], client: str, number: int) -> Entry:
    found = next((e for e in entries if e.version.number == number), None)
    if found is None:
        known = ", ".join(str(e.version.number) for e in entries) or "none yet"
        raise ConfigError(f"{client}: there is no version {number} (versions: {known}); see 'delivery model list {client}'")
    return found
