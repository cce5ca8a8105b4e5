"""What a scorer finds in one output."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """The part of ``Scored`` that the output decides; see there."""

    parsed: str | None
    valid: bool
    correct: bool
    tp: int = 0
    fp: int = 0
    fn: int = 0
    score: float | None = None
    refused: bool = False
