"""What every step of a delivery shares: its configuration, its folder per result, and its record in the store.

A stage's result lies in ``artifacts/<client>/<stage>/<key>/``, where the key is the hash of everything that decides the
result. ``output.json`` is written last, so a folder without it is unfinished and its stage runs again, going on from what
is there. Between tasks only references ``<stage>/<key>`` pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from delivery import __version__
from delivery.artifacts import OnProgress, Progress, from_json, no_progress, sha256_json, to_json, write_atomic
from delivery.client_config import ClientConfig
from delivery.dataset import RowStore, StoredRows
from delivery.errors import ConfigError
from delivery.settings import Workspace, find_workspace
from delivery.store import open_store
from flows.environment import give_memory_back

if TYPE_CHECKING:
    from delivery.store.repository import ClientRepository, Store

T = TypeVar("T")


def config_from(stored: dict[str, Any], workspace: Workspace) -> ClientConfig:
    """The configuration that a delivery started with, whatever ``client.yaml`` says now."""
    return ClientConfig.model_validate({**stored, "folder": workspace.clients / stored["client"]})


def config_as_stored(config: ClientConfig) -> dict[str, Any]:
    """A configuration as the store keeps it: the keys of ``client.yaml``."""
    return config.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class Recorder:
    """Writes the course of one delivery into the store."""

    repository: ClientRepository
    delivery_id: str
    created_at: str

    @property
    def day(self) -> date:
        """The day that the delivery began, which decides what can be bought."""
        return datetime.fromisoformat(self.created_at).date()

    def finished_key(self, stage: str) -> str | None:
        """The key under which this delivery finished the stage, if it did."""
        row = self.repository.stage(self.delivery_id, stage)
        return row.key if row is not None and row.state in ("done", "reused") else None


class Line:
    """One client's line. With a ``recorder`` its stages are entered in the store as parts of a delivery.

    Without one, ``on_progress`` hears how far they are.
    """

    def __init__(
        self,
        workspace: Workspace,
        config: ClientConfig,
        recorder: Recorder | None = None,
        *,
        on_progress: OnProgress = no_progress,
    ) -> None:
        self.workspace = workspace
        self.config = config
        self.recorder = recorder
        self._on_progress = on_progress

    @classmethod
    def of_delivery(cls, delivery_id: str, workspace: Workspace | None = None) -> Line:
        """The line of a delivery that the store knows.

        Raises:
            ConfigError: the store has no such delivery.
        """
        place = workspace or find_workspace()
        store = _store(place.database_url)
        client = store.client_of(delivery_id)
        repository = store.client(client or "")
        row = repository.delivery(delivery_id) if client else None
        if row is None:
            raise ConfigError(f"there is no delivery {delivery_id!r} in {place.root}; 'delivery status' lists them")
        return cls(place, config_from(row.config, place), Recorder(repository, row.id, row.created_at))

    @cached_property
    def delivery(self) -> Recorder:
        """The recorder; only steps of a delivery may ask for it."""
        if self.recorder is None:
            raise RuntimeError("this step belongs to a delivery")
        return self.recorder

    def folder(self, reference: str) -> Path:
        """Where the result of ``<stage>/<key>`` lies."""
        return self.workspace.artifacts / self.config.client / reference

    def read(self, kind: type[T], reference: str) -> T:
        """The result that a stage stored."""
        return from_json(kind, (self.folder(reference) / "output.json").read_bytes())

    @cached_property
    def row_store(self) -> RowStore:
        """All versions of the client's rows."""
        return RowStore(self.workspace.artifacts / self.config.client / "rows")

    def rows(self, reference: str) -> StoredRows:
        """The rows that ``load_data`` referred to, as ``rows/<version id>``."""
        return _rows(str(self.folder("rows")), reference.removeprefix("rows/"))

    def finished(self, stage: str) -> str:
        """The reference of a stage that this delivery has finished."""
        key = self.delivery.finished_key(stage)
        if key is None:
            raise RuntimeError(f"delivery {self.delivery.delivery_id} has not finished {stage}")
        return f"{stage}/{key}"

    def stage(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path, OnProgress], object], *, always: bool = False
    ) -> str:
        """Run a stage unless its result is there already; return the reference ``<stage>/<key>`` of the result.

        A stage that this delivery has finished is never run again, even if the world has changed since: a resumed
        delivery ends with what it began. With ``always`` the body runs even so, for what lies outside the workspace.
        ``work`` gets the folder of the result and a callback for progress.
        """
        finished = self.recorder.finished_key(name) if self.recorder and not always else None
        key = finished or sha256_json({"code": __version__, "stage": name, **inputs})[:24]
        reference = f"{name}/{key}"
        folder = self.folder(reference)
        if (folder / "output.json").is_file() and not always:
            if finished is None:
                self._record(name, key, "reused")
            return reference
        self._record(name, key, "running")
        started = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / "output.json", to_json(work(folder, self._watch(name))))
            give_memory_back()
        except BaseException:
            self._record(name, key, "failed", time.monotonic() - started)
            raise
        self._record(name, key, "done", time.monotonic() - started)
        return reference

    def _record(self, name: str, key: str, state: str, seconds: float = 0.0) -> None:
        if self.recorder is not None:
            self.recorder.repository.set_stage(self.recorder.delivery_id, name, state=state, key=key, seconds=seconds)

    def _watch(self, name: str) -> OnProgress:
        recorder = self.recorder
        if recorder is None:
            return self._on_progress
        last = 0.0

        def write(progress: Progress) -> None:
            nonlocal last
            if progress.done >= progress.total or time.monotonic() - last >= 0.5:
                last = time.monotonic()
                recorder.repository.set_progress(recorder.delivery_id, name, progress)

        return write


@lru_cache(maxsize=1)
def _rows(folder: str, version: str) -> StoredRows:
    # Versions never change, and nearly every stage of a delivery asks for the same one.
    return RowStore(Path(folder)).read(version)


_stores: dict[str, Store] = {}


def _store(url: str) -> Store:
    if url not in _stores:
        _stores[url] = open_store(url)
    return _stores[url]


def store_of(workspace: Workspace) -> Store:
    """The store of a workspace, opened once per process."""
    return _store(workspace.database_url)
