"""Tables that people fill in with a spreadsheet: written so that no cell is run or reshaped, read as they come back."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from delivery.dataset.reading.problems import BadRow, BrokenFile, quoted
from delivery.dataset.reading.sources import decoded, read_lines

# Besides the ASCII signs, the full-width ones that some spreadsheets take for them.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
DELIMITERS = (",", ";", "\t")

# What a spreadsheet would turn into a number: leading zeros, long digits and ids such as 12e4 would be lost.
_NUMBER = re.compile(r"\s*\d[\d., ]*(?:[eE][+-]?\d+)?\s*")


class TableRow(NamedTuple):
    """One row by the wanted columns (a column that the table lacks is empty), or why it has none."""

    line: int
    content: dict[str, str] | BadRow


def table(columns: Sequence[str], rows: Iterable[Mapping[str, str]], *, numbers: Collection[str] = ()) -> bytes:
    """A CSV (RFC 4180, UTF-8 with the byte-order mark by which spreadsheets recognise it).

    A cell that a spreadsheet would run as a formula or take for a number gets a leading apostrophe, except in the columns
    ``numbers``, whose cells are numbers.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        cells = {column: row.get(column, "") for column in columns}
        writer.writerow([cell if column in numbers else guarded(cell) for column, cell in cells.items()])
    return text.getvalue().encode("utf-8-sig", "replace")


def guarded(value: str) -> str:
    """A cell's text so that a spreadsheet shows it as it is."""
    return f"'{value}" if _needs_guard(value) else value


def unguarded(cell: str) -> str:
    """The text that ``guarded`` was given. An apostrophe that guards nothing belongs to the text and stays."""
    return cell[1:] if cell.startswith("'") and _needs_guard(cell[1:]) else cell


def _needs_guard(value: str) -> bool:
    bare = value.lstrip("'")
    return bare.lstrip(" ").startswith(FORMULA_STARTS) or _NUMBER.fullmatch(bare) is not None


def read_table(path: str, wanted: Sequence[str], *, needed: Sequence[str]) -> Iterator[TableRow]:
    """The rows of a CSV with a header, whatever a spreadsheet did to it.

    Columns may stand in any order among others; they are parted by the first of comma, semicolon and tab under which
    the header names all ``needed`` ones. A first line ``sep=;``, blank rows and empty cells beyond the header are
    passed over; cells that are missing at a row's end are empty. Apostrophes that guard a cell are taken off.

    Raises:
        BrokenFile: no header with the needed columns, a column named twice, quotes that do not close, or not UTF-8.
        ClientDataError, RetryableError: as ``read_lines``.
    """
    lines = _texts(read_lines(path))
    number, header, delimiter = _header(lines, wanted, needed)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begin = number + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = f"is not valid CSV ({error}); check the quotes of the row that begins here"
            raise BrokenFile(what, line=begin) from error
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            yield TableRow(begin, BadRow(f"has more cells than the header's {len(header)}; quote texts with {delimiter!r}"))
            continue
        row = dict.fromkeys(wanted, "")
        row.update((name, unguarded(cell)) for name, cell in zip(header, cells, strict=False) if name in row)
        yield TableRow(begin, row)


class _Header(NamedTuple):
    line: int
    names: list[str]
    delimiter: str


def _header(lines: Iterator[str], wanted: Sequence[str], needed: Sequence[str]) -> _Header:
    for number, line in enumerate(lines, start=1):
        if not line.strip() or re.fullmatch(r"\"?sep=.\"?", line.strip()):
            continue
        for delimiter in DELIMITERS:
            names = _names(line, delimiter)
            if not set(needed) <= set(names):
                continue
            twice = [name for name in wanted if names.count(name) > 1]
            if twice:
                raise BrokenFile(f"the header names {quoted(twice[0])} twice; name each column once", line=number)
            return _Header(number, names, delimiter)
        what = f"the header {quoted(line.strip(), 80)} lacks a column of {', '.join(needed)}; keep the header of the queue"
        raise BrokenFile(what, line=number)
    raise BrokenFile("holds no rows; give the queue with its labels", line=1)


def _names(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
    return [cell.strip().casefold() for cell in cells]


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield decoded(line)
        except BadRow as bad:
            raise BrokenFile(bad.what, line=number) from bad
