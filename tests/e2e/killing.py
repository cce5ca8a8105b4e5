"""Kill the whole process tree of a delivery in one stage after the other, and resume it each time."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.processes import command, delivery, document_of, environment

Reached = Callable[[Path], bool]


def stage(workspace: Path, name: str) -> tuple[str, int]:
    """State and progress of a stage, as a reader beside the delivery sees them."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(workspace / ".delivery" / "delivery.db", timeout=0)) as db:
        row = db.execute("select state, done from stage_states where stage = ?", (name,)).fetchone()
        return (row[0], row[1]) if row else ("", 0)
    return "", 0


def progressed(name: str, done: int) -> Reached:
    """The stage is running and this far."""

    def reached(workspace: Path) -> bool:
        state, so_far = stage(workspace, name)
        return state == "running" and so_far >= done

    return reached


def answered(count: int) -> Reached:
    """The candidate has given this many answers."""

    def reached(workspace: Path) -> bool:
        files = workspace.glob(".delivery/artifacts/*/answers/*.jsonl")
        return stage(workspace, "evaluate_candidate")[0] == "running" and any(
            f.read_bytes().count(b"\n") >= count for f in files
        )

    return reached


def copying(workspace: Path) -> bool:
    """The registry has begun to take the version in."""
    return any((workspace / ".delivery" / "artifacts" / "mlflow").rglob("*.safetensors"))


def kill_at(workspace: Path, reached: Reached, *args: str) -> None:
    """Start a command, wait until it is there, and kill -9 it with all its descendants at once."""
    process = subprocess.Popen(
        command(*args), cwd=workspace, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not reached(workspace):
            assert process.poll() is None, f"{args} ended before it got there"
            time.sleep(0.02)
    finally:
        with suppress(psutil.NoSuchProcess):
            # The root first: it must not see its children die.
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for one in tree:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            assert not psutil.wait_procs(tree, timeout=30)[1]


def made(workspace: Path) -> dict[str, Any]:
    """Hashes of what a workspace's only delivery made: the adapter and every format."""
    (trained,) = workspace.glob(".delivery/artifacts/*/train/*/output.json")
    (formats,) = workspace.glob(".delivery/artifacts/*/quantize/*/output.json")
    return {
        "adapter": json.loads(trained.read_text())["artifact"]["files"],
        "formats": {artifact["format"]: artifact["sha256"] for artifact in json.loads(formats.read_text())["made"]},
    }


def kill_everywhere(workspace: Path, client: str, moments: list[tuple[str, Reached]]) -> str:
    """Run a delivery that is killed at each of the moments; the id that 'delivery resume' takes to its end."""
    kill_at(workspace, moments[0][1], "run", client)
    (row,) = document_of(delivery(workspace, "status", client, "--json"))["deliveries"]
    for _, reached in moments[1:]:
        kill_at(workspace, reached, "resume", row["id"])
    done = delivery(workspace, "resume", row["id"], "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    return str(row["id"])
