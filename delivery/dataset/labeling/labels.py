"""The labels that come back: the queue's CSV or JSONL with ``label`` and ``labeler`` filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

import orjson

from delivery.client_config import UseCase
from delivery.dataset.labeling.pool import TEXT_KEYS
from delivery.dataset.labeling.spreadsheet import read_table
from delivery.dataset.reading.answers import Check, answer_check
from delivery.dataset.reading.problems import BadRow, BrokenFile, Problems, quoted
from delivery.dataset.reading.rows import open_rows
from delivery.dataset.reading.sources import read_lines
from delivery.dataset.reading.stores import shown

NEEDED = ("id", "label")
WANTED = ("id", "text", "label", "labeler")


@dataclass(frozen=True, slots=True)
class Label:
    """What one labeler said of one row. ``text`` is the row's as the file shows it, empty where it shows none."""

    id: str
    text: str
    answer: str
    labeler: str
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Labels:
    """All labels of a round in file order. ``pending`` holds the ids of rows that came back without one."""

    given: tuple[Label, ...]
    pending: tuple[str, ...]


class _Cells(NamedTuple):
    """A row of a label file before its answer is checked."""

    id: str
    text: str
    answer: str
    labeler: str


def read_labels(paths: Sequence[str], use_case: UseCase | None) -> Labels:
    """Read label files, each a CSV as spreadsheets leave it (see ``read_table``) or JSON lines.

    A row without a label is not done yet. A row without a labeler is its file's, so that two people may each send a
    copy of their own. A labeler who says the same of a row twice has said it once.

    Raises:
        RowProblems: a label that the use case does not know, a row without an id, or a labeler who says two things of
            one row; names the first by file and line, and holds up to 20.
        ClientDataError: a file is missing or cannot be read.
        ConfigError: the use case's schema is no JSON Schema.
    """
    check, problems = answer_check(use_case), Problems()
    said: dict[tuple[str, str], Label] = {}
    ids: dict[str, None] = {}
    for path in paths:
        source = shown(path)
        try:
            for line, content in _rows(path):
                try:
                    found = _label(content, check, source=source, line=line)
                    ids[found.id] = None
                    if found.answer:
                        refuse_two_minds(found, said.setdefault((found.labeler, found.id), found))
                except BadRow as bad:
                    problems.add(source, line, bad)
        except BrokenFile as broken:
            problems.add(source, broken.line, broken)
    problems.raise_if_any()
    done = {label.id for label in said.values()}
    return Labels(tuple(said.values()), tuple(name for name in ids if name not in done))


def holds_labels(path: str) -> bool:
    """Whether a file is a queue that comes back (it names labelers), not labeled rows of another origin.

    Raises:
        ClientDataError: it is missing or cannot be read.
    """
    try:
        first = next((line for line in read_lines(path) if line.strip()), b"")
    except BrokenFile:
        # Whoever reads the rows says what is wrong with them.
        return False
    if first.lstrip().startswith(b"{"):
        try:
            return "labeler" in orjson.loads(first)
        except orjson.JSONDecodeError:
            return False
    return b"labeler" in first.lower()


def canonical(answer: str) -> str:
    """An answer as answers are compared: JSON in one spelling, other text with its white space folded."""
    found = as_object(answer)
    return " ".join(answer.split()) if found is None else orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def as_object(answer: str) -> dict[str, Any] | None:
    """The JSON object that an answer is, or None."""
    try:
        found = orjson.loads(answer) if answer.lstrip().startswith("{") else None
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


class _Row(NamedTuple):
    line: int
    content: _Cells | BadRow


def _rows(path: str) -> Iterator[_Row]:
    first = next((line for line in read_lines(path) if line.strip()), b"")
    if not first.lstrip().startswith((b"{", b"[")):
        for line, cells in read_table(path, WANTED, needed=NEEDED):
            yield _Row(line, cells if isinstance(cells, BadRow) else _Cells(*(cells[name].strip() for name in WANTED)))
        return
    for line, content in open_rows(read_lines(path)).rows:
        try:
            yield _Row(line, content if isinstance(content, BadRow) else _cells(content))
        except BadRow as bad:
            yield _Row(line, bad)


def _cells(row: Mapping[str, Any]) -> _Cells:
    text = next((row[key] for key in TEXT_KEYS if isinstance(row.get(key), str)), "")
    label = row.get("label")
    if isinstance(label, dict):
        label = orjson.dumps(label).decode()
    return _Cells(_string(row.get("id"), "id"), text, _string(label, "label"), _string(row.get("labeler"), "labeler"))


def _string(value: Any, field: str) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadRow(f"is a {type(value).__name__}; write a string", field=field)
    return value.strip()


def _label(content: _Cells | BadRow, check: Check, *, source: str, line: int) -> Label:
    if isinstance(content, BadRow):
        raise content
    if not content.id:
        raise BadRow("is missing or empty; every row keeps the id that the queue gave it", field="id")
    answer = check(content.answer, "label") if content.answer else ""
    return Label(content.id, content.text, answer, content.labeler or PurePath(source).stem, source, line)


def refuse_two_minds(label: Label, first: Label) -> None:
    """A labeler may repeat a label, not change it.

    Raises:
        BadRow: two answers of one labeler to one row; names both places.
    """
    if canonical(label.answer) == canonical(first.answer):
        return
    what = f"{quoted(label.labeler)} says {quoted(label.answer)} of {quoted(label.id)}, but {quoted(first.answer)} at"
    remedy = "keep one, or name the labelers"
    raise BadRow(f"{what} {first.source}:{first.line}; {remedy}", field="label")
