"""A text as the detectors of identifiers read it: the parts with digits, and the words around a number that decide."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]{0,30}_[A-Z2-7]{10}\]")
"""What redaction puts in place of a value: the kind and ten characters that stand for the value."""

NEAR = 40
"""How many characters before a number the words that decide about it may stand."""

_STRETCH = re.compile(r"[0-9][0-9A-FU-Y ().\-/]{4,}[0-9]")
_A_DATE = re.compile(r"[0-3]?[0-9]([./\-])[01]?[0-9]\1(?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}([./\-])[01]?[0-9]\2[0-3]?[0-9]")
_CLAUSE_END = re.compile(r"[!?;\n]|\.\s+(?=[^\W\d_])")
_WORD = re.compile(r"[^\W\d_]+")

# Separators and digits as other keyboards and word processors write them, one for one, so that places stay the same.
_NOT_ASCII = "\u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013\u2014\u2212＠＋．／（）：０１２３４５６７８９"
_ASCII = "    ------@+./():0123456789"
_FOLD = dict(zip(_NOT_ASCII, _ASCII, strict=True))
_TO_FOLD = re.compile(f"[{_NOT_ASCII}]")


def words(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


# Things that are numbered and are no person; English with German, French, Spanish, Italian, Dutch and Polish cousins.
_THINGS = words(
    """order orders invoice invoices inv ticket tickets tracking track parcel parcels shipment shipments consignment package
    packages serial sku isbn ean upc asin part parts model models batch lot booking bookings reservation confirmation
    transaction transactions txn trx receipt receipts item items article product products case claim claims policy policies
    ref reference quote quotation docket build version release timestamp epoch seed uuid
    police commande commandes facture factures colis dossier pedido pedidos factura facturas envío envio ordine ordini
    fattura fatture spedizione bestelling factuur pakket"""
)
_THING_STEMS = ("bestell", "rechnung", "auftrag", "sendung", "vorgang", "schaden", "zamówien", "zamowien")
_FILLERS = words("number numbers numero número numéro nummer no num nr n id ids code codes is was with are the")


class Span(NamedTuple):
    """A candidate: what it would be, and where."""

    kind: str
    start: int
    end: int


class Found(NamedTuple):
    """An identifier or secret in a text; ``text[start:end] == value``. A secret opens something, to whoever holds it."""

    kind: str
    start: int
    end: int
    value: str
    secret: bool


class Stretch(NamedTuple):
    """A part of a text with ``digits`` digits close together, and some characters to both sides of them."""

    lo: int
    hi: int
    digits: int


class Places:
    """Parts of a text that are taken, none over another."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def take(self, start: int, end: int) -> bool:
        """Take a part, unless some of it is taken."""
        at = bisect.bisect_left(self._starts, end)
        if at > 0 and self._ends[at - 1] > start:
            return False
        self._starts.insert(at, start)
        self._ends.insert(at, end)
        return True


class Reading:
    """One text while it is searched. ``text`` has ASCII digits and separators, ``folded`` is its lower case, place by place."""

    def __init__(self, text: str) -> None:
        self.text = text if text.isascii() else _TO_FOLD.sub(lambda match: _FOLD[match.group()], text)
        folded = self.text.lower()
        # A few capitals become two characters.
        self.folded = folded if len(folded) == len(text) else "".join(c.lower()[:1] for c in self.text)
        self._before: dict[int, tuple[str, ...]] = {}

    def stretches(self) -> Iterator[Stretch]:
        """Where at least six digits stand with nothing but separators between them.

        Everything that is looked for among digits is looked for in these parts alone: most rows have none.
        """
        for match in _STRETCH.finditer(self.text):
            if _A_DATE.fullmatch(match.group()):
                continue
            digits = sum(map(match.group().count, "0123456789"))
            if digits >= 6:
                yield Stretch(max(0, match.start() - 4), min(len(self.text), match.end() + 4), digits)

    def before(self, place: int) -> tuple[str, ...]:
        """The words before a place in lower case, nearest first, back to the end of the sentence before."""
        words = self._before.get(place)
        if words is None:
            first = max(0, place - NEAR)
            while 0 < first < place and self.folded[first - 1].isalpha():
                first += 1
            clause = _CLAUSE_END.split(self.folded[first:place])[-1]
            words = self._before[place] = tuple(reversed(_WORD.findall(clause)))
        return words

    def after(self, place: int) -> list[str]:
        """The few words after a place, in lower case, within the sentence."""
        return _WORD.findall(_CLAUSE_END.split(self.folded[place : place + NEAR // 2])[0])

    def names_thing(self, place: int) -> bool:
        """Whether a number is announced as that of a thing: an order, an invoice, a parcel."""
        word = next((word for word in self.before(place) if word not in _FILLERS), "")
        return is_thing(word)

    def is_named(self, place: int, end: int, cues: Iterable[str]) -> bool:
        """Whether one of some cues (a word, or words in a row) stands close before a number, or right after it."""
        near = f" {' '.join(reversed(self.before(place)))}  {' '.join(self.after(end))} "
        return any(f" {cue} " in near for cue in cues)


def is_thing(word: str) -> bool:
    """Whether a word names something that is numbered and is no person."""
    return word in _THINGS or word.startswith(_THING_STEMS)
