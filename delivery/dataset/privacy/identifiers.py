"""Identifiers of people and secrets in a text: which, and where.

The built-in kinds are recognised by checksum (``id_numbers``), by form and words nearby (``phones``) or by how they begin
(``credentials``); a client's own patterns (``data.identifiers`` of client.yaml) are further kinds. A new kind of number is one
line in ``id_numbers.KINDS``, a new kind of key one in ``credentials.TOKENS``.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import regex

from delivery.dataset.privacy.credentials import TOKENS, credentials, may_hold_secret
from delivery.dataset.privacy.id_numbers import among_digits, codes, ibans
from delivery.dataset.privacy.phones import phones
from delivery.dataset.privacy.spans import PLACEHOLDER, Found, Places, Reading, Span, words
from delivery.errors import ConfigError

NO_PATTERNS: Mapping[str, str] = MappingProxyType({})
SECRETS = frozenset({token.kind for token in TOKENS} | {"password", "secret", "aws_secret_key"})
"""The kinds that are secrets; all others identify somebody."""

# Kinds whose form alone says little: where they overlap with another, the other is right.
_WEAK = frozenset({"phone", "ip"})
_PATTERN_SECONDS = 1.0

_DIGIT = re.compile(r"[0-9]")
_HINT = re.compile(r"[0-9０-９@＠]")
_TOO_PLAIN = re.compile(r"[A-Za-z]?[a-z _]{0,18}|-?[0-9.]{0,5}")
_DOMAIN = re.compile(r"@(?:[^\W_](?:[\w\-]{0,61}[^\W_])?\.){1,8}(?P<top>[^\W\d_]{2,24}|xn--[a-z0-9\-]{2,59})(?![^\W\d_]|@)")
_MAILBOX = re.compile(r"(?<![\w.+%'\-])[\w+%][\w.+%'\-]{0,63}$")
# In https://user:password@host, what stands before the @ is no mailbox.
_USER_IN_URL = re.compile(r"://[^\s/@]{0,64}:$")
# File names such as icon@2x.png have the form of an address.
_FILES = words("png jpg jpeg gif svg webp ico pdf css js ts json html htm xml txt md csv zip mp3 mp4 py")
_IPV4 = re.compile(r"[0-9](?<![\w.\-].)[0-9]{0,2}\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?![\w\-]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?<=:)(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![\w:]|\.[0-9])")
_IP_WORDS = words(
    "ip ips address addresses host server login logged logon connect connected ping router network vpn proxy dns gateway subnet"
)
_VERSION_WORDS = words(
    """v ver version rev revision app release build firmware software sdk driver patch update updated section
    clause chapter paragraph par
    article appendix table step item level rule"""
)


def find(text: str, *, patterns: Mapping[str, str] = NO_PATTERNS) -> list[Found]:
    """The identifiers and secrets of a text, in order and without overlap.

    Where candidates overlap, one with a checksum or a form of its own beats a telephone number or an IP address, then the
    longer wins. Placeholders of an earlier redaction hold nothing. ``patterns`` are the client's own: kind to expression.

    Raises:
        ConfigError: a pattern is no regular expression, or does not come to an end on this text within about a second.
    """
    spans = list(_candidates(Reading(text)))
    if patterns:
        spans.extend(_own(text, patterns))
    if not spans:
        return []
    taken = Places()
    for match in PLACEHOLDER.finditer(text):
        taken.take(*match.span())
    return [Found(kind, start, end, text[start:end], kind in SECRETS) for kind, start, end in _without_overlap(spans, taken)]


def may_hold(text: str) -> bool:
    """Whether a text has anything of what every built-in kind has: quick, and never wrong in saying no."""
    if is_plain(text):
        return False
    return _HINT.search(text) is not None or "::" in text or "://" in text or may_hold_secret(text)


def is_plain(text: str) -> bool:
    """Whether a text is so short and simple that no built-in kind finds anything in it, whatever stands before it."""
    return _TOO_PLAIN.fullmatch(text) is not None


def check_patterns(patterns: Mapping[str, str]) -> None:
    """Make sure that a client's own patterns can be used.

    Raises:
        ConfigError: one is no regular expression.
    """
    _compiled(tuple(patterns.items()))


def _candidates(reading: Reading) -> Iterator[Span]:
    text = reading.text
    yield from credentials(text, reading.folded)
    if "@" in text:
        yield from _emails(text)
    if ":" in text:
        yield from _ipv6(text)
    if not _DIGIT.search(text):
        return
    yield from codes(reading)
    if text.count(".") >= 3:
        yield from _ipv4(reading)
    stretch = None
    for stretch in reading.stretches():
        yield from among_digits(reading, stretch)
        if stretch.digits >= 7:
            yield from phones(reading, stretch)
    if stretch is not None:
        yield from ibans(text)


def _emails(text: str) -> Iterator[Span]:
    for domain in _DOMAIN.finditer(text):
        mailbox = _MAILBOX.search(text, max(0, domain.start() - 65), domain.start())
        if mailbox is None or domain["top"].lower() in _FILES:
            continue
        if not _USER_IN_URL.search(text, max(0, mailbox.start() - 70), mailbox.start()):
            yield Span("email", mailbox.start(), domain.end())


def _ipv4(reading: Reading) -> Iterator[Span]:
    for match in _IPV4.finditer(reading.text):
        parts = [int(part) for part in match.group().split(".")]
        if max(parts) > 255 or parts[0] == 0:
            continue
        said = next((word in _IP_WORDS for word in reading.before(match.start()) if word in _IP_WORDS | _VERSION_WORDS), None)
        # Without a word that decides, numbers that begin small are more often a version than a machine.
        looks = parts[0] == 10 or parts[0] >= 20 or sum(part >= 20 for part in parts) >= 3
        if looks if said is None else said:
            yield Span("ip", match.start(), match.end())


def _ipv6(text: str) -> Iterator[Span]:
    if "::" not in text and text.count(":") < 7:
        return
    for match in _IPV6.finditer(text):
        value = match.group()
        groups = [group for group in value.split(":") if group]
        if len(groups) < 2 or not any(c.isdigit() for c in value):
            continue
        try:
            ipaddress.IPv6Address(value)
        except ValueError:
            continue
        yield Span("ip", match.start(), match.end())


@functools.lru_cache(maxsize=32)
def _compiled(patterns: tuple[tuple[str, str], ...]) -> tuple[tuple[str, regex.Pattern[str]], ...]:
    compiled = []
    for name, pattern in patterns:
        try:
            compiled.append((name, regex.compile(pattern)))
        except regex.error as error:
            what = f"data.identifiers.{name}: {pattern!r} is no regular expression ({error}); correct it in client.yaml"
            raise ConfigError(what) from error
    return tuple(compiled)


def _own(text: str, patterns: Mapping[str, str]) -> Iterator[Span]:
    """The client's patterns. A pattern that backtracks without end is an error: passing over it would let values through."""
    limit = _PATTERN_SECONDS + len(text) / 200_000
    for name, pattern in _compiled(tuple(patterns.items())):
        try:
            for match in pattern.finditer(text, timeout=limit):
                if match.end() > match.start():
                    yield Span(name, match.start(), match.end())
        except TimeoutError as error:
            what = f"data.identifiers.{name}: takes more than {limit:.0f} s on a text of {len(text)} characters"
            raise ConfigError(f"{what}; write it without repeats inside repeats, such as (\\w+)+") from error


def _without_overlap(spans: Iterable[Span], taken: Places) -> list[Span]:
    kept = [span for span in sorted(set(spans), key=_precedence) if taken.take(span.start, span.end)]
    return sorted(kept, key=lambda span: span.start)


def _precedence(span: Span) -> tuple[bool, int, bool, int, str]:
    assigned = span.kind in ("password", "secret")
    return span.kind in _WEAK, span.start - span.end, assigned, span.start, span.kind
