"""What commands print: one JSON document on stdout with ``--json``, else text; progress and errors on stderr."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


_emitted: list[bool] = []
"""Whether this process has printed its one document, so that an error after it does not print a second."""


def emit(document: Any) -> None:
    """The one JSON document of a command."""
    _emitted.append(True)
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def say(text: str) -> None:
    """A line for people, on stdout."""
    typer.echo(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table for people, on stdout; plain and unwrapped where stdout is no terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=200, soft_wrap=True)
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    console.print(grid)


def fail(error: Exception, *, as_json: bool) -> int:
    """Say in one line what went wrong, keep the trace of anything unexpected in a file, and return the exit code."""
    from delivery.errors import DeliveryError

    if isinstance(error, DeliveryError):
        line, code = " ".join(str(error).split()), error.exit_code
    else:
        line, code = f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (trace: {_keep_trace(error)})", 1
    if as_json and not _emitted:
        emit({"error": line, "exit_code": code})
    typer.echo(f"delivery: {line}", err=True)
    return code


def _keep_trace(error: Exception) -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="delivery-", suffix=".log", delete=False) as stream:
        stream.writelines(traceback.format_exception(error))
    return Path(stream.name)
