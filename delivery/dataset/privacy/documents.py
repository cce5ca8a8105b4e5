"""The texts inside a JSON document, so that they can be changed one by one and the document stays one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

_LITERAL = re.compile(
    r'"(?P<string>[^"\\]*+(?:\\.[^"\\]*+)*+)"(?P<key>\s*:)?|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?)', re.DOTALL
)
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_.\-]+")


class Literal(NamedTuple):
    """A string or a number of a document: where it stands (a string without its quotes) and what it says.

    ``key`` is the name it is given under, as words; empty for a name itself.
    """

    start: int
    end: int
    text: str
    key: str
    is_number: bool

    @property
    def is_verbatim(self) -> bool:
        """Whether it stands in the document as it reads, without escapes."""
        return self.end - self.start == len(self.text)


def is_document(text: str) -> bool:
    """Whether a text is a JSON object or array."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        orjson.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def literals(document: str) -> Iterator[Literal]:
    """The strings and numbers of a document, in order."""
    key = ""
    for match in _LITERAL.finditer(document):
        if match["number"] is not None:
            yield Literal(match.start(), match.end(), match.group(), key, is_number=True)
            continue
        text = orjson.loads(match.group().removesuffix(match["key"] or "")) if "\\" in match["string"] else match["string"]
        is_key = match["key"] is not None
        yield Literal(match.start("string"), match.end("string"), text, "" if is_key else key, is_number=False)
        if is_key:
            key = " ".join(_BETWEEN_WORDS.sub(" ", text[:60]).split())


def escaped(text: str, *, like: str) -> str:
    """A text as it stands between the quotes of a document; other alphabets are escaped where ``like`` has none."""
    return json.dumps(text, ensure_ascii=like.isascii())[1:-1]
