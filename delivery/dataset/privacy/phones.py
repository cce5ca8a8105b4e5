"""Telephone numbers. They have no checksum, so the form decides, and the words around where the form does not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

from delivery.dataset.privacy.spans import Reading, Span, Stretch, is_thing, words

TRUNK_REGIONS = ("GB", "DE", "FR", "NL", "IT", "BE", "CH", "AT", "IE", "SE", "AU", "FI", "JP", "NZ", "ZA", "IN")
"""Where national numbers begin with 0; common ones first, since the first that knows the number ends the search."""

OPEN_REGIONS = ("US", "ES", "PT", "PL", "DK", "NO", "IT", "CZ", "IN", "SG")
"""Where they do not: such a number needs a word nearby that says what it is."""

_LEFT = r"(?<![0-9A-Za-z_+#@$€£¥])(?<![0-9A-Za-z][\-_/])(?<![0-9][.,: ])"
_RIGHT = r"(?![0-9A-Za-z_%€£¥])(?![.,:\-/][0-9])"
_INTERNATIONAL = re.compile(rf"(?:(?<![0-9A-Za-z+])\(?\+|{_LEFT}00(?=[1-9]))[ (]?[1-9][0-9 ().\-/]{{5,24}}[0-9](?![0-9])")
_NORTH_AMERICAN = re.compile(
    rf"{_LEFT}(?:1[-. ])?"
    r"(?:\([1-9][0-9]{2}\)[ .\-]?|[1-9][0-9]{2}[-. ])[1-9][0-9]{2}[-. ][0-9]{4}(?![0-9_%€£¥])(?![.,:\-/][0-9])"
)
_TRUNK = re.compile(rf"{_LEFT}\(?0[1-9][0-9]{{0,4}}\)?(?:(?: [/\-] |(?<=\)) ?|[ /.\-])[0-9]{{2,8}}){{1,5}}{_RIGHT}")
_PLAIN = re.compile(rf"{_LEFT}0[1-9][0-9]{{8,10}}{_RIGHT}")
_OPEN = re.compile(rf"{_LEFT}[1-9][0-9]{{1,3}}(?:[ .\-]?[0-9]{{2,4}}){{1,4}}{_RIGHT}")
_LOCAL = re.compile(r"[2-9][0-9]{2}[-. ][0-9]{4}")
# The openings of mobile numbers in Britain, France, the Netherlands and Germany, which plain numbers seldom have.
_MOBILE = re.compile(r"07[0-9]{9}|0[67][0-9]{8}|01[567][0-9]{8,9}")
_EXTENSION = re.compile(r" ?(?:x|ext\.?|extension|Durchwahl|-DW) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_DATE = re.compile(
    r"(?:[0-3]?[0-9][./\-][01]?[0-9][./\-](?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}[./\-][01]?[0-9][./\-][0-3]?[0-9])(?![./\-]?[0-9])"
)
# Numbers that their regulators keep for fiction, which the numbering plans therefore call invalid.
_FICTION = re.compile(r"07700900\d{3}|01632960\d{3}|0(?:113|114|115|116|117|118|121|131|141|151|161)4960\d{3}")

_PHONE_WORDS = words(
    """phone phones phoned telephone tel tél mobile mob cell cellular cellphone call calls called calling callback ring rang
    text texted txt sms whatsapp dial dialled dialed fax contact contacted reach reached reachable hotline helpline landline
    voicemail handy rufnummer téléphone telephoner portable joindre joignable móvil movil teléfono cellulare bel bellen gsm
    telemóvel ligar"""
)
_PHONE_STEMS = ("telefon", "telefoon", "mobil", "anruf", "erreich", "appel", "llam", "llám", "chiam")
_OTHER_WORDS = words(
    """account accounts acct acc customer member members membership contract contracts licence license iban card cards sort
    cpr bsn ssn dni nie nif nhs pesel svnr tfn sin cpf nir pps ppsn cvr vat ein passport po row rows steps
    compte client contrat cuenta contrato conto contratto score points xp id password pin code ratio range"""
)
_UNITS = words("points point pts xp gold coins rows row steps users views km miles kwh eur euro euros usd gbp dollars pounds")
_OTHER_STEMS = ("konto", "kunden", "vertrag", "klant")


def phones(reading: Reading, stretch: Stretch) -> Iterator[Span]:
    """Telephone numbers in one part of a text: international ones, and the national forms of common regions."""
    for span in _numbers(reading, stretch):
        extension = _EXTENSION.match(reading.text, span.end)
        yield span if extension is None else span._replace(end=extension.end())


def _numbers(reading: Reading, stretch: Stretch) -> Iterator[Span]:
    lo, hi, _ = stretch
    for match in _INTERNATIONAL.finditer(reading.text, lo, hi):
        span = _international(reading, match)
        if span is not None:
            yield span
    for match in _NORTH_AMERICAN.finditer(reading.text, lo, hi):
        sign = _sign(reading, match)
        if sign > 0 or (sign == 0 and _is_north_american(match.group())):
            yield Span("phone", match.start(), match.end())
    for pattern in (_TRUNK, _PLAIN, _OPEN):
        for match in pattern.finditer(reading.text, lo, hi):
            span = None if _DATE.match(match.group()) else _national(match, _sign(reading, match))
            if span is not None:
                yield span


def normal_form(value: str) -> str:
    """One spelling of a number: E.164 for international ones, the digits alone otherwise."""
    digits = _digits(value.replace("(0)", ""))
    if "+" in value or digits.startswith("00"):
        return "+" + digits.removeprefix("00")
    return digits


def _international(reading: Reading, match: re.Match[str]) -> Span | None:
    """The longest beginning that the world's numbering plans know, or at least could have given out."""
    start, raw = match.start(), match.group()
    if raw.startswith("00") and _sign(reading, match) < 0:
        return None
    possible: Span | None = None
    for part in _beginnings(raw):
        digits = _digits(part)
        if len(digits) < 7:
            break
        try:
            number = phonenumbers.parse("+" + re.sub(r"^[(+ ]*(?:00)?", "", part), None)
        except phonenumbers.NumberParseException:
            continue
        span = _span(start, part)
        if phonenumbers.is_valid_number(number):
            return span
        # Numbers kept for fiction or not yet given out: believed at full length, when they are written with a plus.
        if possible is None and len(digits) >= 10 and "+" in part and phonenumbers.is_possible_number(number):
            possible = span
    return possible


def _national(match: re.Match[str], sign: int) -> Span | None:
    """The longest beginning that a country's plan knows; next to a word for telephones, the form is enough."""
    raw, start = match.group(), match.start()
    if sign < 0:
        return None
    trunk = raw.lstrip("(").startswith("0")
    formal: Span | None = None
    for part in _beginnings(raw):
        digits = _digits(part)
        span = _span(start, part)
        if not trunk:
            if sign > 0 and _is_open(part, digits):
                return span
        elif (9 if sign == 0 else 8) <= len(digits) <= 12 and _is_trunk(part, digits, sign):
            return span
        elif formal is None and sign > 0 and 9 <= len(digits) <= 11:
            formal = span
    return formal


def _span(start: int, part: str) -> Span:
    """The place of a number; a bracket that only its sentence closes does not belong to it."""
    lead = part.startswith("(") and part.count("(") > part.count(")")
    return Span("phone", start + lead, start + len(part))


def _beginnings(raw: str) -> list[str]:
    """A run of digit groups, and what is left when groups are taken off its end: another number may follow."""
    parts = [raw[: group.end()] for group in re.finditer(r"[0-9]+(?![./\-]?[0-9])", raw)]
    return parts[::-1]


def _digits(raw: str) -> str:
    return re.sub(r"[^0-9]", "", raw)


def _sign(reading: Reading, match: re.Match[str]) -> int:
    """1 where the nearest deciding word speaks of telephones, -1 where it speaks of something else, 0 without one."""
    for word in reading.before(match.start()):
        if word in _PHONE_WORDS or word.startswith(_PHONE_STEMS):
            return 1
        if word in _OTHER_WORDS or word.startswith(_OTHER_STEMS) or is_thing(word):
            return -1
    for word in reading.after(match.end()):
        if word in _PHONE_WORDS or word.startswith(_PHONE_STEMS):
            return 1
        if word in _UNITS:
            return -1
    return 0


def _is_north_american(raw: str) -> bool:
    """Whether the form is enough: brackets, or hyphens and dots around codes that could be given out."""
    formal = "(" in raw or re.fullmatch(r"(?:1[-.])?[2-9][0-9]{2}[-.][2-9][0-9]{2}[-.][0-9]{4}", raw) is not None
    return formal or _valid(raw, ("US",))


def _is_trunk(part: str, digits: str, sign: int) -> bool:
    if _FICTION.fullmatch(digits):
        return True
    if sign == 0 and "/" in part:
        return False
    if digits == part and sign == 0 and not _MOBILE.fullmatch(part):
        return False
    return _valid(part, TRUNK_REGIONS)


def _is_open(part: str, digits: str) -> bool:
    if _LOCAL.fullmatch(part) or re.fullmatch(r"[2-9][0-9]{2}[2-9][0-9]{6}", digits):
        return True
    return 8 <= len(digits) <= 10 and _valid(part, OPEN_REGIONS)


def _valid(raw: str, regions: tuple[str, ...]) -> bool:
    for region in regions:
        try:
            if phonenumbers.is_valid_number_for_region(phonenumbers.parse(raw, region), region):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
