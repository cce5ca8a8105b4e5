"""Text that was damaged on its way: read in a wrong character set, escaped twice, or with letters lost."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ftfy import fix_encoding
from ftfy.badness import badness, is_bad

from delivery.artifacts import Check
from delivery.dataset.quality.texts import Finding, Text, Texts, concerned

NAME = "encoding"
SURELY_BAD = 2
"""Places in one text at which ftfy sees a wrong reading; a single one has to be undone to count."""

# A letter of several bytes that is read byte by byte gives a first character, and a second one that is a sign or one of few
# letters, as the second byte is below 0xC0. Sound text has few such pairs, and without one ftfy need not look.
_SIGN = "\x80-\xbf\u02c6-\u02dd\u2010-\u25ff"
_PAIR = re.compile(
    f"[\xc0-\u024f\ufb01\ufb02{_SIGN}][{_SIGN}ŠšŒœŽžŸƒĄąŁłŚśŞşŤťŹźĽľŻż]|[{_SIGN}][\xc0-\xff]"
    f"|[ВГДЕРС][{_SIGN}\u0402-\u040f\u0452-\u045f]"
)
_STRANGE = re.compile("[\x80-\u052f\u2010-\u25ff\ufb01\ufb02\ufffd]{2,8}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PRIVATE = re.compile("[\ue000-\uf8ff\ufeff]")
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_TAG = re.compile(
    r"</?(?:a|b|blockquote|body|br|center|div|em|font|h[1-6]|head|hr|html|i|img|li|link|meta|ol|p|script|span|strong|style"
    r"|table|tbody|td|th|thead|tr|u|ul)(?:\s[^<>]{0,500})?/?>",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}")


class _Kind(NamedTuple):
    name: str
    find: Callable[[str], str]
    """The damaged characters of a text, or nothing."""
    came_about: str
    remedy: str


def encoding(texts: Texts) -> Check:
    """Rows whose text or answer holds characters that nobody wrote.

    Garbled characters are recognised by ftfy (Speer 2019, "ftfy", doi:10.5281/zenodo.2591652).
    """
    found = concerned(finding for text in texts.all for finding in _findings(text))
    if not found.rows:
        return Check(NAME, "ok", 0, "no text shows damage by a wrong character set or by escaping")
    kinds = [kind for kind in KINDS if kind.name in found.kinds]
    parts = ", ".join(f"{found.kinds[kind.name]} with {kind.name}" for kind in kinds)
    causes = "; ".join(f"{kind.name}: {kind.came_about}" for kind in kinds)
    remedy = "; ".join(dict.fromkeys(kind.remedy for kind in kinds))
    return Check(NAME, "warn", found.rows, f"{found.rows} rows hold damaged text: {parts} ({causes})", remedy, found.shown)


def _findings(text: Text) -> Iterator[Finding]:
    for kind in KINDS:
        characters = kind.find(text.text)
        if characters:
            yield Finding(text, kind.name, f"{kind.name} {characters!a}")


def _garbled(text: str) -> str:
    if text.isascii():
        return ""
    pair = _PAIR.search(text)
    if pair is None or not is_bad(text) or (badness(text) < SURELY_BAD and fix_encoding(text) == text):
        return ""
    return next((found.group() for found in _STRANGE.finditer(text) if is_bad(found.group())), pair.group())


def _lost(text: str) -> str:
    return "\ufffd" if "\ufffd" in text else ""


def _control(text: str) -> str:
    if text.isprintable():
        return ""
    found = _CONTROL.search(text) or (None if text.isascii() else _PRIVATE.search(text))
    return found.group() if found else ""


def _entity(text: str) -> str:
    if "&" not in text:
        return ""
    return next((found.group() for found in _ENTITY.finditer(text) if html.unescape(found.group()) != found.group()), "")


def _tag(text: str) -> str:
    found = _TAG.search(text) if "<" in text else None
    return found.group().split()[0].rstrip(">") + ">" if found else ""


def _escape(text: str) -> str:
    # In JSON, such as the answers of an extraction, an escape is how a letter is written.
    found = _ESCAPE.search(text) if "\\" in text and text.lstrip()[:1] not in ("{", "[") else None
    return found.group() if found else ""


KINDS = (
    _Kind(
        "garbled letters",
        _garbled,
        "UTF-8 was opened as Windows-1252 or another set of 256 characters",
        "export the rows again as UTF-8, or repair them (ftfy undoes the wrong reading)",
    ),
    _Kind(
        "lost letters",
        _lost,
        "bytes that did not fit were replaced by U+FFFD, and cannot be brought back",
        "export the rows again from where they were whole",
    ),
    _Kind(
        "control characters",
        _control,
        "binary data, a terminal or a PDF left them behind",
        "remove the control characters",
    ),
    _Kind(
        "HTML entities",
        _entity,
        "the text was taken from a web page as it is stored, or escaped twice",
        "take HTML off, unless the rows are about HTML",
    ),
    _Kind(
        "HTML tags",
        _tag,
        "the text was taken from a web page or a rich-text field",
        "take HTML off, unless the rows are about HTML",
    ),
    _Kind(
        "escape sequences",
        _escape,
        "the text was encoded once more often than decoded",
        "decode the escapes, unless the rows are about program code",
    ),
)
