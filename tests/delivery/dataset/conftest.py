from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from delivery.client_config import UseCase

Write = Callable[..., str]


def unlike(name: str) -> str:
    """A text that shares next to nothing with that of another name."""
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows (mappings as JSON lines; bytes and strings as they are) and give the path."""

    def write(*rows: Any, name: str = "rows.jsonl") -> str:
        path = tmp_path / name
        lines = [row if isinstance(row, bytes) else row.encode() if isinstance(row, str) else orjson.dumps(row) for row in rows]
        path.write_bytes(b"\n".join(lines) + b"\n" if lines else b"")
        return str(path)

    return write


@pytest.fixture
def triage() -> UseCase:
    return UseCase(name="triage", type="classification", system_prompt="Sort the message.", labels=("Claim", "Other"))


@pytest.fixture
def extraction() -> UseCase:
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "kind": {"enum": ["theft", "fire"]}},
        "required": ["amount"],
        "additionalProperties": False,
    }
    return UseCase(name="fields", type="extraction", system_prompt="Extract.", schema=schema, parse="json")
