"""Rows as plain mappings, with the physical line on which each begins."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Literal, NamedTuple

import orjson

from delivery.dataset.reading.problems import BadRow, BrokenFile, quoted
from delivery.dataset.reading.sources import MAX_LINE_BYTES, decoded

Container = Literal["jsonl", "csv"]

MAX_VALUES = 1_000_000
MAX_COLUMNS = 1_000

_KEY_END = re.compile(rb'"\s*:')
_QUOTED_KEY_END = re.compile(rb'\\"\s*:')
_HINTS = (
    ("end of data", "the line ends in the middle; write each row on one line, whole"),
    ("not valid UTF-8", "save the file as UTF-8"),
    ("surrogate", "half a character is left of a pair; write the whole character, or take it out"),
    ("control character", "write line ends and tabs inside a text as \\n and \\t"),
    ("infinity", "write numbers that a double holds"),
    ("depth", "make it flatter: 1,024 levels are read"),
    ("escape", "write a backslash inside a text as \\\\"),
)


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
        BrokenFile: the file is a JSON array or one indented object, or reading failed (see ``read_lines``).
    """
    stream = iter(lines)
    blank = 0
    first = b""
    for first in stream:
        if not first.isspace():
            break
        blank += 1
    start = first.lstrip()
    if start.startswith(b"["):
        raise BrokenFile("begins a JSON array; write one JSON object a line", line=blank + 1)
    if start.rstrip() == b"{":
        raise BrokenFile("begins a JSON object over several lines; write one JSON object a line", line=blank + 1)
    container: Container = "jsonl" if start.startswith(b"{") else "csv"
    read: Callable[[Iterable[bytes], int], Iterator[Row]] = _jsonl if container == "jsonl" else _csv
    return Rows(container, read(chain((first,), stream), blank + 1) if start else iter(()))


def parse_json(text: bytes | str) -> Any:
    """One JSON value.

    Raises:
        BadRow: not JSON, too many values to hold, or a key given twice in one object (which parsers silently resolve to
            the last).
    """
    data = text.encode() if isinstance(text, str) else text
    if len(data) > MAX_VALUES and sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise BadRow(f"may hold more than {MAX_VALUES:,} values; split it")
    try:
        value = orjson.loads(data)
        if _may_repeat_keys(data, value):
            json.loads(data, object_pairs_hook=_refuse_repeated_keys)
    except orjson.JSONDecodeError as error:
        raise BadRow(f"is not valid JSON ({error.msg} at character {error.pos + 1})") from error
    except RecursionError as error:
        raise BadRow("is nested too deeply; make it flatter") from error
    return value


def _may_repeat_keys(data: bytes, value: Any) -> bool:
    """Whether the text has more ends of keys than the value has keys. Never wrongly false."""
    ends = len(_KEY_END.findall(data))
    # An escaped quote and a colon inside a text look like a key's end, unless the backslash is itself escaped.
    if b'\\"' in data and b'\\\\"' not in data:
        ends -= len(_QUOTED_KEY_END.findall(data))
    open_values = [value]
    for current in open_values:
        if type(current) is dict:
            ends -= len(current)
            open_values.extend(current.values())
        elif type(current) is list:
            open_values.extend(current)
    return ends > 0


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRow("is given twice in one object; keep one", field=quoted(key))
        found[key] = value
    return found


def _jsonl(lines: Iterable[bytes], start: int) -> Iterator[Row]:
    for number, line in enumerate(lines, start):
        if line.isspace():
            continue
        try:
            value = parse_json(line)
            if not isinstance(value, dict):
                raise BadRow(f"is a JSON {type(value).__name__}; write one JSON object a line")
        except BadRow as bad:
            yield Row(number, _explained(line, bad))
        else:
            yield Row(number, value)


def _explained(line: bytes, bad: BadRow) -> BadRow:
    """What is wrong with a line, with what to do about it."""
    try:
        decoded(line)
    except BadRow as encoding:
        return encoding
    if bad.field or ";" in bad.what:
        return bad
    body = line.strip()
    if b"\r" in body:
        remedy = "there are line ends of CR alone; save the file with LF or CRLF"
    elif body.endswith(b","):
        remedy = "end rows without a comma"
    elif body.startswith(b"{'"):
        remedy = "it is written as Python, with single quotes; write it with json.dumps"
    elif re.search(rb"[:,\[]\s*-?(NaN|Infinity)\b", body):
        remedy = "NaN and Infinity are no JSON; write null, or leave the field out"
    else:
        remedy = next((hint for mark, hint in _HINTS if mark in bad.what), "correct the line, or take it out")
    return BadRow(f"{bad.what}; {remedy}")


def _csv(lines: Iterable[bytes], start: int) -> Iterator[Row]:
    """Rows of a CSV with a header. Quoting is strict: one stray quote would swallow every row after it."""
    texts = _Texts(lines, start)
    reader = csv.reader(texts, strict=True)
    header: list[str] | None = None
    while True:
        begin = start + reader.line_num
        texts.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BrokenFile(f"is not valid CSV ({error}); {_csv_remedy(str(error))}", line=begin) from error
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _header(cells, begin)
        elif len(cells) != len(header):
            what = f"has {len(cells)} columns where the header has {len(header)}; quote texts with commas"
            yield Row(begin, BadRow(what))
        else:
            yield Row(begin, {name: cell or None for name, cell in zip(header, cells, strict=True)})


def _csv_remedy(error: str) -> str:
    if "new-line character" in error:
        return "there are line ends of CR alone; save the file with LF or CRLF"
    return "check the quotes of the row that begins here"


class _Texts:
    """Lines as text for the CSV reader, which may take many of them for one row."""

    def __init__(self, lines: Iterable[bytes], start: int) -> None:
        self._lines = enumerate(lines, start)
        self._bytes = self._commas = 0

    def begin_row(self) -> None:
        """What follows is another row: its size counts anew."""
        self._bytes = self._commas = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self._bytes += len(line)
        self._commas += line.count(b",")
        if self._bytes > MAX_LINE_BYTES or self._commas > MAX_VALUES:
            most = f"{MAX_LINE_BYTES >> 20} MiB or {MAX_VALUES:,} commas"
            raise BrokenFile(f"the row up to here has more than {most}; look for a quote that is not closed", line=number)
        try:
            return decoded(line)
        except BadRow as bad:
            raise BrokenFile(bad.what, line=number) from bad


def _header(cells: list[str], line: int) -> list[str]:
    if len(cells) > MAX_COLUMNS:
        raise BrokenFile(f"the header has {len(cells):,} columns; keep {MAX_COLUMNS:,} at most", line=line)
    names = [cell.strip().casefold() for cell in cells]
    if names.count("") > 1:
        raise BrokenFile("the header has columns without a name; name them, or take them out", line=line)
    if len(set(names)) != len(names):
        raise BrokenFile("the header names a column twice; name each once", line=line)
    return names
