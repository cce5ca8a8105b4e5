"""Texts cut into pieces (words, pairs of neighbouring words, runs of characters), each named by a 64-bit hash.

A hash of everything up to a place gives the hash of any run by one subtraction (Karp and Rabin 1987), so numpy cuts
and names all pieces of thousands of texts at once: about five times as fast as scikit-learn's ``HashingVectorizer``,
which calls Python for every text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

CHUNK_CHARACTERS = 1 << 20

_FACTOR = 0x9E3779B97F4A7C15
_SHUFFLE = np.uint64(0xBF58476D1CE4E5B9)
_PAIR = np.uint64(0x100000001B3)
_END = ord("\n")
_WORD, _WORD_ALONE = 1, 2


class Pieces(NamedTuple):
    """Every occurrence of a piece: the number of its text, and its hash."""

    rows: Rows
    hashes: Hashes

    def buckets(self, bits: int) -> Hashes:
        """The hashes spread over ``2**bits`` numbers."""
        mixed = (self.hashes ^ (self.hashes >> np.uint64(29))) * _SHUFFLE
        return mixed >> np.uint64(64 - bits)

    def distinct(self, bits: int) -> Buckets:
        """Every pair of text and bucket (of at most 32 bits) once."""
        both = np.sort((self.rows.astype(np.uint64) << np.uint64(32)) | self.buckets(bits))
        once = both[np.flatnonzero(np.diff(both, prepend=~both[:1]))]
        return Buckets((once >> np.uint64(32)).astype(np.int64), (once & np.uint64(0xFFFFFFFF)).astype(np.int64))


class Buckets(NamedTuple):
    """In which buckets the pieces of each text fall: every pair of text and bucket once."""

    rows: Rows
    buckets: Rows


class Chunk:
    """Texts in lower case, side by side in one array of code points, a line end before, between and after them."""

    def __init__(self, texts: Sequence[str]) -> None:
        lines = "\n".join(text.replace("\n", " ") for text in texts).casefold()
        self.codes = np.frombuffer(f"\n{lines}\n".encode("utf-32-le", errors="replace"), np.uint32)
        self.texts = len(texts)
        size = len(self.codes)
        self._unshift = _powers(pow(_FACTOR, -1, 1 << 64), size)
        self._until = np.zeros(size + 1, np.uint64)
        np.cumsum((self.codes + np.uint64(1)) * _powers(_FACTOR, size), out=self._until[1:])
        self._ends = np.concatenate([[0], np.cumsum(self.codes == _END)])

    def words(self) -> Pieces:
        """Runs of letters and digits; Chinese characters and kana each alone, as no space divides their words."""
        kind = _kinds()[self.codes]
        before, after = np.roll(kind, 1), np.roll(kind, -1)
        alone = kind == _WORD_ALONE
        starts = np.flatnonzero((kind > 0) & (alone | (before != _WORD)))
        stops = np.flatnonzero((kind > 0) & (alone | (after != _WORD))) + 1
        return self._cut(starts, stops)

    def runs(self, length: int) -> Pieces:
        """Every ``length`` characters in a row; the ends of a text count as one, so that its edges are told apart."""
        starts = np.arange(len(self.codes) - length + 1)
        inside = self._ends[starts + length - 1] == self._ends[starts + 1]
        return self._cut(starts[inside], starts[inside] + length)

    def _cut(self, starts: Rows, stops: Rows) -> Pieces:
        hashes = (self._until[stops] - self._until[starts]) * self._unshift[starts]
        return Pieces(self._ends[starts + 1] - 1, hashes)


def pairs(words: Pieces) -> Pieces:
    """Neighbouring words of one text."""
    same = words.rows[1:] == words.rows[:-1]
    return Pieces(words.rows[1:][same], (words.hashes[:-1] * _PAIR + words.hashes[1:])[same])


def chunks(texts: Sequence[str], limit: int) -> Iterator[tuple[int, Chunk]]:
    """The texts, each cut to ``limit`` characters, a million characters at a time: number of the first, and the chunk."""
    start = size = 0
    for number, text in enumerate(texts):
        if size >= CHUNK_CHARACTERS:
            yield start, Chunk([one[:limit] for one in texts[start:number]])
            start, size = number, 0
        size += min(len(text), limit)
    if start < len(texts):
        yield start, Chunk([one[:limit] for one in texts[start:]])


def _powers(base: int, size: int) -> Hashes:
    powers = np.full(size, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


@lru_cache(maxsize=1)
def _kinds() -> npt.NDArray[np.int8]:
    """By code point: no part of a word (0), part of one, or a word of its own."""
    kinds = np.zeros(0x110000, np.int8)
    kinds[[code for code in range(0x33480) if chr(code).isalnum()]] = _WORD
    for first, last in ((0x3041, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3347F)):
        block = kinds[first : last + 1]
        block[block == _WORD] = _WORD_ALONE
    return kinds
