"""Hashing, and writing whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
from pydantic import TypeAdapter

T = TypeVar("T")


class Progress(NamedTuple):
    """How far a stage is: ``done`` of ``total`` in ``unit``, with a short note such as the loss."""

    done: int
    total: int
    unit: str
    note: str = ""


OnProgress = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """For callers that do not watch."""


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary name beside it, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def to_json(value: object) -> bytes:
    """An artifact as indented JSON."""
    return orjson.dumps(TypeAdapter(type(value)).dump_python(value, mode="json"), option=orjson.OPT_INDENT_2)


def from_json(kind: type[T], data: bytes) -> T:
    """The artifact that ``to_json`` stored. Raises ``pydantic.ValidationError`` where it does not fit."""
    return TypeAdapter(kind).validate_json(data)
