"""Numbers with a checksum or a form of their own: bank accounts, cards, national identity numbers.

The checksums are python-stdnum's. Where a kind's form is so plain that ordinary numbers pass, a word nearby has to name it
(``cues``); where they pass now and then, a number announced as an order's or a parcel's is left alone (``guarded``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stdnum import iban, luhn, numdb
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

from delivery.dataset.privacy.spans import Reading, Span, Stretch

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
    needs_cue: bool = False
    guarded: bool = False


def _free(name: str, pattern: str, digits: int, valid: Callable[[str], bool], cues: str = "") -> Kind:
    """A kind that is known by its form and checksum, wherever it stands."""
    return Kind(name, re.compile(_LEFT + pattern + _RIGHT), digits, valid, tuple(cues.split("|")))


def _guarded(name: str, pattern: str, digits: int, valid: Callable[[str], bool], cues: str = "") -> Kind:
    """A kind whose checksum other numbers pass now and then."""
    return _free(name, pattern, digits, valid, cues)._replace(guarded=True)


def _cued(name: str, pattern: str, digits: int, valid: Callable[[str], bool], cues: str) -> Kind:
    """A kind that is known only where a word nearby names it."""
    return _free(name, pattern, digits, valid, cues)._replace(needs_cue=True)


def _by_form(_: str) -> bool:
    """For numbers without a checksum, whose pattern says all."""
    return True


_SSN = r"(?!000|666|9)[0-9]{3}%s(?!00)[0-9]{2}%s(?!0000)[0-9]{4}"
# QQ is never given out; it is what forms and manuals show.
_NINO = r"(?:QQ|(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])(?:[ -]?[0-9]{2}){3}[ -]?[A-D]"
_BORN = r"(?:0[1-9]|[12][0-9]|3[01])"
# Month plus 20 for births from 2000 on; the other centuries' codes would take telephone numbers for people.
_PESEL = rf"[0-9]{{2}}(?:[02][1-9]|[13][0-2]){_BORN}[0-9]{{5}}"

# Where a number passes for two kinds and no word says which, it is the first: the one with more to check.
KINDS = (
    _guarded("us_ssn", _SSN % ("-", "-"), 9, _by_form),
    _cued("us_ssn", _SSN % ("[ ]?", "[ ]?"), 9, _by_form, "ssn|ssns|social security|social"),
    _guarded("gb_nino", _NINO, 6, _by_form),
    _cued("gb_nino", f"(?i:{_NINO})", 6, _by_form, "national insurance|nino|ni|ni number|ni no"),
    _cued("gb_nhs", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", 10, nhs.is_valid, "nhs"),
    _free(
        "fr_nir",
        r"[12378][ .]?[0-9]{2}[ .]?[0-9]{2}[ .]?(?:[0-9]{2}|2[AB])[ .]?[0-9]{3}[ .]?[0-9]{3}[ .\-]?[0-9]{2}",
        14,
        nir.is_valid,
    ),
    _guarded("es_dni", r"(?:[0-9]{8}|[0-9]{2}\.[0-9]{3}\.[0-9]{3})-?[A-HJ-NP-TV-Za-hj-np-tv-z]", 8, dni.is_valid),
    _cued("es_dni", r"[0-9]{8} ?[A-Za-z]", 8, dni.is_valid, "dni|nif|documento nacional"),
    _guarded("es_nie", r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]", 7, nie.is_valid),
    _cued(
        "nl_bsn",
        r"(?:[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}|[0-9]{3}[. ][0-9]{3}[. ][0-9]{3})",
        9,
        bsn.is_valid,
        "bsn|burgerservicenummer|burger service nummer|sofinummer|citizen service number",
    ),
    _guarded(
        "no_fodselsnummer",
        r"[0-7][0-9][0-9]{4}[ -]?[0-9]{5}",
        11,
        fodselsnummer.is_valid,
        "fødselsnummer|fodselsnummer|personnummer",
    ),
    _guarded(
        "be_nn",
        r"[0-9]{2}([. ]?)[0-9]{2}\1[0-9]{2}[\- ]?[0-9]{3}[. ]?[0-9]{2}",
        11,
        nn.is_valid,
        "rijksregisternummer|registre national|niss|insz|rrn",
    ),
    _guarded("de_idnr", r"[1-9][0-9](?: ?[0-9]{3}){3}", 11, idnr.is_valid, "steuer id|idnr|tin|steueridentifikationsnummer"),
    _guarded("pl_pesel", _PESEL, 11, pesel.is_valid, "pesel"),
    _guarded("se_personnummer", r"(?:19|20)?[0-9]{6}[\-+][0-9]{4}", 10, personnummer.is_valid, "personnummer"),
    _guarded("se_personnummer", r"(?:19|20)[0-9]{10}", 12, personnummer.is_valid, "personnummer"),
    _cued(
        "se_personnummer", r"[0-9]{10}", 10, personnummer.is_valid, "personnummer|personnr|samordningsnummer|personal number"
    ),
    _cued("dk_cpr", rf"{_BORN}[01][0-9]{{3}}[\- ]?[0-9]{{4}}", 10, cpr.is_valid, "cpr|cprnummer"),
    _free("fi_hetu", rf"{_BORN}[01][0-9]{{3}}[\-+A-FU-Y][0-9]{{3}}[0-9A-FHJ-NPR-Y]", 9, hetu.is_valid),
    _free("ch_ahv", r"756([. ]?)[0-9]{4}\1[0-9]{4}\1[0-9]{2}", 13, ahv.is_valid),
    _cued(
        "at_vnr",
        r"[0-9]{4}[ -]?[0-9]{6}",
        10,
        vnr.is_valid,
        "svnr|sv nr|sv nummer|sozialversicherungsnummer|versicherungsnummer|sozialversicherungsnr",
    ),
    _guarded("ie_pps", r"[0-9]{7}[A-W][A-IW]?", 7, pps.is_valid),
    _cued("pt_nif", r"[0-9]{3}[ .]?[0-9]{3}[ .]?[0-9]{3}", 9, nif.is_valid, "nif|contribuinte"),
    _free("br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", 11, cpf.is_valid),
    _cued("br_cpf", r"[0-9]{11}", 11, cpf.is_valid, "cpf"),
    _cued("ca_sin", r"[1-9][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}", 9, sin.is_valid, "sin|social insurance"),
    _cued("au_tfn", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", 9, tfn.is_valid, "tfn|tax file"),
    _guarded(
        "in_aadhaar", r"(?<![0-9A-Z][ \-])[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}(?![ \-][0-9])", 12, aadhaar.is_valid, "aadhaar"
    ),
    _cued("in_aadhaar", r"[2-9][0-9]{11}", 12, aadhaar.is_valid, "aadhaar|aadhar|uidai"),
)

# Grouped in fours, as on Amex and Diners cards, plain; 19 digits apart, since after 16 there may stand the card's code.
_CARDS = tuple(
    re.compile(_LEFT_SURE + r"(?<![0-9A-Z]{3}[0-9][ \-])" + form + _RIGHT_SURE)
    for form in (
        r"(?:[0-9]{4}([ \-.])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|[0-9]{4}([ \-.])[0-9]{6}\2[0-9]{4,5}|[0-9]{12,19})",
        r"[0-9]{4}([ \-.])(?:[0-9]{4}\1){3}[0-9]{3}",
    )
)
_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|35[0-9]{14}"  # JCB
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2})[0-9]{12,15}"  # Discover, UnionPay
    r"|(?:5018|5020|5038|5893|6304|6390|6759|676[1-3])[0-9]{8,15}"  # Maestro
)
# These begin at their first digits, which are quick to find, and then look back at the letters before them.
_IBAN_CHECK = re.compile(r"[0-9][0-9](?<=[A-Za-z]{2}..)(?<![0-9A-Za-z]{3}..)(?=[ \-.]?[0-9A-Za-z]{4})")
_CODICE_FISCALE = re.compile(r"[0-9][0-9](?<=[A-Za-z]{6}..)[A-EHLMPR-Ta-ehlmpr-t][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]" + _RIGHT)
_PAN = re.compile(r"[0-9](?<=[A-Z]{3}[ABCFGHJLPT][A-Z].)[0-9]{3}[A-Z]" + _RIGHT)


def among_digits(reading: Reading, stretch: Stretch) -> Iterator[Span]:
    """Cards and identity numbers in one part of a text."""
    lo, hi, digits = stretch
    if digits >= 12:
        yield from _cards(reading.text, stretch)
    best: dict[tuple[int, int], Candidate] = {}
    for kind in KINDS:
        if digits < kind.digits:
            continue
        for match in kind.pattern.finditer(reading.text, lo, hi):
            if _holds(kind, match, reading):
                place = match.span()
                candidate = Candidate(reading.is_named(*place, kind.cues), kind.name)
                # A number may pass two countries' checksums: the one that is named is right, otherwise the first.
                if place not in best or candidate.named > best[place].named:
                    best[place] = candidate
    for (start, end), candidate in best.items():
        yield Span(candidate.kind, start, end)


class Candidate(NamedTuple):
    """What a number may be, and whether a word nearby says so."""

    named: bool
    kind: str


def _cards(text: str, stretch: Stretch) -> Iterator[Span]:
    for pattern in _CARDS:
        for match in pattern.finditer(text, stretch.lo, stretch.hi):
            number = re.sub(r"[^0-9]", "", match.group())
            if _ISSUERS.fullmatch(number) and luhn.is_valid(number):
                yield Span("card", match.start(), match.end())


def _holds(kind: Kind, match: re.Match[str], reading: Reading) -> bool:
    if kind.needs_cue and not reading.is_named(match.start(), match.end(), kind.cues):
        return False
    if kind.guarded and reading.names_thing(match.start()):
        return False
    value = match.group().upper()
    return kind.valid(value) or kind.valid(re.sub(r"[ .\-]", "", value))


def ibans(text: str) -> Iterator[Span]:
    """International bank account numbers: two letters, two digits, and what makes the whole leave 1 modulo 97."""
    for check in _IBAN_CHECK.finditer(text):
        start = check.start() - 2
        length = _iban_length(text[start : check.start()].upper())
        if not length:
            continue
        rest = _iban_rest(length - 4).match(text, check.end())
        if rest is not None and iban.is_valid(text[start : rest.end()], check_country=False):
            yield Span("iban", start, rest.end())


@functools.lru_cache(maxsize=1024)
def _iban_length(country: str) -> int:
    """How long a country's IBANs are, from its entry in the registry (such as ``8!n10!n``); 0 without one."""
    info = numdb.get("iban").info(country)[0][1]
    return 4 + sum(map(int, re.findall(r"(\d+)!", info["bban"]))) if "bban" in info else 0


@functools.cache
def _iban_rest(characters: int) -> re.Pattern[str]:
    return re.compile(rf"(?:[ \-.]?[0-9A-Za-z]){{{characters}}}(?![0-9A-Za-z])")


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
