"""What an output says, by the client's rule: a label, or a JSON object. Whatever the text, a rule ends and never fails."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from delivery.client_config import ParseRule

_DECODER = json.JSONDecoder()
_MOST_OPENINGS = 200


def parse(output: str, *, rule: ParseRule, labels: Sequence[str]) -> str | None:
    """What an output says, or None where the rule finds nothing valid in it.

    Rules, each giving a label in its own spelling:
    ``exact``: the whole output, case and outer punctuation and white space folded.
    ``first_word``: its first word, folded likewise.
    ``first_label``: the label that stands earliest as a whole word; of several at one place, the longest.
    ``json``: the first JSON object in the text (a code fence around it is fine) as canonical JSON; with labels, the
    label that it holds under ``label`` or as its only value.
    """
    if rule == "json":
        return _json_answer(output, tuple(labels))
    if rule == "first_label":
        return _first_label(output, tuple(labels))
    text = output
    if rule == "first_word":
        words = output.split(maxsplit=1)
        text = words[0] if words else ""
    return _label(text, tuple(labels))


def first_json_object(text: str) -> dict[str, Any] | None:
    """The first JSON object that a text holds; None where there is none or where it breaks off before its end."""
    start = text.find("{")
    for _ in range(_MOST_OPENINGS):
        if start < 0:
            return None
        try:
            _, end = _DECODER.raw_decode(text, start)
            found = orjson.loads(text[start:end])
            return found if isinstance(found, dict) else None
        except json.JSONDecodeError as error:
            # An object cut off at the end must not be replaced by a smaller one inside it.
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
                return None
        except (ValueError, RecursionError):
            pass
        start = text.find("{", start + 1)
    return None


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Where a pattern matches last, of matches that do not overlap."""
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _json_answer(output: str, labels: tuple[str, ...]) -> str | None:
    found = first_json_object(output)
    if found is None:
        return None
    if not labels:
        return canonical_json(found)
    value = next(iter(found.values())) if len(found) == 1 else found.get("label")
    return _label(value, labels) if isinstance(value, str) else None


def _label(text: str, labels: tuple[str, ...]) -> str | None:
    plain, stripped = _label_table(labels)
    key = text.strip().casefold()
    return plain.get(key) or stripped.get(strip_outer(key))


def strip_outer(text: str) -> str:
    """The text without white space, punctuation and symbols around it."""
    start, end = 0, len(text)
    while start < end and _is_outer(text[start]):
        start += 1
    while end > start and _is_outer(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_outer(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] in "PS"


@lru_cache(maxsize=16)
def _label_table(labels: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    plain = {label.strip().casefold(): label for label in labels}
    by_stripped: dict[str, list[str]] = {}
    for label in labels:
        by_stripped.setdefault(strip_outer(label.casefold()), []).append(label)
    # "C" and "C++" differ by punctuation alone: then only the exact spelling counts.
    return plain, {key: found[0] for key, found in by_stripped.items() if len(found) == 1 and key}


def _first_label(output: str, labels: tuple[str, ...]) -> str | None:
    pattern, plain = _label_pattern(labels)
    found = pattern.search(output.casefold())
    return plain[found.group()] if found else None


@lru_cache(maxsize=16)
def _label_pattern(labels: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    plain = {label.strip().casefold(): label for label in labels}
    longest_first = sorted(plain, key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)"), plain
