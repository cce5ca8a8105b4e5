"""Files of labeled rows into one ``LabeledDataset``, or every problem by file and line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from delivery.artifacts import Example, LabeledDataset, Message, input_key_of, sha256_json
from delivery.client_config import UseCase
from delivery.dataset.reading.answers import answer_check
from delivery.dataset.reading.fields import row_id, row_metadata, row_split, weight_of
from delivery.dataset.reading.formats import Reader, reader_of_first, refuse_other
from delivery.dataset.reading.problems import BadRow, Problems, RowProblems, quoted
from delivery.dataset.reading.rows import Container
from delivery.dataset.reading.stores import shown
from delivery.dataset.reading.taking import take_rows
from delivery.errors import ClientDataError

COMMON_KEYS = frozenset({"id", "split", "weight", "metadata", "delivery_key"})
"""Of every format. The last is ours (``writing``), and never believed from a client's file."""
MAX_CHARACTERS = 500_000
"""Of one row's texts: more than a model is trained on in one piece, and a bound on what folding a text can take."""
DIGEST = 32
_REMEMBERED = 1_000
"""How many layouts of rows, each of so many characters at most, and how many system messages are kept to be shared."""


class Reading(NamedTuple):
    """What could be read: the good rows, and what is wrong with the others."""

    dataset: LabeledDataset
    problems: tuple[str, ...]
    """The first ones in file order, each ``file:line: field: what; remedy``."""
    total: int
    """All problems, counted."""


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
    reading = read(paths, use_case=use_case)
    if reading.total:
        raise RowProblems(reading.problems, reading.total)
    return reading.dataset


def read(paths: Sequence[str], *, use_case: UseCase | None = None) -> Reading:
    """``load`` for those who want the good rows although others are wrong.

    Raises:
        ClientDataError: a file is missing, unreadable or holds no row.
        ConfigError: the use case's schema is no JSON Schema.
        RetryableError: a remote store did not answer.
    """
    problems, rows = Problems(), _Rows(use_case)
    for path in paths:
        _read_file(path, rows, problems)
    if not rows.examples and not problems.total:
        raise ClientDataError("data.path: names no file; give labeled rows")
    return Reading(rows.finish(), problems.kept, problems.total)


def _read_file(path: str, rows: _Rows, problems: Problems) -> None:
    source = shown(path)
    reader: Reader | None = None

    def take(row: dict[str, Any], container: Container, line: int) -> None:
        nonlocal reader
        if reader is None:
            reader = reader_of_first(row, container, line)
            rows.begin(reader, container, source)
        rows.add(row, line)

    take_rows(path, take, problems, wanted="labeled rows")


class _Rows:
    """The good rows of all files. Word for word repeats are left out; an id given twice with other content is an error."""

    def __init__(self, use_case: UseCase | None) -> None:
        self.examples: list[Example] = []
        self._repeated: list[str] = []
        self._formats: dict[str, None] = {}
        # 32 bytes a row, end to end: as objects they would take more than twice that.
        self._contents = bytearray()
        self._by_name: dict[str, int] = {}
        self._prompt = use_case.system_prompt if use_case is not None else None
        self._check = answer_check(use_case)
        # Nearly every row of a file has the same keys and the same system message.
        self._further: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._system: dict[str, Message] = {}

    def begin(self, reader: Reader, container: Container, source: str) -> None:
        """What follows is of this format, from this file."""
        self._reader, self._container, self._source = reader, container, source
        self._format = f"{reader.shape}-{container}"
        self._further.clear()

    def add(self, row: dict[str, Any], line: int) -> None:
        """Take a row in.

        Raises:
            BadRow: why it cannot be used.
        """
        further = self._further.get(tuple(row))
        if further is None:
            further = self._keys_beside(row)
        labeled = self._reader.read(row)
        beside = len(labeled.answer) + len(labeled.rejected) + len(labeled.tools)
        if sum([len(m.content) for m in labeled.messages], beside) > MAX_CHARACTERS:
            raise BadRow(f"has more than {MAX_CHARACTERS:,} characters of text; shorten it, or take it out")
        messages = self._with_system(labeled.messages, labeled.tools)
        own = row_id(row.get("id"))
        answer = self._check(labeled.answer, labeled.answer_field)
        split = row_split(row.get("split"))
        weight = weight_of(row.get("weight"))
        if weight != 1.0:
            messages = tuple([replace(m, weight=weight_of(weight * m.weight)) if m.weight else m for m in messages])
        if labeled.weight != 1.0:
            weight = weight_of(weight * labeled.weight)
        metadata = row_metadata(row, further)
        key = input_key_of(messages)
        # Everything that the row says (its own id, too), and nothing about where it stood.
        said = [own, [m.said for m in messages], answer, split, weight, metadata]
        content = bytes.fromhex(sha256_json([*said, labeled.rejected] if labeled.rejected else said))
        name = self._name(own, key, content)
        if name is not None:
            self.examples.append(
                Example(name, messages, answer, split, weight, metadata, self._source, line, labeled.rejected, key)
            )
            self._formats[self._format] = None

    def finish(self) -> LabeledDataset:
        """The rows, in their order; nothing can be added afterwards."""
        self._by_name.clear()
        digest = hashlib.sha256()
        for content in sorted([self._content(row) for row in range(len(self.examples))]):
            digest.update(content.hex().encode())
        return LabeledDataset(
            examples=tuple(self.examples),
            fingerprint=digest.hexdigest(),
            format=" + ".join(self._formats),
            repeated=tuple(self._repeated),
        )

    def _content(self, row: int) -> bytes:
        return bytes(self._contents[row * DIGEST : (row + 1) * DIGEST])

    def _keys_beside(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        refuse_other(row, self._reader, self._container)
        known = COMMON_KEYS | self._reader.keys | self._reader.further
        further = tuple(key for key in row if key not in known)
        if len(self._further) < _REMEMBERED and sum(map(len, row)) < _REMEMBERED:
            self._further[tuple(row)] = further
        return further

    def _with_system(self, messages: tuple[Message, ...], tools: str) -> tuple[Message, ...]:
        """The messages under the row's own system message or the use case's prompt, with the row's tools at its end."""
        own = messages[0].content if messages[0].role == "system" else None
        parts = [part for part in (self._prompt if own is None else own, tools) if part]
        if not parts:
            return messages
        content = "\n\n".join(parts)
        system = self._system.get(content)
        if system is None:
            system = Message("system", content)
            if len(self._system) < _REMEMBERED:
                self._system[content] = system
        return (system, *messages) if own is None else (system, *messages[1:])

    def _name(self, own: str, key: str, content: bytes) -> str | None:
        """What the row is called from now on; None for a repeat of an earlier one."""
        name = own or key[:16]
        first = self._by_name.setdefault(name, len(self.examples))
        if not own and first < len(self.examples) and self._content(first) != content:
            # The same input with another answer, or in other case or spacing: a row of its own, on the same side.
            name = f"{name}-{content[:4].hex()}"
            first = self._by_name.setdefault(name, len(self.examples))
        if first == len(self.examples):
            self._contents += content
            return name
        earlier = self.examples[first]
        if self._content(first) != content:
            what = f"{quoted(name)} is also the id of {earlier.source}:{earlier.line}, which says something else"
            raise BadRow(f"{what}; give each row its own", field="id")
        self._repeated.append(earlier.id)
        return None
