"""Rows as findings name them: the file's name, the line and the id."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

from delivery.artifacts import Example

SHOWN = 5
"""Rows that a finding names."""


def place_of(example: Example) -> str:
    """Where a row stands. Findings go into reports for people elsewhere, to whom folders of this machine say nothing."""
    line = line_of(example)
    return f"{line} (id {example.id})" if line else f"id {example.id}"


def line_of(example: Example) -> str:
    """``file:line`` of a row, empty where it came from no file."""
    file = PurePath(example.source).name
    return f"{file}:{example.line}" if file else ""


class Pair(NamedTuple):
    """Two rows that belong together, shown by place and id."""

    first: Example
    second: Example | None = None

    def __str__(self) -> str:
        second = f" and {place_of(self.second)}" if self.second is not None else ""
        return place_of(self.first) + second
