"""Passages that a test row shares with a row of another side, wherever they stand in it: runs of ``GRAM`` words.

The length is the one of Brown et al. 2020 (appendix C), and so is the rule that a run which stands in more than ``COMMON``
texts of the other side is a set phrase, not a leak.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

GRAM = 13
COMMON = 10

_CHUNK = 20_000
_WORD = re.compile(r"\w+")
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def sharing_a_passage(held_out: Sequence[str], others: Sequence[str]) -> list[int]:
    """Places of the held-out texts that share a run of 13 words with one of the others. Texts come folded."""
    wanted = [np.empty(0, np.uint64)]
    owners = [np.empty(0, np.int64)]
    for begin, chunk in _chunks(held_out):
        grams, rows = _grams(chunk)
        wanted.append(grams)
        owners.append(rows + begin)
    grams, rows = np.concatenate(wanted), np.concatenate(owners)
    known = np.unique(grams)
    seen = np.zeros(len(known), np.int64)
    for _, chunk in _chunks(others):
        found, in_rows = _grams(chunk)
        places = np.searchsorted(known, found)
        hit = places < len(known)
        hit[hit] = known[places[hit]] == found[hit]
        once_a_row = np.unique(np.stack([places[hit], in_rows[hit]]), axis=1)
        seen += np.bincount(once_a_row[0], minlength=len(known))
    leaked = (seen > 0) & (seen <= COMMON)
    return np.unique(rows[leaked[np.searchsorted(known, grams)]]).tolist() if len(known) else []


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for begin in range(0, len(texts), _CHUNK):
        yield begin, texts[begin : begin + _CHUNK]


def _grams(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of all runs in the texts, and the place of the text that each is from."""
    words = [_WORD.findall(text) for text in texts]
    lengths = np.array([len(row) for row in words])
    # Python's own hash differs from process to process, which nothing here outlives.
    hashes = np.fromiter((hash(word) for row in words for word in row), np.int64, int(lengths.sum())).view(np.uint64)
    if len(hashes) < GRAM:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    runs = hashes[: 1 - GRAM].copy()
    for place in range(1, GRAM):
        runs *= _SPREAD
        runs += hashes[place : len(hashes) - GRAM + 1 + place]
    row_of = np.repeat(np.arange(len(texts)), lengths)
    inside = row_of[: len(runs)] == row_of[GRAM - 1 :]
    return runs[inside], row_of[: len(runs)][inside]
