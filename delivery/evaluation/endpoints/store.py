"""Every answer that an endpoint gave, appended as it came, so that none is asked or paid for again.

JSON lines, one answer each: ``{"key", "at", "answer"}``. What decides an answer is in its key (``endpoint.key_of``), so a line
is good for ever. Errors are not stored.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import orjson
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from delivery.artifacts import Answer
from delivery.errors import ConfigError

SYNC_SECONDS = 1.0
"""What was stored longer ago survives a power cut. A killed process loses nothing that was stored."""

_ANSWERS: TypeAdapter[Answer] = TypeAdapter(Answer)


class Stored(NamedTuple):
    """An answer, and when it came (ISO 8601, UTC)."""

    answer: Answer
    at: str


class _Content(NamedTuple):
    stored: dict[str, Stored]
    whole: int
    """Bytes up to the end of the last whole line."""


class AnswerStore:
    """One file of answers, open for its only writer. Others may read it meanwhile with ``read_answers``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)

    def __enter__(self) -> Self:
        """Take the file and cut off a line that a kill has torn.

        Raises:
            ConfigError: another process is writing it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ConfigError(f"{self.path}: another process is writing these answers; wait until it ends") from None
        try:
            self.path.touch()
            content = _read(self.path)
            os.truncate(self.path, content.whole)
            self._stored = content.stored
            self._stream = self.path.open("ab", buffering=0)
        except BaseException:
            self._lock.release()
            raise
        self._synced = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            os.fsync(self._stream.fileno())
        finally:
            self._stream.close()
            self._lock.release()

    def get(self, key: str) -> Answer | None:
        """The answer under a key, or None."""
        found = self._stored.get(key)
        return found.answer if found is not None else None

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer; one with an error is not kept."""
        if answer.output is None:
            return
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._stored[key] = Stored(answer, at)
        self._stream.write(orjson.dumps({"key": key, "at": at, "answer": answer}) + b"\n")
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()


def read_answers(path: Path) -> dict[str, Stored]:
    """The answers of a file by key, none where there is no file. It may be written at the same time."""
    return _read(path).stored if path.is_file() else {}


def _read(path: Path) -> _Content:
    stored: dict[str, Stored] = {}
    whole = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                record = orjson.loads(line)
                answer = _ANSWERS.validate_python(record["answer"])
                stored[record["key"]] = Stored(answer, str(record.get("at", "")))
            except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError):
                # A damaged line costs its own answer and no other: the file may have been paid for.
                continue
    return _Content({key: one for key, one in stored.items() if one.answer.output is not None}, whole)
