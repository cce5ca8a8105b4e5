"""Numbers with a checksum or a form of their own: bank accounts, cards, national identity numbers.

The checksums are python-stdnum's. Where a kind's form is so plain that ordinary numbers pass, a word nearby has to name it
(``cues``); where they pass now and then, a number announced as an order's or a parcel's is left alone (``guarded``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stdnum import iban, luhn
from stdnum.at import vnr
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.ie import pps
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import nif
from stdnum.se import personnummer

from delivery.dataset.spans import Reading, Span, Stretch

_LEFT = r"(?<![0-9A-Za-z_+#$€£¥])(?<![0-9A-Za-z][\-/.,_])"
_RIGHT = r"(?![0-9A-Za-z_%€£¥])(?![\-/.,][0-9])"
# A checksum and an issuer's prefix, or a whole IBAN, are sure enough to be believed right after a hyphen.
_LEFT_SURE = r"(?<![0-9A-Za-z])(?<![0-9][.,\-])"
_RIGHT_SURE = r"(?![0-9A-Za-z])"


class Kind(NamedTuple):
    """One kind of identity number. ``valid`` gets what matched in capitals, and then without separators."""

    name: str
    pattern: re.Pattern[str]
    digits: int
    valid: Callable[[str], bool]
    cues: tuple[str, ...] = ()
    guarded: bool = False


def _kind(name: str, pattern: str, digits: int, valid: Callable[[str], bool], **how: str | bool) -> Kind:
    cues = tuple(cue for cue in str(how.get("cues", "")).split("|") if cue)
    return Kind(name, re.compile(_LEFT + pattern + _RIGHT), digits, valid, cues, bool(how.get("guarded")))


def _by_form(_: str) -> bool:
    """For numbers without a checksum, whose pattern says all."""
    return True


def _hetu(number: str) -> bool:
    return bool(hetu.is_valid(number, allow_temporary=True))


_SSN = r"(?!000|666|9)[0-9]{3}%s(?!00)[0-9]{2}%s(?!0000)[0-9]{4}"
_NINO = r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[ -]?[0-9]{2}){3}[ -]?[A-D]"
_BORN = r"(?:0[1-9]|[12][0-9]|3[01])"
# Month plus 20 for births from 2000 on; the other centuries' codes would take telephone numbers for people.
_PESEL = rf"[0-9]{{2}}(?:[02][1-9]|[13][0-2]){_BORN}[0-9]{{5}}"

KINDS = (
    _kind("us_ssn", _SSN % ("-", "-"), 9, _by_form, guarded=True),
    _kind("us_ssn", _SSN % ("[ ]?", "[ ]?"), 9, _by_form, cues="ssn|ssns|social"),
    _kind("gb_nino", _NINO, 6, _by_form, guarded=True),
    _kind("gb_nino", f"(?i:{_NINO})", 6, _by_form, cues="national insurance|nino|ni|ni number|ni no"),
    _kind("gb_nhs", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", 10, nhs.is_valid, cues="nhs"),
    _kind("de_idnr", r"[1-9][0-9](?: ?[0-9]{3}){3}", 11, idnr.is_valid, guarded=True),
    _kind(
        "fr_nir",
        r"[12378][ .]?[0-9]{2}[ .]?[0-9]{2}[ .]?(?:[0-9]{2}|2[AB])[ .]?[0-9]{3}[ .]?[0-9]{3}[ .\-]?[0-9]{2}",
        14,
        nir.is_valid,
    ),
    _kind("es_dni", r"(?:[0-9]{8}|[0-9]{2}\.[0-9]{3}\.[0-9]{3})-?[A-HJ-NP-TV-Za-hj-np-tv-z]", 8, dni.is_valid, guarded=True),
    _kind("es_dni", r"[0-9]{8} ?[A-Za-z]", 8, dni.is_valid, cues="dni|nif|documento nacional"),
    _kind("es_nie", r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]", 7, nie.is_valid, guarded=True),
    _kind(
        "nl_bsn",
        r"(?:[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}|[0-9]{3}[. ][0-9]{3}[. ][0-9]{3})",
        9,
        bsn.is_valid,
        cues="bsn|burgerservicenummer|burger service nummer|sofinummer|citizen service number",
    ),
    _kind("be_nn", r"[0-9]{2}([. ]?)[0-9]{2}\1[0-9]{2}[\- ]?[0-9]{3}[. ]?[0-9]{2}", 11, nn.is_valid, guarded=True),
    _kind("pl_pesel", _PESEL, 11, pesel.is_valid, guarded=True),
    _kind("se_personnummer", r"(?:19|20)?[0-9]{6}[\-+][0-9]{4}", 10, personnummer.is_valid, guarded=True),
    _kind("se_personnummer", r"(?:19|20)[0-9]{10}", 12, personnummer.is_valid, guarded=True),
    _kind(
        "se_personnummer",
        r"[0-9]{10}",
        10,
        personnummer.is_valid,
        cues="personnummer|personnr|samordningsnummer|personal number",
    ),
    _kind("dk_cpr", rf"{_BORN}[01][0-9]{{3}}[\- ]?[0-9]{{4}}", 10, cpr.is_valid, cues="cpr|cprnummer"),
    _kind("fi_hetu", rf"{_BORN}[01][0-9]{{3}}[\-+A-FU-Y][0-9]{{3}}[0-9A-FHJ-NPR-Y]", 9, _hetu),
    _kind("no_fodselsnummer", r"[0-7][0-9][0-9]{4}[ -]?[0-9]{5}", 11, fodselsnummer.is_valid, guarded=True),
    _kind("ch_ahv", r"756([. ]?)[0-9]{4}\1[0-9]{4}\1[0-9]{2}", 13, ahv.is_valid),
    _kind(
        "at_vnr",
        r"[0-9]{4}[ -]?[0-9]{6}",
        10,
        vnr.is_valid,
        cues="svnr|sv nr|sv nummer|sozialversicherungsnummer|versicherungsnummer|sozialversicherungsnr",
    ),
    _kind("ie_pps", r"[0-9]{7}[A-W][A-IW]?", 7, pps.is_valid, guarded=True),
    _kind("pt_nif", r"[0-9]{3}[ .]?[0-9]{3}[ .]?[0-9]{3}", 9, nif.is_valid, cues="nif|contribuinte"),
    _kind("br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", 11, cpf.is_valid),
    _kind("br_cpf", r"[0-9]{11}", 11, cpf.is_valid, cues="cpf"),
    _kind("ca_sin", r"[1-9][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}", 9, sin.is_valid, cues="sin|social insurance"),
    _kind("au_tfn", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", 9, tfn.is_valid, cues="tfn|tax file"),
    _kind("in_aadhaar", r"[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}", 12, aadhaar.is_valid, guarded=True),
    _kind("in_aadhaar", r"[2-9][0-9]{11}", 12, aadhaar.is_valid, cues="aadhaar|aadhar|uidai"),
)

# Grouped in fours, as on Amex and Diners cards, plain; 19 digits apart, since after 16 there may stand the card's code.
_CARDS = tuple(
    re.compile(_LEFT_SURE + form + _RIGHT_SURE)
    for form in (
        r"(?:[0-9]{4}([ \-.])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|[0-9]{4}([ \-.])[0-9]{6}\2[0-9]{4,5}|[0-9]{13,19})",
        r"[0-9]{4}([ \-.])(?:[0-9]{4}\1){3}[0-9]{3}",
    )
)
_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2})[0-9]{12,15}"  # Discover, UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{8,15}"  # Maestro
)
# These begin at their first digit, which is quick to find, and look back at the letters before it.
_IBAN_CHECK = re.compile(r"(?<![0-9A-Za-z]{3})(?<=[A-Za-z]{2})[0-9]{2}(?=[ \-.]?[0-9A-Za-z]{4})")
_IBAN_BODY = re.compile(r"(?:[ \-.]?[0-9A-Za-z])+")
_CODICE_FISCALE = re.compile(r"(?<=[A-Za-z]{6})[0-9]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]" + _RIGHT)
_PAN = re.compile(r"(?<=[A-Z]{3}[ABCFGHJLPT][A-Z])[0-9]{4}[A-Z]" + _RIGHT)


def among_digits(reading: Reading, stretch: Stretch) -> Iterator[Span]:
    """Cards and identity numbers in one part of a text."""
    lo, hi, digits = stretch
    if digits >= 13:
        yield from _cards(reading.text, stretch)
    for kind in KINDS:
        if digits < kind.digits:
            continue
        for match in kind.pattern.finditer(reading.text, lo, hi):
            if _holds(kind, match, reading):
                yield Span(kind.name, match.start(), match.end())


def _cards(text: str, stretch: Stretch) -> Iterator[Span]:
    for pattern in _CARDS:
        for match in pattern.finditer(text, stretch.lo, stretch.hi):
            number = re.sub(r"[^0-9]", "", match.group())
            if _ISSUERS.fullmatch(number) and luhn.is_valid(number):
                yield Span("card", match.start(), match.end())


def _holds(kind: Kind, match: re.Match[str], reading: Reading) -> bool:
    if kind.cues and not reading.is_named(match.start(), match.end(), kind.cues):
        return False
    if kind.guarded and reading.names_thing(match.start()):
        return False
    value = match.group().upper()
    return kind.valid(value) or kind.valid(re.sub(r"[ .\-]", "", value))


def ibans(text: str) -> Iterator[Span]:
    """International bank account numbers: two letters, two digits, and what makes the whole leave 1 modulo 97."""
    for check in _IBAN_CHECK.finditer(text):
        start = check.start() - 2
        body = _IBAN_BODY.match(text, check.end(), check.end() + 48)
        if body is None:
            continue
        # A word may follow: the longest beginning that is an IBAN as a whole, and ends where a word ends.
        for end in range(body.end(), start + 14, -1):
            if text[end : end + 1].isalnum() or not text[end - 1].isalnum():
                continue
            number = re.sub(r"[ \-.]", "", text[start:end]).upper()
            if 15 <= len(number) <= 34 and iban.is_valid(number, check_country=False):
                yield Span("iban", start, end)
                break


def codes(reading: Reading) -> Iterator[Span]:
    """Identity numbers of letters and digits that have no six digits in a row."""
    text = reading.text
    for match in _CODICE_FISCALE.finditer(text):
        start = match.start() - 6
        if not text[max(0, start - 1) : start].isalnum() and codicefiscale.is_valid(text[start : match.end()]):
            yield Span("it_codice_fiscale", start, match.end())
    for match in _PAN.finditer(text):
        start = match.start() - 5
        if not text[max(0, start - 1) : start].isalnum() and not reading.names_thing(start):
            yield Span("in_pan", start, match.end())
