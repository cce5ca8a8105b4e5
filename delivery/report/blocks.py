"""What a page is made of. A page is a headline and sections of blocks, in words and numbers ready to be set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from delivery.report.chart_data import Chart

Tone = Literal["", "good", "bad", "warn"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, a smaller line below, a marker beside it, and the full form where the text is short."""

    text: str
    sub: str = ""
    badge: str = ""
    title: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; numbers are set flush right."""

    label: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names the row."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    items: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or a few."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What must not be overlooked."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True, slots=True)
class Sentences:
    """A list of sentences."""

    kind: ClassVar[str] = "sentences"
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, the text that stands for it, and its caption."""

    kind: ClassVar[str] = "figure"
    chart: Chart
    label: str
    caption: str


@dataclass(frozen=True, slots=True)
class Folded:
    """Detail that opens on demand, and is always open in print."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """What somebody or something said, as it was said."""

    label: str
    text: str
    badge: str = ""
    verdict: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Example:
    """What was asked, and the answers to it side by side."""

    id: str
    asked: str
    quotes: tuple[Quote, ...]


@dataclass(frozen=True, slots=True)
class Examples:
    """A list of samples with their answers."""

    kind: ClassVar[str] = "examples"
    items: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A part of a section."""

    kind: ClassVar[str] = "heading"
    text: str


Block = Table | Facts | Paragraph | Notice | Sentences | Figure | Folded | Examples | Heading


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page; ``id`` is its anchor."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """One of the few numbers of the first screen, never without what it rests on."""

    label: str
    value: str
    interval: str
    details: tuple[str, ...] = ()
    badge: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """What a reader takes away in a minute."""

    verdict: str
    tone: Tone
    reasons: tuple[str, ...]
    warning: str
    numbers: tuple[KeyNumber, ...]
    cost: tuple[str, ...]
    not_shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    headline: Headline
    sections: tuple[Section, ...]
