"""What a chart shows, apart from how it is drawn. All text is already in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Role = Literal["candidate", "baseline", "other"]


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """A dot with its whisker, in per cent; ``text`` is both in writing. A ``hollow`` dot is a stand-in."""

    label: str
    text: str
    value: float
    low: float
    high: float
    role: Role
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class IntervalChart:
    """Systems on one metric, each with its 95 % interval."""

    kind: ClassVar[str] = "interval"
    rows: tuple[IntervalRow, ...]
    x_title: str


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through (x, y) points; a ``marked`` one shows its points."""

    label: str
    points: tuple[tuple[float, float], ...]
    role: Role
    marked: bool = False


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over a common axis. ``logarithmic`` sets both axes; ``marker`` is an x worth naming, in range."""

    kind: ClassVar[str] = "line"
    lines: tuple[Line, ...]
    x_title: str
    y_title: str
    logarithmic: bool = False
    money: bool = False
    marker: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A named bar made of parts laid end to end; ``text`` is the whole in writing."""

    label: str
    parts: tuple[float, ...]
    text: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars from one line on, the longest part first by convention. ``parts`` names what each part is, in order."""

    kind: ClassVar[str] = "bar"
    bars: tuple[Bar, ...]
    parts: tuple[str, ...]
    x_title: str


@dataclass(frozen=True, slots=True)
class GridCell:
    """How often ``row`` met ``column``; ``share`` (0 to 1) is of the row and gives the shade."""

    row: str
    column: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class GridChart:
    """Counts in a table of shaded cells."""

    kind: ClassVar[str] = "grid"
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[GridCell, ...]
    row_title: str
    column_title: str


Chart = IntervalChart | LineChart | BarChart | GridChart
