"""Identifiers out of texts, with a placeholder that is the same wherever the same value stood, and back in again.

A row that said ``Call jane@example.com`` says ``Call [EMAIL_K3TQ7ZW2AB]``. The ten characters are a keyed hash of the value:
without the client's key they neither tell it nor can be found by trying values out.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from delivery.dataset.privacy import phones
from delivery.dataset.privacy.documents import Literal, escaped, is_document, literals
from delivery.dataset.privacy.identifiers import NO_PATTERNS, SECRETS, check_patterns, find, is_plain, may_hold
from delivery.dataset.privacy.spans import PLACEHOLDER, Found, Places
from delivery.dataset.privacy.vault import Vault

SHORTEST_REPEATED = 6
"""A value that was found once is also replaced where nothing but its letters gives it away, if it has this many."""

# Kinds whose spelling is part of the value.
_TO_THE_LETTER = SECRETS
_WITHOUT_SEPARATORS = re.compile(r"[\W_]+")


class Redacted(NamedTuple):
    """A text without identifiers and secrets, and what it held.

    Places in ``found`` are those of the text as it was given; inside a JSON document, a value that is written with escapes
    has the place of the whole string that it stands in.
    """

    text: str
    found: tuple[Found, ...]


class Redactor:
    """Replaces identifiers and secrets by placeholders under one client's key.

    Placeholders have 50 bits, so among 100,000 values two share one with a probability of 5 in a million.
    """

    def __init__(self, key: bytes, patterns: Mapping[str, str] = NO_PATTERNS) -> None:
        """``patterns`` are the client's own identifiers. Raises ConfigError where one is no regular expression."""
        if len(key) < 16:
            raise ValueError("a key has at least 16 bytes")
        check_patterns(patterns)
        self._key = key
        self._patterns = dict(patterns)
        self._placeholder = functools.lru_cache(maxsize=65536)(self._compute)

    def redact(self, text: str, *, known: Iterable[Found] = ()) -> Redacted:
        """Replace what is found, and every further place of a value that is found, or ``known`` from the same row.

        A text that was redacted before stays as it is. A JSON document stays one: its strings are redacted one by one, each
        with its name as a word nearby, and a number that identifies somebody becomes a string.

        Raises:
            ConfigError: a pattern of the client does not come to an end on this text.
        """
        values = {found.value: found for found in known if len(found.value) >= SHORTEST_REPEATED}
        if not (self._patterns or values or may_hold(text)):
            return Redacted(text, ())
        if is_document(text):
            return self._document(text, values)
        return self._plain(text, values, cue="")

    def placeholder(self, found: Found) -> str:
        """What stands for a value: the same for all spellings of one value, in all texts."""
        return self._placeholder(found.kind, found.value)

    def _compute(self, kind: str, value: str) -> str:
        content = f"{kind}\0{normal_form(kind, value)}".encode("utf-8", "surrogatepass")
        code = base64.b32encode(hmac.digest(self._key, content, hashlib.sha256)[:7])[:10]
        return f"[{kind.upper()}_{code.decode()}]"

    def _plain(self, text: str, values: dict[str, Found], *, cue: str) -> Redacted:
        """What a placeholder replaces may end a number that it touched, so a changed text is read again until it is clean."""
        edits = _Edits(text)
        while True:
            current = edits.text
            shift = len(cue)
            found = [
                f._replace(start=f.start - shift, end=f.end - shift)
                for f in find(cue + current, patterns=self._patterns)
                if f.start >= shift
            ]
            values = values | {f.value: f for f in found if len(f.value) >= SHORTEST_REPEATED}
            found += _repeats(current, values, found)
            if not found:
                return Redacted(current, tuple(edits.found))
            edits.apply(found, [self.placeholder(f) for f in found])

    def _document(self, text: str, values: dict[str, Found]) -> Redacted:
        everything = list(literals(text))
        inner = [self._literal(literal, values) for literal in everything]
        # A value that only one string gives away is replaced in the others, too.
        learned = values | {f.value: f for one in inner for f in one.found if len(f.value) >= SHORTEST_REPEATED}
        if len(learned) > len(values):
            inner = [self._literal(literal, learned) for literal in everything]
        parts: list[str] = []
        found: list[Found] = []
        end = 0
        for literal, one in zip(everything, inner, strict=True):
            if one.found:
                found += [_placed(f, literal) for f in one.found]
                new = f'"{one.text}"' if literal.is_number else escaped(one.text, like=text)
                parts += [text[end : literal.start], new]
                end = literal.end
        return Redacted("".join([*parts, text[end:]]), tuple(found))

    def _literal(self, literal: Literal, values: dict[str, Found]) -> Redacted:
        # A name such as "password" makes a value of what else is none, but of a plain word it makes nothing.
        if not self._patterns and not values and is_plain(literal.text):
            return Redacted(literal.text, ())
        cue = f"{literal.key}: " if literal.key else ""
        inner = self._plain(literal.text, values, cue=cue)
        if literal.is_number and not PLACEHOLDER.fullmatch(inner.text):
            return Redacted(literal.text, ())
        return inner


class _Edits:
    """A text with some places replaced, which remembers where they were in the first place."""

    def __init__(self, text: str) -> None:
        self.text = self._original = text
        self.found: list[Found] = []
        self._placeholders: list[str] = []

    def apply(self, found: list[Found], placeholders: list[str]) -> None:
        """Replace places of the text as it now is."""
        earlier = iter([*zip(self.found, self._placeholders, strict=True)])
        edit, shift = next(earlier, None), 0
        for one, placeholder in sorted(zip(found, placeholders, strict=True), key=_start):
            while edit is not None and edit[0].start + shift < one.start:
                shift += len(edit[1]) - len(edit[0].value)
                edit = next(earlier, None)
            self.found.append(one._replace(start=one.start - shift, end=one.end - shift))
            self._placeholders.append(placeholder)
        in_order = sorted(zip(self.found, self._placeholders, strict=True), key=_start)
        self.found, self._placeholders = [one for one, _ in in_order], [placeholder for _, placeholder in in_order]
        parts, end = [], 0
        for one, placeholder in in_order:
            parts += [self._original[end : one.start], placeholder]
            end = one.end
        self.text = "".join([*parts, self._original[end:]])


def _start(edit: tuple[Found, str]) -> int:
    return edit[0].start


def normal_form(kind: str, value: str) -> str:
    """The one spelling of a value that its placeholder is computed from."""
    if kind in _TO_THE_LETTER:
        return value
    folded = unicodedata.normalize("NFKC", value).casefold()
    if kind == "phone":
        return phones.normal_form(folded)
    if kind == "ip":
        try:
            return ipaddress.ip_address(folded).compressed
        except ValueError:
            return folded
    if kind == "email":
        return folded
    return _WITHOUT_SEPARATORS.sub("", folded) or folded


def restore(text: str, vault: Vault, key: bytes) -> str:
    """Put the values back for the placeholders that the vault knows; others stay.

    Values of one placeholder that were spelled differently come back in the spelling that was kept first. In a JSON document
    values are escaped as they have to be; a number that became a string stays one.

    Raises:
        IntegrityError: the vault was made with another key, or its entry was changed.
    """
    document = is_document(text)

    def value(match: re.Match[str]) -> str:
        known = vault.value(match.group(), key)
        if known is None:
            return match.group()
        return escaped(known, like=text) if document else known

    return PLACEHOLDER.sub(value, text)


def _placed(found: Found, literal: Literal) -> Found:
    if literal.is_verbatim:
        return found._replace(start=found.start + literal.start, end=found.end + literal.start)
    return found._replace(start=literal.start, end=literal.end)


def _repeats(text: str, values: Mapping[str, Found], found: list[Found]) -> list[Found]:
    """Further places of known values, as whole words, outside of what was found and of placeholders."""
    if not values:
        return []
    present = sorted((value for value in values if value in text), key=len, reverse=True)
    repeats: list[Found] = []
    taken = Places()
    for start, end in [*((f.start, f.end) for f in found), *(m.span() for m in PLACEHOLDER.finditer(text) if present)]:
        taken.take(start, end)
    for value in present:
        place = text.find(value)
        while place >= 0:
            end = place + len(value)
            if not (_touches(text, place - 1, place) or _touches(text, end, end - 1)) and taken.take(place, end):
                repeats.append(values[value]._replace(start=place, end=end))
            place = text.find(value, end)
    return repeats


def _touches(text: str, outside: int, inside: int) -> bool:
    """Whether a word goes on beyond a place."""
    return 0 <= outside < len(text) and text[outside].isalnum() and text[inside].isalnum()
