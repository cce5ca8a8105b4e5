"""Starts an engine as a process of its own, waits until it answers, and ends it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from delivery.artifacts import Artifact, verify_artifact
from delivery.client_config import Format
from delivery.errors import ConfigError, RetryableError
from delivery.settings import get_settings

ENGINES: dict[Format, str] = {"gguf-q8_0": "delivery.serving.llamacpp"}
"""The module that serves a format. It is run as ``python -m MODULE JOB``, prints one line of JSON with ``base_url`` on
its standard output once it answers requests, logs to its standard error, and ends when its standard input does: a pipe from
this process, which the system closes however this process ends. (A signal on the parent's death, as Linux has it, comes
when the *thread* that started the engine ends.)"""

_READY_WITHIN_SECONDS = 600.0

_ERROR = re.compile(r"^[\d.]+ E ")
"""How llama.cpp's log marks an error: the time, then the level."""

_OPENMP = {"GOMP_SPINCOUNT": "1000"}
"""How long OpenMP threads spin for each other before they sleep. By default they spin so long that a second busy process
on the machine makes serving about ten times slower."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers ``POST {base_url}/chat/completions``; ``base_url`` ends in ``/v1``."""

    base_url: str
    model: str
    format: Format
    slots: int
    pid: int


@dataclass(frozen=True, slots=True)
class ServingJob:
    """What an engine is started with. ``port`` 0 takes a free one."""

    files: tuple[str, ...]
    model: str
    slots: int
    context_per_slot: int
    threads: int
    port: int


@contextmanager
def serve(
    artifact: Artifact,
    *,
    slots: int = 8,
    context_per_slot: int,
    threads: int | None = None,
    log: Path | None = None,
    port: int = 0,
) -> Iterator[RunningServer]:
    """Serve an artifact on the loopback interface until the block ends.

    ``slots`` requests are answered at once, each with ``context_per_slot`` tokens for prompt and answer together. The
    server ends with the block, and also when this process is killed. ``log`` is appended to.

    Greedy answers to requests sent one at a time repeat to the letter. Those of requests that are under way together may
    differ in a few of a hundred, because what shares a batch changes how sums are rounded.

    Raises:
        IntegrityError: a file of the artifact is not the one that was recorded.
        ConfigError: nothing here serves the format, or the server does not start.
        RetryableError: it did not answer in time.
    """
    engine = ENGINES.get(artifact.format)
    if engine is None:
        raise ConfigError(
            f"{artifact.format} cannot be served here: ship one of {', '.join(ENGINES)} (key ship in client.yaml)"
        )
    if slots < 1 or context_per_slot < 1:
        raise ConfigError(f"cannot serve with {slots} slots of {context_per_slot} tokens: both must be at least 1")
    verify_artifact(artifact)
    model = f"{artifact.format}-{artifact.sha256[:12]}"
    count = threads or get_settings().threads or os.cpu_count() or 1
    files = tuple(str(Path(artifact.path, name)) for name in sorted(artifact.files))
    job = ServingJob(files, model=model, slots=slots, context_per_slot=context_per_slot, threads=count, port=port)
    with _log_file(log) as stream:
        start = stream.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [sys.executable, "-m", engine, json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env={**_OPENMP, **os.environ},
            # Ctrl-C is for the caller, who ends the block; the server goes with it.
            start_new_session=True,
        )
        try:
            base_url = _wait_until_ready(process, stream, start, artifact)
            yield RunningServer(base_url, model=model, format=artifact.format, slots=slots, pid=process.pid)
        finally:
            _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], stream: IO[bytes], start: int, artifact: Artifact) -> str:
    assert process.stdout is not None
    expired = threading.Event()

    def give_up() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(_READY_WITHIN_SECONDS, give_up)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    if line:
        return str(json.loads(line)["base_url"])
    code = process.wait()
    if expired.is_set():
        raise RetryableError(f"{artifact.path}: the server did not answer within {_READY_WITHIN_SECONDS:.0f} s; try again")
    reason = _cause(stream, start) or f"exit code {code}"
    raise ConfigError(f"{artifact.path}: the server did not start ({reason}); make the artifact again, or look into the log")


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _log_file(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        with tempfile.TemporaryFile() as stream:
            yield stream
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            yield stream


def _cause(stream: IO[bytes], start: int) -> str:
    """The first error in what was logged since ``start`` (those after it say that it failed), else the last line."""
    stream.seek(start)
    lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)]
    return _ERROR.sub("", (errors or lines[-1:] or [""])[0])[:300]
