"""Rows as plain mappings, with the physical line on which each begins."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Literal, NamedTuple

import orjson

from delivery.dataset.problems import BadRow, BrokenFile, quoted
from delivery.dataset.sources import decoded

Container = Literal["jsonl", "csv"]

_KEY_END = re.compile(rb'"\s*:')


class Row(NamedTuple):
    """One row: its values, or why it has none."""

    line: int
    content: dict[str, Any] | BadRow


class Rows(NamedTuple):
    """The rows of one file and what holds them."""

    container: Container
    rows: Iterator[Row]


def open_rows(lines: Iterable[bytes]) -> Rows:
    """The rows of a file, JSON lines or CSV by its first line that is not blank.

    Raises:
        BrokenFile: the file is a JSON array, or reading failed (see ``read_lines``).
    """
    stream = iter(lines)
    head: list[bytes] = []
    first = b""
    for line in stream:
        head.append(line)
        first = line.lstrip()
        if first:
            break
    if first.startswith(b"["):
        raise BrokenFile("begins a JSON array; write one JSON object a line", line=len(head))
    container: Container = "jsonl" if first.startswith(b"{") else "csv"
    read: Callable[[Iterable[bytes]], Iterator[Row]] = _jsonl if container == "jsonl" else _csv
    return Rows(container, read(chain(head, stream)))


def parse_json(text: bytes | str) -> Any:
    """One JSON value.

    Raises:
        BadRow: not JSON, or a key given twice in one object (which parsers silently resolve to the last).
    """
    data = text.encode() if isinstance(text, str) else text
    try:
        value = orjson.loads(data)
        if len(_KEY_END.findall(data)) > _count_keys(value):
            json.loads(data, object_pairs_hook=_refuse_repeated_keys)
    except orjson.JSONDecodeError as error:
        raise BadRow(f"is not valid JSON ({error.msg} at character {error.pos + 1})") from error
    except RecursionError as error:
        raise BadRow("is nested too deeply") from error
    return value


def _count_keys(value: Any) -> int:
    count, open_values = 0, [value]
    while open_values:
        current = open_values.pop()
        if isinstance(current, dict):
            count += len(current)
            open_values.extend(current.values())
        elif isinstance(current, list):
            open_values.extend(current)
    return count


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRow("is given twice in one object; keep one", field=quoted(key))
        found[key] = value
    return found


def _jsonl(lines: Iterable[bytes]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield Row(number, _object(line))
        except BadRow as bad:
            yield Row(number, bad)


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except BadRow:
        decoded(line)
        raise
    if not isinstance(value, dict):
        raise BadRow(f"is a JSON {type(value).__name__}; write one JSON object a line")
    return value


def _csv(lines: Iterable[bytes]) -> Iterator[Row]:
    """Rows of a CSV with a header. Quoting is strict: one stray quote would swallow every row after it."""
    reader = csv.reader(_texts(lines), strict=True)
    header: list[str] | None = None
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = f"is not valid CSV ({error}); check the quotes of the row that begins here"
            raise BrokenFile(what, line=begin) from error
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _header(cells, begin)
        elif len(cells) != len(header):
            what = f"has {len(cells)} columns where the header has {len(header)}; quote texts with commas"
            yield Row(begin, BadRow(what))
        else:
            yield Row(begin, {name: cell or None for name, cell in zip(header, cells, strict=True)})


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield decoded(line)
        except BadRow as bad:
            raise BrokenFile(bad.what, line=number) from bad


def _header(cells: list[str], line: int) -> list[str]:
    names = [cell.strip().casefold() for cell in cells]
    if len(set(names)) != len(names):
        raise BrokenFile("the header names a column twice; name each once", line=line)
    return names
