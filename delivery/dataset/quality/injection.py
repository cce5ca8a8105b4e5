"""Text that instructs whoever reads it: the judge of an evaluation, or the model itself.

Patterns, not a model: each says what it found, and a customer who writes "please ignore my last e-mail" is left alone.
What is hidden from the eye (zero-width and tag characters, foreign letters that look Latin, base64) is uncovered first.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from delivery.artifacts import Check
from delivery.dataset.quality.injection_patterns import HIDDEN, PATTERNS
from delivery.dataset.quality.texts import Finding, Texts, concerned
from delivery.dataset.reading.problems import quoted

NAME = "judge_injection"

_NEEDS = {
    need: [place for place, one in enumerate(PATTERNS) if need in one.needs]
    for need in sorted({need for pattern in PATTERNS for need in pattern.needs})
}
"""By each word that a pattern may need, the places of those patterns: most texts have no such word."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufe00-\ufe0f\U000e0000-\U000e01ef]")
_BLANK = re.compile("[\u2800\u3164\u115f\u1160\uffa0]")
_ACCENT = re.compile("[\u0300-\u036f]")
_FLAG_OF_TAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
_TAG = re.compile("[\U000e0000-\U000e007f]")
_TURNED = re.compile("[\u202d\u202e]")
_RUN = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff]{4}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}")
_INSIDE = re.compile("(?<=[A-Za-z])[\u200b-\u200d\u2060-\u2064\ufeff](?=[A-Za-z])")
_MANY_INSIDE = 3
_SHORTEST_WRAPPED = 24
_BASE64 = re.compile(rf"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{{{_SHORTEST_WRAPPED},}}={{0,2}}")

_MIXED = re.compile("[a-z][\u0370-\u04ff]|[\u0370-\u04ff][a-z]")
_LOOK_LATIN = str.maketrans("авеіјкмнорсԛѕтухԝһαβεικνορτυχ", "abeijkmhopcqstyxwhabeiknoptux")


def judge_injection(texts: Texts) -> Check:
    """Rows whose text or answer tries to instruct a judge or the model."""
    found = concerned(
        Finding(text, one.kind, f"{one.kind}: {quoted(one.what, 60)}")
        for text in texts.all
        for one in instructions_in(text.text)
    )
    if not found.rows:
        return Check(NAME, "ok", 0, "no text tries to instruct a judge or the model")
    kinds = ", ".join(f"{rows} {kind}" for kind, rows in found.kinds.items())
    return Check(
        NAME,
        "warn",
        found.rows,
        f"{found.rows} rows hold text that reads like an instruction to a judge or the model ({kinds})",
        "take the rows out, unless such texts are what the model has to deal with",
        found.shown,
    )


class Instruction(NamedTuple):
    """What a text tries, and the words."""

    kind: str
    what: str


def instructions_in(text: str) -> Sequence[Instruction]:
    """Every kind of instruction that a text holds, each once."""
    found: dict[str, str] = {}
    for one in (*_hidden(text), *_matches(text), *_wrapped(text)):
        found.setdefault(one.kind, one.what)
    return [Instruction(kind, what) for kind, what in found.items()]


def _matches(text: str) -> Iterator[Instruction]:
    plain = text.lower() if text.isascii() else _uncovered(text)
    met = [need for need in _NEEDS if need in plain]
    for place in sorted({place for need in met for place in _NEEDS[need]}):
        match = PATTERNS[place].regex.search(plain)
        if match:
            yield Instruction(PATTERNS[place].kind, " ".join(match.group().split()))


def _uncovered(text: str) -> str:
    """A text in lower case as the eye takes it: no invisible characters, no accents, Latin letters in Latin words."""
    visible = _BLANK.sub(" ", _INVISIBLE.sub("", text))
    plain = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFKD", visible))).lower()
    return plain.translate(_LOOK_LATIN) if _MIXED.search(plain) else plain


def _hidden(text: str) -> Iterator[Instruction]:
    if text.isascii() or not _INVISIBLE.search(text):
        return
    plain = _FLAG_OF_TAGS.sub("", text)
    tags = _TAG.findall(plain)
    if tags:
        yield Instruction(HIDDEN, f"tags that spell {''.join(chr(ord(tag) - 0xE0000) for tag in tags)}")
    elif _RUN.search(plain) or len(_INSIDE.findall(plain)) >= _MANY_INSIDE:
        yield Instruction(HIDDEN, "zero-width characters")
    elif _TURNED.search(plain):
        yield Instruction(HIDDEN, "characters that turn the order of letters round")


def _wrapped(text: str) -> Iterator[Instruction]:
    if max(map(len, text.split()), default=0) < _SHORTEST_WRAPPED:
        return
    for run in _BASE64.findall(text):
        try:
            decoded = base64.b64decode(run + "=" * (-len(run) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        yield from (Instruction(one.kind, f"{one.what} (in base64)") for one in _matches(decoded))
