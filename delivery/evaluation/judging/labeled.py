"""Pairs of answers of which the better one is known: those that come with the software, or a client's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from delivery.documents import Section, describe
from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation.judging.judge import Pair
from delivery.evaluation.judging.results import LabeledPair

SHIPPED = Path(__file__).with_name("labeled_pairs.jsonl")
"""48 pairs written for this project. In most, one answer is plainly worse for a stated ``kind`` of reason, and in half of
them the worse answer is the longer one. They are easier than real pairs: a judge that fails on them fails."""


class _Line(Section):
    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    a: str
    b: str
    gold: Literal["a", "b"]
    kind: str = ""


def labeled_pairs(path: Path = SHIPPED) -> tuple[LabeledPair, ...]:
    """The pairs of a file of JSON lines, each ``{"id", "question", "a", "b", "gold": "a" | "b"}``.

    Raises:
        ConfigError: the file cannot be read.
        ClientDataError: a line is of another shape, or an id stands twice; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    found: dict[str, LabeledPair] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = _Line.model_validate_json(line)
        except ValidationError as error:
            raise ClientDataError(f"{path}:{number}: {describe(error)}; correct the line") from error
        if row.id in found:
            raise ClientDataError(f"{path}:{number}: id: {row.id!r} stands twice; rename one")
        found[row.id] = LabeledPair(Pair(row.id, row.question, row.a, row.b), row.gold)
    return tuple(found.values())
