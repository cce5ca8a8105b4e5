"""What opens something to whoever holds it: keys and tokens by their known beginnings, private keys, given passwords."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from delivery.dataset.privacy.spans import Span, words


class Token(NamedTuple):
    """A kind of key. The character ``sign`` and one of ``marks`` stand in each, so a text without them is not searched."""

    kind: str
    sign: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]


def _token(kind: str, marks: str, pattern: str, *, sign: str) -> Token:
    return Token(kind, sign, tuple(marks.split()), re.compile(rf"(?<![A-Za-z0-9_])(?:{pattern})"))


_PEM = r"(?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
# A key that was cut off has no end line: then whatever looks like its body belongs to it.
_PEM_BODY = r"(?:\s|\\[nr]|[A-Za-z0-9+/=]{20,}|(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n]{0,80})*+"

TOKENS = (
    _token("private_key", "PRIVATE", rf"-----BEGIN {_PEM}(?:(?:(?!-----)[\s\S])*+-----END {_PEM}|{_PEM_BODY})", sign="-"),
    _token("jwt", "eyJ", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", sign="."),
    _token("anthropic_key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{20,}", sign="-"),
    _token("openai_key", "sk-", r"sk-(?!ant-)[A-Za-z0-9_-]{20,}", sign="-"),
    _token("aws_access_key", "AKIA ASIA", r"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])", sign="A"),
    _token(
        "github_token",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255})",
        sign="_",
    ),
    _token("gitlab_token", "glpat-", r"glpat-[A-Za-z0-9_-]{16,}", sign="-"),
    _token("slack_token", "xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,}", sign="-"),
    _token("slack_webhook", "hooks.slack.com", r"(?:https://)?hooks\.slack\.com/services/[A-Za-z0-9/]{20,}", sign="."),
    _token("google_api_key", "AIza", r"AIza[A-Za-z0-9_-]{30,}", sign="A"),
    _token(
        "stripe_key", "_live_ _test_ whsec_", r"(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{20,})", sign="_"
    ),
    _token("huggingface_token", "hf_", r"hf_[A-Za-z0-9]{20,}", sign="_"),
    _token("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", sign="."),
    _token("npm_token", "npm_", r"npm_[A-Za-z0-9]{30,}", sign="_"),
    _token("pypi_token", "pypi-", r"pypi-[A-Za-z0-9_-]{40,}", sign="-"),
)

_BY_SIGN = {sign: [(mark, t) for t in TOKENS if t.sign == sign for mark in t.marks] for sign in "-_.A"}

_LONG_TOKEN = re.compile(r"(?<![A-Za-z0-9/+=_.@\-])[A-Za-z0-9_\-]{24,128}(?![A-Za-z0-9/+=_@\-])")
_LONG_BASE64 = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s/:@\"'<>]{0,64}:([^\s/@\"'<>]{1,128})@")
_BEARER = re.compile(r"(?i)\bbearer[ :]{1,2}([A-Za-z0-9._~+/\-]{20,}=*)")
_PASSWORD = words("password passwd passwort passphrase passcode pwd kennwort passe contraseña wachtwoord credential")
_SECRET = words("secret token key")
_CUES = (*sorted(_PASSWORD), *sorted(_SECRET))
_KEY_OF = re.compile(r"(?:secret|api|access|auth|private|account|encryption|signing|license)[_ \-]?$")
_ASSIGNMENT = re.compile(
    r"s?[\"']?(?: (?:for|to|on|of)(?: [\w.\-]{1,15}){1,4}?)?"
    r"\s{0,3}(?P<by>=>|:=|[:=]|\bis now\b|\bis\b|\bwas\b)\s{0,3}[\"'`]?(?P<value>[^\s\"'`,;<>{}|]{6,128})",
    re.IGNORECASE,
)
_AFTER_VALUE = ".,;:)]"
_NO_VALUE = re.compile(r"[\[{(<%*]|\$[({]|x{4,}|\.{3}|https?://", re.IGNORECASE)


def credentials(text: str, folded: str) -> Iterator[Span]:
    """Secrets in a text. A value counts as one for what it begins with, or for a word before it and its own disorder.

    ``folded`` is the text in lower case, place by place.
    """
    for token in _marked(text):
        for match in token.pattern.finditer(text):
            if token.kind not in ("openai_key", "huggingface_token") or _is_mixed(match.group()):
                yield Span(token.kind, match.start(), match.end())
    yield from _by_place(text, folded)
    said = [word for word in _CUES if word in folded]
    for word in said:
        yield from _assigned(text, folded, word)
    if said:
        yield from _long_tokens(text, folded)


def _by_place(text: str, folded: str) -> Iterator[Span]:
    """Secrets that stand where only secrets stand: before the @ of a URL, after Bearer, near an AWS key."""
    if "://" in text and "@" in text:
        for match in _IN_URL.finditer(text):
            if not _NO_VALUE.match(match[1]):
                yield Span("password", match.start(1), match.end(1))
    if "bearer" in folded:
        for match in _BEARER.finditer(text):
            if _is_mixed(match[1]):
                yield Span("secret", match.start(1), match.end(1))
    if "secret" in folded or "aws" in folded or "AKIA" in text:
        yield from _aws_secrets(text, folded)


def may_hold_secret(text: str) -> bool:
    """Whether a text has the mark of any key, or a word that a secret is given after: never wrong in saying no."""
    folded = text.lower()
    return bool(_marked(text)) or "bearer" in folded or any(word in folded for word in _CUES)


def _marked(text: str) -> list[Token]:
    """The kinds of keys that a text has the marks of."""
    found = [token for sign, pairs in _BY_SIGN.items() if sign in text for mark, token in pairs if mark in text]
    return list(dict.fromkeys(found))


def _aws_secrets(text: str, folded: str) -> Iterator[Span]:
    for match in _LONG_BASE64.finditer(text):
        value, near = match.group(), folded[max(0, match.start() - 80) : match.start()]
        if any(word in near for word in ("secret", "aws", "akia")) and _is_mixed(value) and value.lower() != value:
            yield Span("aws_secret_key", match.start(), match.end())


def _long_tokens(text: str, folded: str) -> Iterator[Span]:
    """Long strings of great disorder, where the words shortly before speak of a secret without an equals sign."""
    for match in _LONG_TOKEN.finditer(text):
        value, near = match.group(), folded[max(0, match.start() - 40) : match.start()]
        named = any(word in near for word in _CUES)
        if named and _is_mixed(value) and value.lower() != value != value.upper() and _disorder(value) >= 3.5 * len(value):
            yield Span("secret", match.start(), match.end())


def _assigned(text: str, folded: str, word: str) -> Iterator[Span]:
    """What is given after a word: ``password: ...``, ``API_KEY=...``, ``my password is ...``."""
    place = folded.find(word)
    while place >= 0:
        end = place + len(word)
        match = _ASSIGNMENT.match(text, end)
        if match is not None and (word != "key" or _KEY_OF.search(folded, max(0, place - 12), place)):
            value = match["value"].rstrip(_AFTER_VALUE)
            if _is_secret(value, stated=match["by"] in ("=", ":", ":=", "=>")):
                kind = "password" if word in _PASSWORD else "secret"
                yield Span(kind, match.start("value"), match.start("value") + len(value))
        place = folded.find(word, end)


def _is_mixed(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _is_secret(value: str, *, stated: bool) -> bool:
    """Whether what follows "password" is one, and no word of a sentence about passwords."""
    if len(value) < 6 or _NO_VALUE.match(value) or _disorder(value) < 12:
        return False
    if _is_mixed(value):
        return True
    odd = any(c in "!@#$%^&*?~" for c in value[:-1]) and value.lower() != value != value.upper()
    return stated and (value.isdigit() or odd)


def _disorder(value: str) -> float:
    """Bits that it takes to write the value down in the best code for its own characters (Shannon entropy x length)."""
    return -sum(n * math.log2(n / len(value)) for n in Counter(value).values())
