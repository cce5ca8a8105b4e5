"""The texts that checks look into: the turns before the answer and the answer, each once, never the shared prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from delivery.artifacts import Example
from delivery.dataset.places import SHOWN, place_of


class Text(NamedTuple):
    """One text and the rows in which it stands, in file order."""

    text: str
    rows: list[Example]


class Texts:
    """Texts of rows, each once however many rows hold it."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.asked = _distinct((example.asked, example) for example in examples)
        """All turns before the answer, without the system prompt."""
        self.answers = _distinct((text, example) for example in examples for text in _answers(example))

    @property
    def all(self) -> list[Text]:
        """Both."""
        return [*self.asked, *self.answers]


class Finding(NamedTuple):
    """Something about one text, and so about every row that holds it. ``kind`` groups findings."""

    text: Text
    kind: str
    what: str


class Concerned(NamedTuple):
    """Rows with findings: how many, how many by kind, and the first as ``file:line (id): what``."""

    rows: int
    kinds: dict[str, int]
    shown: tuple[str, ...]


def concerned(findings: Iterable[Finding]) -> Concerned:
    """Findings by row. A row counts once in all, and once for each kind."""
    kinds: dict[str, set[str]] = {}
    named: dict[str, Example] = {}
    said: dict[str, dict[str, None]] = {}
    for finding in findings:
        for example in finding.text.rows:
            kinds.setdefault(finding.kind, set()).add(example.id)
            if example.id in named or len(named) < SHOWN:
                named.setdefault(example.id, example)
                said.setdefault(example.id, {})[finding.what] = None
    shown = tuple(f"{place_of(example)}: {'; '.join(said[name])}" for name, example in named.items())
    return Concerned(len(set().union(*kinds.values())), {kind: len(rows) for kind, rows in kinds.items()}, shown)


def _answers(example: Example) -> Sequence[str]:
    return (example.answer, example.rejected) if example.rejected else (example.answer,)


def _distinct(texts: Iterable[tuple[str, Example]]) -> list[Text]:
    found: dict[str, list[Example]] = {}
    for text, example in texts:
        found.setdefault(text, []).append(example)
    return [Text(text, rows) for text, rows in found.items()]
