"""The rows of a file, one by one, to whoever can use them; what is wrong with the others is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from delivery.dataset.reading.problems import BadRow, BrokenFile, Problems
from delivery.dataset.reading.rows import Container, open_rows
from delivery.dataset.reading.sources import read_lines
from delivery.dataset.reading.stores import shown
from delivery.errors import ClientDataError

Take = Callable[[dict[str, Any], Container, int], None]
"""(row, what holds it, its line). Raises ``BadRow`` where the row cannot be used, ``BrokenFile`` where nothing after it can."""


def take_rows(path: str, take: Take, problems: Problems, *, wanted: str) -> None:
    """Hand every row of a file to ``take``, and every problem to ``problems``.

    Raises:
        ClientDataError: the file is missing, unreadable or holds no row; ``wanted`` says what to give.
        RetryableError: a remote store did not answer.
    """
    source, empty = shown(path), True
    try:
        container, rows = open_rows(read_lines(path))
        for line, content in rows:
            empty = False
            try:
                if isinstance(content, BadRow):
                    raise content
                take(content, container, line)
            except BrokenFile:
                raise
            except BadRow as bad:
                problems.add(source, line, bad)
    except BrokenFile as broken:
        problems.add(source, broken.line, broken)
    else:
        if empty:
            raise ClientDataError(f"{source}: holds no rows; give {wanted}")
