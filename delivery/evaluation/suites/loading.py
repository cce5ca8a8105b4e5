"""Suites from files: ``evals/<name>/suite.yaml`` and the samples beside it, one JSON object a line::

    {"id": "sum-7", "input": "What is 17 + 25?", "expected": "42", "scorer": "qa", "reference": {"numeric": true}}

The workspace's own suites come before those that ship.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from pydantic import Field, ValidationError, field_validator, model_validator

from delivery.artifacts import Message, Sample, Scorer, Suite, SuiteKind, sha256_json
from delivery.client_config import ParseRule, Section, Vertical, describe, read_yaml
from delivery.errors import ConfigError
from delivery.evaluation.scoring.choices import LETTERS
from delivery.evaluation.scoring.parsing import first_json_object
from delivery.evaluation.scoring.questions import is_readable
from delivery.evaluation.scoring.scorers import JUDGED, schema_validator
from delivery.evaluation.suites.freezing import frozen
from delivery.evaluation.suites.references import checked_reference, with_options
from delivery.settings import Workspace, bundled

NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")


class Judge(Section):
    """How a judged suite is judged. Below ``min_kappa`` against people's labels a judged claim is withheld."""

    rubric: str = Field(min_length=1)
    min_kappa: float = Field(default=0.4, ge=-1, le=1)
    max_canary_rate: float = Field(default=0.1, ge=0, le=1)
    """The share of samples that a constant answer may win before a judged claim is withheld."""


class PublicSource(Section):
    """How the same is run on a benchmark's own file: a reader of ``public``, and where its owner offers the file."""

    reader: str = Field(min_length=1)
    where: str = ""
    note: str = ""


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
    judge: Judge | None = None
    licence: str = Field(min_length=1)
    public_source: str | PublicSource | tuple[PublicSource, ...] | None = None

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
        if self.scorer in JUDGED and self.judge is None:
            raise ValueError(f"judge: {self.scorer} needs one, with a rubric that says what is judged")
        return self


class _Turn(Section):
    role: str = Field(pattern="^(system|user|assistant)$")
    content: str


class _Line(Section):
    id: str = Field(min_length=1)
    input: str = ""
    messages: tuple[_Turn, ...] = ()
    expected: str = ""
    scorer: Scorer | None = None
    reference: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, str] = Field(default_factory=dict)


class _Place(NamedTuple):
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
    path = folder / about.samples
    reader = _Reader(about, folder / "suite.yaml")
    samples: dict[str, Sample] = {}
    lines: dict[str, int] = {}
    for place, line in _lines(path):
        if line.id in samples:
            raise ConfigError(f"{place}: id: {line.id!r} stands in line {lines[line.id]} already; rename one")
        samples[line.id], lines[line.id] = reader.sample(line, place), place.number
    if not samples:
        raise ConfigError(f"{path}: holds no sample; write one JSON object a line")
    for key in about.slices:
        if not any(key in sample.slices for sample in samples.values()):
            raise ConfigError(f"{reader.path}: slices: no sample has the metadata {key!r}; correct the key")
    if about.cluster_key and not any(sample.cluster for sample in samples.values()):
        raise ConfigError(f"{reader.path}: cluster_key: no sample has the metadata {about.cluster_key!r}; correct the key")
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
    return frozen(suite, judge=about.judge.model_dump(mode="json") if about.judge else None)


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

    def sample(self, line: _Line, place: _Place) -> Sample:
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

    def _messages(self, scorer: Scorer, line: _Line, reference: dict[str, Any]) -> tuple[Message, ...]:
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

    def _expected(self, scorer: Scorer, line: _Line, reference: dict[str, Any]) -> str:
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


def _lines(path: Path) -> Iterator[tuple[_Place, _Line]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; suite.yaml names it under samples") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    for number, raw in enumerate(content.splitlines(), start=1):
        if not raw.strip():
            continue
        place = _Place(path, number)
        try:
            yield place, _Line.model_validate(orjson.loads(raw))
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{place}: is not JSON ({error.msg} at column {error.colno}); one object a line") from error
        except ValidationError as error:
            raise ConfigError(f"{place}: {describe(error)}") from error


def _folders(workspace: Workspace) -> tuple[Path, Path]:
    return workspace.evals, bundled("evals")
