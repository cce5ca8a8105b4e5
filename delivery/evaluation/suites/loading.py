"""Suites from files: ``evals/<name>/suite.yaml`` and the samples beside it, one JSON object a line::

    {"id": "sum-7", "input": "What is 17 + 25?", "expected": "42", "scorer": "qa", "reference": {"numeric": true}}

The workspace's own suites come before those that ship.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import Field, ValidationError, field_validator, model_validator

from delivery.artifacts import JUDGED, Message, Sample, Scorer, Suite, SuiteKind, sha256_json
from delivery.client_config import ParseRule, Vertical
from delivery.documents import Section, describe, read_yaml
from delivery.errors import ConfigError
from delivery.evaluation.scoring.choices import LETTERS
from delivery.evaluation.scoring.parsing import first_json_object
from delivery.evaluation.scoring.questions import is_readable
from delivery.evaluation.scoring.scorers import schema_validator
from delivery.evaluation.suites.freezing import frozen
from delivery.evaluation.suites.references import checked_reference, with_options
from delivery.settings import Workspace, bundled

NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")


PublicReader = Literal[
    "mmlu_pro", "ifeval", "gsm8k", "rpbench_character", "rpbench_scene", "alpaca_eval", "arena_hard"
]  # fmt: skip


class PublicSource(Section):
    """A benchmark that measures the same: ``public.public_suite(reader, path)`` reads its own file."""

    reader: PublicReader
    where: str = ""
    """Where its owner offers the file."""


class SuiteFile(Section):
    """A whole ``suite.yaml``."""

    name: str
    kind: SuiteKind
    vertical: Vertical | None = None
    description: str = Field(min_length=1)
    samples: str = Field(default="samples.jsonl", min_length=1)
    system_prompt: str = ""
    scorer: Scorer
    parse: ParseRule = "exact"
    labels: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    cluster_key: str | None = None
    slices: tuple[str, ...] = ()
    judge: dict[str, Any] | None = None
    """What the suite demands of its judge: a ``rubric``, and rates."""
    licence: str = Field(min_length=1)
    public_source: tuple[PublicSource, ...] = ()

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({label.strip().casefold() for label in value}) != len(value):
            raise ValueError("labels must differ by more than case")
        return value

    @model_validator(mode="after")
    def _scorer_has_what_it_needs(self) -> SuiteFile:
        if self.scorer == "classification" and len(self.labels) < 2:
            raise ValueError("labels: a classification needs a list of at least two")
        if self.scorer == "extraction" and not (self.json_schema or {}).get("properties"):
            raise ValueError("schema: an extraction needs a JSON Schema with properties")
        if self.scorer in JUDGED and not (self.judge or {}).get("rubric"):
            raise ValueError(f"judge: {self.scorer} needs a rubric that says what is judged")
        return self


class Turn(Section):
    """A message of a sample."""

    role: Literal["system", "user", "assistant"]
    content: str


class Line(Section):
    """One sample as it stands in a file."""

    id: str = Field(min_length=1)
    input: str = ""
    messages: tuple[Turn, ...] = ()
    expected: str = ""
    scorer: Scorer | None = None
    reference: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, str] = Field(default_factory=dict)


class Place(NamedTuple):
    """Where a sample stands."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"


def load_suite(name: str, workspace: Workspace) -> Suite:
    """A suite by its name: the workspace's own, else the one that ships.

    Raises:
        ConfigError: no such suite, or a file of it is wrong; names file, line and key.
    """
    return read_suite(find_suite(name, workspace))


def list_suites(workspace: Workspace) -> tuple[str, ...]:
    """The names of all suites there are, the workspace's own and those that ship."""
    found = {path.parent.name for folder in _folders(workspace) for path in folder.glob("*/suite.yaml")}
    return tuple(sorted(name for name in found if NAME.fullmatch(name)))


def find_suite(name: str, workspace: Workspace) -> Path:
    """The folder of a suite. Raises ConfigError where there is none of that name."""
    if NAME.fullmatch(name):
        for folder in _folders(workspace):
            if (folder / name / "suite.yaml").is_file():
                return folder / name
    known = ", ".join(list_suites(workspace)) or "none"
    raise ConfigError(f"evaluation.suites: there is no suite {name!r} in {workspace.evals} or shipped (there are: {known})")


def read_suite_file(folder: Path) -> SuiteFile:
    """The ``suite.yaml`` of a folder.

    Raises:
        ConfigError: it is missing or wrong; names file and key.
    """
    path = folder / "suite.yaml"
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold keys and values")
    try:
        found = SuiteFile.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error).removeprefix('(top level): ')}") from error
    if found.name != folder.name:
        raise ConfigError(f"{path}: name: is {found.name!r}, but the folder is named {folder.name!r}")
    return found


def read_suite(folder: Path) -> Suite:
    """The suite that lies in a folder; its slices are the metadata keys that ``suite.yaml`` names.

    Raises:
        ConfigError: a file is missing or wrong; names file, line and key.
    """
    about = read_suite_file(folder)
    return suite_of_lines(about, read_lines(folder / about.samples), where=folder / "suite.yaml")


def suite_of_lines(about: SuiteFile, lines: Iterable[tuple[Place, Line]], *, where: Path) -> Suite:
    """A suite from the lines of its samples; ``where`` stands for what ``about`` says.

    Raises:
        ConfigError: there is no line, or one is wrong, or none has a metadata key that ``about`` names.
    """
    reader = _Reader(about, where)
    samples: dict[str, Sample] = {}
    places: dict[str, Place] = {}
    for place, line in lines:
        if line.id in samples:
            raise ConfigError(f"{place}: id: {line.id!r} stands at {places[line.id]} already; rename one")
        samples[line.id], places[line.id] = reader.sample(line, place), place
    if not samples:
        raise ConfigError(f"{where}: there is not one sample; write one JSON object a line")
    for key in about.slices:
        if not any(key in sample.slices for sample in samples.values()):
            raise ConfigError(f"{where}: slices: no sample has the metadata {key!r}; correct the key")
    if about.cluster_key and not any(sample.cluster for sample in samples.values()):
        raise ConfigError(f"{where}: cluster_key: no sample has the metadata {about.cluster_key!r}; correct the key")
    suite = Suite(
        name=about.name,
        kind=about.kind,
        scorer=about.scorer,
        parse=about.parse,
        samples=tuple(samples.values()),
        labels=about.labels,
        json_schema=about.json_schema,
        sha256="",
    )
    return frozen(suite, judge=about.judge)


def sample_sha256(messages: Sequence[Message], reference: dict[str, Any]) -> str:
    """Hash of what a system is asked: every turn but the system's, and what a role play is made of."""
    asked: list[Any] = [[one.role, one.content] for one in messages if one.role != "system"]
    if "turns" in reference:
        asked.append([reference["persona"], reference["scene"], reference["turns"]])
    return sha256_json(asked)


class _Reader:
    """From lines to samples, under one ``suite.yaml``."""

    def __init__(self, about: SuiteFile, path: Path) -> None:
        self.about, self.path = about, path
        self._validator = schema_validator(about.json_schema, where=f"{path}: schema") if about.json_schema else None
        self._labels = {label.strip().casefold(): label for label in about.labels}

    def sample(self, line: Line, place: Place) -> Sample:
        scorer = line.scorer or self.about.scorer
        if (scorer in JUDGED) != (self.about.scorer in JUDGED):
            raise ConfigError(
                f"{place}: scorer: {scorer} cannot stand in a suite of {self.about.scorer}: one of them is judged"
            )
        try:
            reference = checked_reference(scorer, line.reference)
            expected = self._expected(scorer, line, reference)
            messages = self._messages(scorer, line, reference)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from error
        return Sample(
            id=line.id,
            messages=messages,
            expected=expected,
            input_sha256=sample_sha256(messages, reference),
            slices={key: line.metadata[key] for key in self.about.slices if key in line.metadata},
            cluster=line.metadata.get(self.about.cluster_key, "") if self.about.cluster_key else "",
            scorer=line.scorer if line.scorer != self.about.scorer else None,
            reference=reference,
        )

    def _messages(self, scorer: Scorer, line: Line, reference: dict[str, Any]) -> tuple[Message, ...]:
        turns = [Message(turn.role, turn.content) for turn in line.messages]
        if line.input.strip():
            if turns:
                raise ValueError("input: stands beside messages; keep one of them")
            turns = [Message("user", line.input)]
        if scorer == "role_play":
            if turns:
                raise ValueError("input: a role play has none; what the user says stands in reference.turns")
        elif not turns or turns[-1].role != "user":
            raise ValueError("input: is missing; give a text, or messages that end with the user's")
        if scorer == "choice":
            turns[-1] = Message("user", with_options(turns[-1].content, reference["options"]))
        if self.about.system_prompt and not any(turn.role == "system" for turn in turns):
            turns.insert(0, Message("system", self.about.system_prompt))
        return tuple(turns)

    def _expected(self, scorer: Scorer, line: Line, reference: dict[str, Any]) -> str:
        expected = line.expected
        if scorer in ("choice", "preference"):
            letters = LETTERS[: len(reference["options"])]
            if len(expected) != 1 or expected not in letters:
                raise ValueError(f"expected: {expected!r} is no letter from {letters[0]} to {letters[-1]}")
        elif scorer == "classification":
            label = self._labels.get(expected.strip().casefold())
            if label is None:
                raise ValueError(f"expected: {expected[:80]!r} is not among labels of {self.path.name}")
            return label
        elif scorer == "extraction":
            self._check_object(expected)
        elif scorer == "qa":
            _check_answers(expected, reference)
        elif scorer in ("instructions", "role_play") and expected:
            raise ValueError(f"expected: {scorer} has none; leave it empty")
        return expected

    def _check_object(self, expected: str) -> None:
        found = first_json_object(expected)
        if found is None:
            raise ValueError("expected: must be the text of a JSON object")
        if self._validator is None:
            raise ValueError(f"scorer: an extraction needs schema in {self.path.name}")
        problem = next(iter(self._validator.iter_errors(found)), None)
        if problem is not None:
            raise ValueError(f"expected: is not valid under schema ({problem.message})")


def _check_answers(expected: str, reference: dict[str, Any]) -> None:
    for key, text in [("expected", expected), *(("reference.answers", text) for text in reference["answers"])]:
        if not is_readable(text, numeric=reference["numeric"]):
            raise ValueError(f"{key}: {text[:80]!r} is no {'number' if reference['numeric'] else 'answer'}")


def read_lines(path: Path) -> Iterator[tuple[Place, Line]]:
    """The samples of a file, one JSON object a line.

    Raises:
        ConfigError: the file is missing, or a line is no sample; names line and key.
    """
    for place, document in json_lines(path):
        yield place, checked_line(document, place)


def json_lines(path: Path) -> Iterator[tuple[Place, Any]]:
    """What stands in the lines of a file that are not empty. Raises ConfigError where one is not JSON."""
    for number, raw in enumerate(read_bytes(path).splitlines(), start=1):
        if raw.strip():
            try:
                yield Place(path, number), orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                raise ConfigError(
                    f"{path}:{number}: is not JSON ({error.msg}, column {error.colno}); one object a line"
                ) from error


def read_bytes(path: Path) -> bytes:
    """A file's content. Raises ConfigError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); correct the name") from error


def checked_line(document: Any, place: Place) -> Line:
    """A sample from what stands at a place. Raises ConfigError where it is none; names the key."""
    try:
        return Line.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{place}: {describe(error)}") from error


def _folders(workspace: Workspace) -> tuple[Path, Path]:
    return workspace.evals, bundled("evals")
