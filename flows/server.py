"""The Prefect API of the embedded default: a child process that lives as long as the delivery.

Prefect's own temporary server shares the terminal's process group, so Ctrl-C ends it before the flow can report its end
(the flow then waits for it for a minute and a half), and it outlives a killed parent. This one does neither.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import httpx

from delivery.artifacts import write_atomic
from delivery.errors import RetryableError
from delivery.settings import Workspace, get_settings
from flows.environment import prepare

READY_WITHIN_SECONDS = 120.0

_ENGINES = ("delivery.weights.hf", "delivery.training.machine")


@contextlib.contextmanager
def prefect_api(workspace: Workspace, *, engines: bool = True) -> Iterator[None]:
    """A Prefect API for the body: the operator's ``PREFECT_API_URL``, or a server of our own on this machine.

    While ours starts, what the flow imports is imported; with ``engines``, also what it takes to train.

    Raises:
        RetryableError: the server did not come up; the message names its log.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    port = _free_port()
    schema = _Schema.of_home()
    schema.copy()
    log = workspace.state / "logs" / "prefect.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(port)],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        # The server takes seconds to start, and so do the imports of the stages that come first: they overlap.
        from prefect.settings import PREFECT_API_URL, temporary_settings

        # What is imported stays: a collection need not look at its million objects, neither meanwhile nor after every stage.
        gc.disable()
        for name in ("flows.deliver", *(_ENGINES if engines else ())):
            importlib.import_module(name)
        gc.freeze()
        gc.enable()

        url = f"http://127.0.0.1:{port}/api"
        _wait_until_ready(server, url, log)
        schema.keep()
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        _end(server)


@dataclass(frozen=True)
class _Schema:
    """Prefect's empty database, kept in the user's cache: in a new workspace its hundred migrations take ten seconds."""

    database: Path
    kept: Path
    own: bool
    """The database is a file of this workspace, not one that the operator named."""

    @classmethod
    def of_home(cls) -> _Schema:
        kept = get_settings().cache / "prefect" / f"{version('prefect')}.db"
        own = "PREFECT_API_DATABASE_CONNECTION_URL" not in os.environ
        return cls(Path(os.environ["PREFECT_HOME"]) / "prefect.db", kept, own)

    def copy(self) -> None:
        if self.own and self.kept.is_file() and not self.database.exists():
            write_atomic(self.database, self.kept.read_bytes())

    def keep(self) -> None:
        """Keep a new workspace's database, before anything is written into it."""
        if not self.own or self.kept.exists() or not self.database.is_file():
            return
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        partial = self.kept.with_suffix(f".{os.getpid()}.partial")
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(partial)) as copy:
            if source.execute("select count(*) from flow_run").fetchone()[0] == 0:
                source.backup(copy)
        partial.replace(self.kept) if partial.stat().st_size else partial.unlink()


def keep_schema() -> None:
    """Make Prefect's empty database for all workspaces to come: ``python -m flows.server``, a part of set-up.

    Raises:
        RetryableError: the server did not come up.
    """
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        prepare(workspace)
        with prefect_api(workspace, engines=False):
            pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{url}/health").status_code == httpx.codes.OK:
                    return
            time.sleep(0.1)
    raise RetryableError(f"Prefect's local server did not start; its log is {log}")


def _end(server: subprocess.Popen[bytes]) -> None:
    # What it was told is committed; asked politely, its background services take seconds to notice.
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(timeout=3)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _serve(port: int) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run(create_app(ephemeral=True, final=True), host="127.0.0.1", port=port, log_level="error", lifespan="on")


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:]:
        _serve(int(sys.argv[1]))
    else:
        keep_schema()
