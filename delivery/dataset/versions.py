"""The versions of a client's rows: content-addressed, never changed, each row stored once.

Under one folder per client::

    segments/<sha256>.jsonl.gz    rows that came with one version, a row a line, named by the hash of the file's rows
    manifests/<id>.jsonl.gz       the rows of one version in order: hash, id, input, answer, side, file and line
    versions/<id>.json            what the version is, and what is new in it; written last
    sides/<id>.json.gz            sides that were decided with it, for rows that had none

A version is named by the hash of its rows, their sides, and what was found at intake. Everything is written under another
name and renamed, so a killed process leaves nothing half-written, and whoever runs again writes the same.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from filelock import FileLock

from delivery.artifacts import (
    DataDiff,
    DataVersion,
    Example,
    Intake,
    LabeledDataset,
    Split,
    Splits,
    from_json,
    sha256_json,
    to_json,
    write_atomic,
)
from delivery.client_config import SplitRule
from delivery.dataset.reading.writing import from_chat_row, to_chat_row
from delivery.dataset.splits import side_names
from delivery.errors import ConfigError, IntegrityError

LEFT_OUT = "left_out"


class StoredRows(NamedTuple):
    """The rows of a version, and by side."""

    dataset: LabeledDataset
    splits: Splits


class _Entry(NamedTuple):
    """A row's line in a manifest."""

    row: str
    id: str
    input: str
    answer: str
    side: str
    source: int
    line: int


class RowStore:
    """All versions of one client's rows. ``folder`` need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commit(self, dataset: LabeledDataset, splits: Splits, intake: Intake | None = None) -> DataVersion:
        """Store rows and sides as a version, or find the version that they are already.

        ``intake`` says what was found in the rows before they were changed, and belongs to the version.
        """
        side_of = {e.id: side for side, rows in _by_side(splits).items() for e in rows}
        entries = []
        sources = {source: place for place, source in enumerate(dict.fromkeys(e.source for e in dataset.examples))}
        for example in dataset.examples:
            name = hashlib.sha256(_body(example)).hexdigest()
            answer = hashlib.sha256(example.answer.encode()).hexdigest()[:16]
            side = side_of.get(example.id, LEFT_OUT)
            place = (sources[example.source], example.line)
            entries.append(_Entry(name, example.id, example.input_key[:32], answer, side, *place))
        content = _content(entries)
        found = intake or Intake()
        version_id = sha256_json([content, asdict(found)])[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / ".lock"):
            if self._header(version_id).is_file():
                return self.version(version_id)
            version = self._describe(version_id, dataset, splits, entries)
            write_atomic(self._header(version_id), to_json(replace(version, content=content, intake=found)))
            return self.version(version_id)

    def decide(self, version: DataVersion, rule: SplitRule) -> None:
        """Remember the sides of a version's rows for all versions to come. A side that is known already stays."""
        with FileLock(self._folder / ".lock"):
            path = self._sides(version.id)
            if path.is_file():
                return
            known = self.decided()
            new: dict[str, Split] = {}
            for side, rows in _by_side(self.read(version.id).splits).items():
                for example in rows:
                    new.update({name: side for name in side_names(example, rule) if name not in known and name not in new})
            write_atomic(path, gzip.compress(orjson.dumps(new), compresslevel=1, mtime=0))

    def decided(self) -> dict[str, Split]:
        """The side of every row that was ever decided, by the names that ``side_names`` gives."""
        found: dict[str, Split] = {}
        for version in self.deciding():
            for name, side in orjson.loads(gzip.decompress(self._sides(version).read_bytes())).items():
                found.setdefault(name, side)
        return found

    def deciding(self) -> list[str]:
        """Ids of the versions whose sides were decided, the oldest first."""
        return [version.id for version in self.versions() if self._sides(version.id).is_file()]

    def versions(self) -> tuple[DataVersion, ...]:
        """All versions, the oldest first."""
        found = [from_json(DataVersion, path.read_bytes()) for path in (self._folder / "versions").glob("*.json")]
        return tuple(sorted(found, key=lambda version: version.number))

    def version(self, version_id: str) -> DataVersion:
        """One version.

        Raises:
            ConfigError: there is none of this id.
        """
        path = self._header(version_id)
        if not path.is_file():
            raise ConfigError(f"there is no data version {version_id!r}; 'delivery data versions' lists them")
        return from_json(DataVersion, path.read_bytes())

    def numbered(self, number: int) -> DataVersion:
        """One version by its number.

        Raises:
            ConfigError: there is none of this number.
        """
        found = next((version for version in self.versions() if version.number == number), None)
        if found is None:
            known = ", ".join(str(version.number) for version in self.versions()) or "none yet"
            raise ConfigError(f"there is no data version {number} (versions: {known}); 'delivery data versions' lists them")
        return found

    def read(self, version_id: str) -> StoredRows:
        """The rows of a version, in the order in which they were read.

        Raises:
            ConfigError: there is no such version.
            IntegrityError: a file is not what its name or the version says.
        """
        version = self.version(version_id)
        entries, more = self._manifest(version)
        wanted = {entry.row for entry in entries}
        rows = {name: example for segment in version.segments for name, example in self._segment(segment, wanted)}
        if len(rows) < len(wanted):
            raise IntegrityError(
                f"{self._folder}: version {version_id} lacks {len(wanted) - len(rows)} rows; restore the folder"
            )
        examples = [replace(rows[e.row], source=version.sources[e.source], line=e.line) for e in entries]
        sides: dict[str, list[Example]] = {"train": [], "validation": [], "test": [], LEFT_OUT: []}
        for entry, example in zip(entries, examples, strict=True):
            sides[entry.side].append(example)
        return StoredRows(
            LabeledDataset(tuple(examples), version.fingerprint, version.format, tuple(more["repeated"])),
            Splits(
                train=tuple(sides["train"]),
                validation=tuple(sides["validation"]),
                test=tuple(sides["test"]),
                left_out=tuple(example.id for example in sides[LEFT_OUT]),
                near=tuple((one, other) for one, other in more["near"]),
                held_out={name: side for name, side in self.decided().items() if side != "train"},
            ),
        )

    def diff(self, older: str, newer: str) -> DataDiff:
        """What happened between two versions, row by row: a row is known by its id.

        Raises:
            ConfigError: there is no such version.
        """
        return _diff(*({e.id: e for e in self._manifest(self.version(name))[0]} for name in (older, newer)))

    def _describe(self, version_id: str, dataset: LabeledDataset, splits: Splits, entries: list[_Entry]) -> DataVersion:
        """Write segment and manifest, and say what the version is."""
        earlier = self.versions()
        parent = earlier[-1] if earlier else None
        before = {entry.id: entry for entry in self._manifest(parent)[0]} if parent else {}
        stored = self._stored(earlier)
        new = [e for e, entry in zip(dataset.examples, entries, strict=True) if entry.row not in stored]
        segment = self._write_segment(new) if new else None
        self._write_lines(
            self._manifest_path(version_id),
            [orjson.dumps({"repeated": dataset.repeated, "near": splits.near}), *(orjson.dumps(tuple(e)) for e in entries)],
        )
        used = {stored[entry.row] for entry in entries if entry.row in stored} | ({segment} if segment else set())
        changes = _diff(before, {entry.id: entry for entry in entries})
        return DataVersion(
            id=version_id,
            number=parent.number + 1 if parent else 1,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            parent=parent.id if parent else None,
            fingerprint=dataset.fingerprint,
            format=dataset.format,
            rows=len(entries),
            sides={**splits.counts, LEFT_OUT: len(splits.left_out)},
            changes={kind: len(ids) for kind, ids in changes.as_dict().items()},
            sources=tuple(dict.fromkeys(example.source for example in dataset.examples)),
            segments=tuple(sorted(used)),
        )

    def _stored(self, versions: Iterable[DataVersion]) -> dict[str, str]:
        """Rows that are stored, and the segment of each."""
        segments = {segment for version in versions for segment in version.segments}
        return {name: segment for segment in segments for name, _ in self._segment_lines(segment)}

    def _write_segment(self, rows: list[Example]) -> str:
        digest = hashlib.sha256()
        for row in rows:
            digest.update(_body(row) + b"\n")
        self._write_lines(self._folder / "segments" / f"{digest.hexdigest()}.jsonl.gz", map(_body, rows))
        return digest.hexdigest()

    def _write_lines(self, path: Path, lines: Iterable[bytes]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with partial.open("wb") as raw:
                with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as stream:
                    for line in lines:
                        stream.write(line + b"\n")
                raw.flush()
                os.fsync(raw.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _segment_lines(self, segment: str) -> Iterator[tuple[str, bytes]]:
        for line in _lines(self._folder / "segments" / f"{segment}.jsonl.gz"):
            yield hashlib.sha256(line).hexdigest(), line

    def _segment(self, segment: str, wanted: set[str]) -> Iterator[tuple[str, Example]]:
        # A row is named by its content, so a changed one is no longer found under its name.
        for name, line in self._segment_lines(segment):
            if name in wanted:
                yield name, from_chat_row(orjson.loads(line), source=segment)

    def _manifest(self, version: DataVersion) -> tuple[list[_Entry], dict[str, Any]]:
        lines = _lines(self._manifest_path(version.id))
        more = orjson.loads(next(lines, b"{}"))
        entries = [_Entry(*orjson.loads(line)) for line in lines]
        if _content(entries) != version.content:
            raise IntegrityError(f"{self._manifest_path(version.id)}: is not the manifest of its version; restore the folder")
        return entries, more

    def _manifest_path(self, version_id: str) -> Path:
        return self._folder / "manifests" / f"{version_id}.jsonl.gz"

    def _sides(self, version_id: str) -> Path:
        return self._folder / "sides" / f"{version_id}.json.gz"

    def _header(self, version_id: str) -> Path:
        return self._folder / "versions" / f"{version_id}.json"


def _content(entries: Iterable[_Entry]) -> str:
    """Hash of rows and their sides, in whatever order they stand."""
    return hashlib.sha256("".join(sorted(f"{e.row}{e.side}" for e in entries)).encode()).hexdigest()


def _by_side(splits: Splits) -> dict[Split, tuple[Example, ...]]:
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


def _diff(before: Mapping[str, _Entry], after: Mapping[str, _Entry]) -> DataDiff:
    both = [(before[name], entry) for name, entry in after.items() if name in before]
    return DataDiff(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        relabeled=tuple(new.id for old, new in both if old.input == new.input and old.answer != new.answer),
        edited=tuple(new.id for old, new in both if old.input != new.input),
    )


def _body(example: Example) -> bytes:
    """A row as it is stored: all that it says, and nothing about where it stood."""
    return orjson.dumps(to_chat_row(example), option=orjson.OPT_SORT_KEYS)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as stream:
            for line in stream:
                yield line.rstrip(b"\n")
    except FileNotFoundError as error:
        raise IntegrityError(f"{path}: is missing; restore the folder, or remove it for a clean start") from error
    except (OSError, EOFError, zlib.error) as error:
        raise IntegrityError(f"{path}: cannot be read ({error}); restore the folder") from error
