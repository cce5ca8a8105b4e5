"""A judge's reply, read to the letter. What is not of the form asked for is no verdict, and none is guessed from it."""

from __future__ import annotations

import json
from itertools import product
from typing import Any, Literal, NamedTuple

Place = Literal["first", "second", "tie"]
_PLACES: tuple[Place, ...] = ("first", "second", "tie")
Met = tuple[bool | None, ...]
"""Whether a reply meets each point of a rubric; None where a point does not apply to it."""


class PairwiseReply(NamedTuple):
    """Which of two answers, in the order shown, a judge prefers, and why in its own words."""

    better: Place
    reason: str


def read_pairwise(text: str) -> PairwiseReply | None:
    """The verdict of ``{"reason": ..., "better": "first" | "second" | "tie"}``; ``reason`` may be missing."""
    found = _only_object(text)
    if found is None or not set(found) <= {"reason", "better"}:
        return None
    reason = found.get("reason", "")
    better = next((place for place in _PLACES if place == found.get("better")), None)
    return PairwiseReply(better, reason) if better is not None and isinstance(reason, str) else None


def read_rubric(text: str, *, points: int) -> Met | None:
    """The values of ``{"met": [true, false, null, ...]}``, exactly one for each point."""
    found = _only_object(text)
    met = found.get("met") if found is not None and set(found) == {"met"} else None
    if not isinstance(met, list) or len(met) != points or not all(one is None or isinstance(one, bool) for one in met):
        return None
    return tuple(met)


def pairwise_forms() -> tuple[str, ...]:
    """Every pairwise verdict, for an endpoint that can hold a model to one of them."""
    return tuple(json.dumps({"better": place}) for place in _PLACES)


def rubric_forms(points: int) -> tuple[str, ...]:
    """Every rubric verdict, likewise."""
    return tuple(json.dumps({"met": met}) for met in product((True, False, None), repeat=points))


def _only_object(text: str) -> dict[str, Any] | None:
    """The JSON object that the whole text is; None for anything else, such as a key given twice."""
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
