"""Files of labeled rows into one ``LabeledDataset``, or every problem by file and line."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import orjson

from delivery.artifacts import Example, LabeledDataset, Message, Split, sha256_json
from delivery.client_config import UseCase
from delivery.dataset.answers import answer_check
from delivery.dataset.formats import Labeled, Reader, recognise
from delivery.dataset.problems import BadRow, BrokenFile, Problems, quoted
from delivery.dataset.rows import Container, open_rows
from delivery.dataset.sources import read_lines, shown
from delivery.errors import ClientDataError

COMMON_KEYS = frozenset({"id", "split", "weight", "metadata"})
SPLITS = ("train", "validation", "test")


def load(paths: Sequence[str], *, use_case: UseCase | None = None) -> LabeledDataset:
    """Read labeled rows from local files or fsspec URLs, in order; formats are told apart by content.

    Rows without a system message get the use case's prompt. A row without an id is named by the hash of its input,
    so that it keeps its side of the split when rows are added, moved or taken out.

    Raises:
        RowProblems: rows are wrong; names the first by file and line, and holds up to 20.
        ClientDataError: a file is missing, unreadable or holds no row.
        ConfigError: the use case's schema is no JSON Schema.
        RetryableError: a remote store did not answer.
    """
    convert = _Converter(use_case)
    problems, collected, formats = Problems(), _Collected(), dict[str, None]()
    for path in paths:
        for read in _read_file(path, convert, problems):
            formats[read.format] = None
            try:
                collected.add(read.example)
            except BadRow as bad:
                problems.add(read.example.source, read.example.line, bad)
    problems.raise_if_any()
    if not collected.examples:
        raise ClientDataError("data.path: names no file; give labeled rows")
    return LabeledDataset(
        examples=tuple(collected.examples),
        fingerprint=hashlib.sha256("".join(sorted(collected.hashes)).encode()).hexdigest(),
        format=" + ".join(formats),
        repeated=tuple(collected.repeated),
    )


class _Read(NamedTuple):
    """A row as read: ``example.id`` is empty where the row brought none."""

    example: Example
    format: str


def _read_file(path: str, convert: _Converter, problems: Problems) -> Iterator[_Read]:
    source = shown(path)
    reader: Reader | None = None
    empty = True
    try:
        container, rows = open_rows(read_lines(path))
        for line, content in rows:
            empty = False
            try:
                if isinstance(content, BadRow):
                    raise content
                reader = reader or _reader_of_first(content, container, line)
                example = convert(content, reader, _Place(container, source, line))
            except BrokenFile:
                raise
            except BadRow as bad:
                problems.add(source, line, bad)
                continue
            yield _Read(example, f"{reader.shape}-{container}")
    except BrokenFile as broken:
        problems.add(source, broken.line, broken)
    else:
        if empty:
            raise ClientDataError(f"{source}: holds no rows; give labeled rows")


def _reader_of_first(row: Mapping[str, Any], container: Container, line: int) -> Reader:
    found = recognise(row, container)
    if found is None:
        keys = quoted(", ".join(row), 80)
        known = '{"messages": [...]} or {"text": ..., "label": ...} a line, or a CSV with the columns text and label'
        raise BrokenFile(f"the format is not recognised from the keys {keys}; give {known}", line=line)
    return found


class _Place(NamedTuple):
    container: Container
    source: str
    line: int


class _Converter:
    """A row of a known format into an ``Example`` of the use case."""

    def __init__(self, use_case: UseCase | None) -> None:
        self._system = Message("system", use_case.system_prompt) if use_case is not None else None
        self._check: Callable[[str, str], str] = answer_check(use_case)

    def __call__(self, row: Mapping[str, Any], reader: Reader, place: _Place) -> Example:
        found = recognise(row, place.container)
        if found is not None and found is not reader:
            raise BadRow(f"is a {found.shape} row in a {reader.shape} file; put each format in a file of its own")
        missing = sorted(reader.keys - row.keys())
        if missing:
            raise BadRow("is missing; every row of this file needs it", field=missing[0])
        labeled: Labeled = reader.read(row)
        messages = labeled.messages
        if self._system is not None and messages[0].role != "system":
            messages = (self._system, *messages)
        return Example(
            id=_id(row.get("id")),
            messages=messages,
            answer=self._check(labeled.answer, labeled.answer_field),
            split=_split(row.get("split")),
            weight=_weight(row.get("weight")),
            metadata=_metadata(row, reader),
            source=place.source,
            line=place.line,
        )


class _Collected:
    """Rows by id. Word for word repeats are left out; an id given twice with other content is an error."""

    def __init__(self) -> None:
        self.examples: list[Example] = []
        self.hashes: list[str] = []
        self.repeated: list[str] = []
        self._seen: dict[str, _Seen] = {}

    def add(self, example: Example) -> None:
        content = _content_sha256(example)
        name = example.id or example.input_key[:16]
        first = self._seen.get(name)
        if not example.id and first is not None and first.content != content:
            # The same input with another answer, or in other case or spacing: a row of its own, on the same side.
            name = f"{name}-{content[:8]}"
            first = self._seen.get(name)
        if first is None:
            self._seen[name] = _Seen(content, example.source, example.line)
            self.examples.append(example if example.id else replace(example, id=name))
            self.hashes.append(content)
        elif first.content == content:
            self.repeated.append(name)
        else:
            what = f"{quoted(name)} is also the id of {first.source}:{first.line}, which says something else"
            raise BadRow(f"{what}; give each row its own", field="id")


class _Seen(NamedTuple):
    content: str
    source: str
    line: int


def _content_sha256(example: Example) -> str:
    """Hash of everything that a row says (its own id, too), and of nothing about where it stood."""
    turns = [[m.role, m.content] for m in example.messages]
    return sha256_json([example.id, turns, example.answer, example.split, example.weight, example.metadata])


def _id(value: Any) -> str:
    if value is None:
        return ""
    name = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > 200:
        raise BadRow(f"{quoted(value)} is no id; give up to 200 printable characters or a whole number", field="id")
    return name


def _split(value: Any) -> Split | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in SPLITS:
        raise BadRow(f"{quoted(value)} is not one of {', '.join(SPLITS)}", field="split")
    return cast(Split, value)


def _weight(value: Any) -> float:
    if value is None:
        return 1.0
    try:
        weight = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        weight = math.nan
    if not math.isfinite(weight) or weight < 0:
        raise BadRow(f"{quoted(value)} is no finite number of at least 0", field="weight")
    return weight


def _metadata(row: Mapping[str, Any], reader: Reader) -> dict[str, str]:
    """The row's metadata as strings, and every further plain field of the row beside it."""
    given = row.get("metadata")
    if given is not None and not isinstance(given, dict):
        raise BadRow(f"is a {type(given).__name__}; write an object of names and values", field="metadata")
    further = {key: value for key, value in row.items() if key not in COMMON_KEYS and key not in reader.keys}
    for key, value in further.items():
        if isinstance(value, dict | list):
            raise BadRow("unknown key with nested values; put it under metadata, or take it out", field=quoted(key))
    return dict(_as_text({**further, **(given or {})}.items()))


def _as_text(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    for key, value in items:
        if value is not None:
            yield key, value if isinstance(value, str) else orjson.dumps(value).decode()
