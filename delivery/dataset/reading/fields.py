"""What the fields of a row have to be, whatever its format."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, cast

import orjson

from delivery.artifacts import Split
from delivery.dataset.reading.problems import BadRow, quoted
from delivery.dataset.reading.rows import MAX_COLUMNS, parse_json

SPLITS = ("train", "validation", "test")
EXACT_BELOW = 2.0**63
"""Whole numbers beyond it are read as floats and lose digits."""

_NO_METADATA: dict[str, str] = {}


def is_visible(text: str) -> bool:
    """Whether there is something to see: not white space, control, format and unassigned characters alone."""
    if text[:1].isalnum():
        return True
    return any(unicodedata.category(character)[0] not in "CZ" for character in text)


def visible_text(value: Any, field: str) -> str:
    """A value that has to be a string with something to see in it.

    Raises:
        BadRow: it is missing, of another type, or blank (white space, control and zero-width characters alone).
    """
    if value is None:
        raise BadRow("is missing or empty; fill it in, or take the row out", field=field)
    if not isinstance(value, str):
        raise BadRow(f"is a {type(value).__name__}; write a string", field=field)
    if not is_visible(value):
        raise BadRow("is blank; fill it in, or take the row out", field=field)
    refuse_nul(value, field)
    return value


def refuse_nul(text: str, field: str) -> None:
    """Refuse a text that programs in C would end early, and that PostgreSQL cannot hold.

    Raises:
        BadRow: it holds U+0000.
    """
    if "\0" in text:
        raise BadRow("holds a NUL character; take it out", field=field)


def row_id(value: Any) -> str:
    """The row's own name; empty where it has none.

    Raises:
        BadRow: it is no printable string of 1 to 200 characters, and no whole number.
    """
    if value is None:
        return ""
    name = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(name, str) or len(name) > 200 or not name.strip() or not name.isprintable():
        raise BadRow(f"{quoted(value)} is no id; give up to 200 printable characters or a whole number", field="id")
    return name


def row_split(value: Any) -> Split | None:
    """The side that the row brings; None where the split decides.

    Raises:
        BadRow: there is no such side.
    """
    if value is None:
        return None
    if not isinstance(value, str) or value not in SPLITS:
        what = f"{quoted(value)} is not one of {', '.join(SPLITS)}; correct it, or leave it out"
        raise BadRow(what, field="split")
    return cast(Split, value)


def weight_of(value: Any, field: str = "weight") -> float:
    """How much a row counts in training; 1 where nothing is said.

    Raises:
        BadRow: it is no finite number of at least 0.
    """
    if value is None:
        return 1.0
    try:
        weight = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        weight = math.nan
    if not math.isfinite(weight) or weight < 0:
        raise BadRow(f"{quoted(value)} is no finite number of at least 0; correct it, or leave it out", field=field)
    return weight


def row_metadata(row: Mapping[str, Any], further: Collection[str]) -> dict[str, str]:
    """The row's metadata as strings, and beside it the plain fields that ``further`` names.

    Raises:
        BadRow: metadata is no object, or a value cannot be kept as text.
    """
    given = row.get("metadata")
    if given is None and not further:
        return _NO_METADATA
    if given is not None and not isinstance(given, dict):
        raise BadRow(f"is a {type(given).__name__}; write an object of names and values", field="metadata")
    if len(further) + len(given or ()) > MAX_COLUMNS:
        raise BadRow(f"the row has more than {MAX_COLUMNS:,} fields; keep what somebody will look at", field="metadata")
    texts: dict[str, str] = {}
    for key in further:
        if isinstance(row[key], dict | list):
            raise BadRow("unknown key with nested values; put it under metadata, or take it out", field=quoted(key))
        _add_text(texts, key, row[key], field=quoted(key))
    for key, value in (given or {}).items():
        _add_text(texts, key, value, field=f"metadata.{key if key.isidentifier() and len(key) <= 40 else quoted(key)}")
    return texts


def _add_text(texts: dict[str, str], key: str, value: Any, *, field: str) -> None:
    if value is not None:
        text = value if isinstance(value, str) else canonical(value, field, sort=False)
        refuse_nul(text, field)
        refuse_nul(key, field)
        texts[key] = text


def canonical(value: Any, field: str, *, sort: bool = True) -> str:
    """A value as JSON in one way only (sorted keys, no spaces), so that equal values are equal texts.

    Raises:
        BadRow: it is nested too deeply, or holds a whole number that was not read to its last digit.
    """
    open_values = [value]
    for current in open_values:
        if isinstance(current, dict):
            open_values.extend(current.values())
        elif isinstance(current, list):
            open_values.extend(current)
        elif isinstance(current, float) and abs(current) >= EXACT_BELOW:
            raise BadRow(f"{quoted(current)} is a number too long to keep exactly; write it as a string", field=field)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort else None).decode()
    except TypeError as error:
        raise BadRow("is nested too deeply; make it flatter", field=field) from error


def json_field(value: str, field: str) -> Any:
    """What a field holds that is JSON in a string.

    Raises:
        BadRow: it is not JSON.
    """
    try:
        return parse_json(value)
    except BadRow as bad:
        inside = f"{bad.field} " if bad.field else ""
        raise BadRow(f"{inside}{bad.what}; correct the JSON in this string", field=field) from bad
