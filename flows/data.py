"""What people do with a client's data between deliveries: look at its versions, choose what to label next, take labels in."""

from __future__ import annotations

from typing import Any

from delivery.client_config import load_client
from delivery.settings import find_workspace
from flows.environment import prepare
from flows.line import Line
from flows.versions import registry_of


def data_versions(client: str) -> list[dict[str, Any]]:
    """The versions of a client's rows, newest first, each with the models that were trained on it.

    Raises:
        ConfigError: there is no such client.
    """
    line = _line(client)
    trained: dict[str, list[int]] = {}
    for model in registry_of(line.workspace).versions(client):
        trained.setdefault(model.tags.get("data_version", ""), []).append(model.number)
    store = line.row_store
    deciding = set(store.deciding())
    return [
        {
            "number": version.number,
            "id": version.id,
            "created_at": version.created_at,
            "rows": version.rows,
            "sides": version.sides,
            "changes": version.changes,
            "fingerprint": version.fingerprint,
            "delivered": version.id in deciding,
            "models": trained.get(version.id, []),
        }
        for version in reversed(store.versions())
    ]


def data_diff(client: str, older: int, newer: int) -> dict[str, list[str]]:
    """Ids of rows that were added, removed, relabeled and edited between two versions, by their numbers.

    Raises:
        ConfigError: there is no such client or version.
    """
    store = _line(client).row_store
    diff = store.diff(store.numbered(older).id, store.numbered(newer).id)
    return {kind: list(ids) for kind, ids in diff.as_dict().items()}


def _line(client: str) -> Line:
    workspace = find_workspace()
    prepare(workspace)
    return Line(workspace, load_client(workspace.clients, client))
