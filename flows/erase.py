"""Remove a client: its rows and all that came of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from delivery.artifacts import from_json, to_json, write_atomic
from delivery.client_config import ClientConfig, load_client
from delivery.settings import Workspace, find_workspace
from flows.environment import prepare
from flows.line import store_of
from flows.start import alone
from flows.versions import registry_of


@dataclass(frozen=True)
class ErasedModel:
    """A model that was trained on the client's rows; copies that left this machine are elsewhere still."""

    number: int
    delivery: str
    created_at: str
    fingerprint: str
    shipped: str
    sha256: str


@dataclass(frozen=True)
class Erasure:
    """What was taken away, kept in ``.delivery/erased/<client>.json``; it holds nothing that the rows said."""

    client: str
    models: tuple[ErasedModel, ...]
    removed: tuple[str, ...]
    elsewhere: tuple[str, ...]
    """Data that lie outside the client's folder: their owner has to remove them."""


def preview_erasure(client: str) -> Erasure:
    """What ``erase`` would take away."""
    workspace = find_workspace()
    return _find(workspace, load_client(workspace.clients, client))


def erase(client: str) -> Erasure:
    """Remove rows, versions, checkpoints, adapters, cached answers, reports, logs, models and records of a client.

    ``client.yaml`` and README stay. Killed anywhere, it goes on when it is called again.

    Raises:
        ConfigError: there is no such client, or a delivery of it is running.
    """
    workspace = find_workspace()
    config = load_client(workspace.clients, client)
    with alone(workspace, client):
        found = _find(workspace, config)
        note = workspace.state / "erased" / f"{client}.json"
        if note.is_file():
            found = _joined(from_json(Erasure, note.read_bytes()), found)
        # Written first: what has gone can no longer be listed.
        write_atomic(note, to_json(found))
        registry_of(workspace).erase(client)
        for path in (*_local_data(config), *_derived(workspace, client)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        store_of(workspace).client(client).erase()
    return found


def _find(workspace: Workspace, config: ClientConfig) -> Erasure:
    prepare(workspace)
    models = tuple(
        ErasedModel(v.number, v.delivery_id, v.created_at, v.tags.get("fingerprint", ""), v.shipped.format, v.shipped.sha256)
        for v in registry_of(workspace).versions(config.client)
    )
    removed = [*_local_data(config), *_derived(workspace, config.client)]
    local = {str(path) for path in _local_data(config)}
    named = (*config.data_paths(), *config.pool_paths())
    return Erasure(
        client=config.client,
        models=models,
        removed=tuple(str(path.relative_to(workspace.root)) for path in removed),
        elsewhere=tuple(
            path.partition("?")[0] for path in named if not any(Path(path).is_relative_to(folder) for folder in local)
        ),
    )


def _local_data(config: ClientConfig) -> list[Path]:
    """Everything under the client's folder but its configuration and README."""
    kept = ("client.yaml", "README.md")
    return sorted(path for path in config.folder.iterdir() if path.name not in kept)


def _derived(workspace: Workspace, client: str) -> list[Path]:
    logs = [
        workspace.state / "logs" / f"{row.id}.log" for row in store_of(workspace).client(client).deliveries(limit=1_000_000)
    ]
    folders = [workspace.artifacts / client, workspace.state / "reports" / client]
    sealed = [workspace.vault(client), workspace.client_key(client)]
    return [path for path in (*folders, *sealed, *logs) if path.exists()]


def _joined(earlier: Erasure, now: Erasure) -> Erasure:
    return Erasure(
        client=now.client,
        models=tuple(dict.fromkeys((*earlier.models, *now.models))),
        removed=tuple(dict.fromkeys((*earlier.removed, *now.removed))),
        elsewhere=now.elsewhere,
    )
