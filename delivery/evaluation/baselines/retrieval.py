"""Engine: the training rows that are most like a sample, by BM25 (Robertson and Zaragoza 2009) with bm25s."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import bm25s

from delivery.artifacts import Example, Sample, input_key_of

# It reports every index that it builds on stderr.
logging.getLogger("bm25s").setLevel(logging.WARNING)

NEAR = 0.7
"""Jaccard similarity of character 5-grams from which a row is a copy of the sample, and its answer the sample's."""
_SHINGLE = 5
_WORD = re.compile(r"\w+")


class Retriever:
    """Training rows by likeness. The same rows give the same shots, whatever their order."""

    def __init__(self, train: Sequence[Example]) -> None:
        # A row without a word is like nothing.
        self._rows = [row for row in sorted(train, key=lambda row: row.id) if _WORD.search(row.asked)]
        self._index = bm25s.BM25()
        if self._rows:
            self._index.index([_words(row.asked) for row in self._rows], show_progress=False)

    def shots(self, sample: Sample, n: int, *, characters: int) -> tuple[Example, ...]:
        """Up to ``n`` rows that share words with the sample, the most alike last, with at most ``characters`` in all.

        A row with the sample's own input, or nearly, is never taken.
        """
        asked = "\n".join(m.content for m in sample.messages if m.role != "system")
        # Words that no row has would be an error of the index.
        words = [word for word in _words(asked) if word in self._index.vocab_dict] if self._rows else []
        if not words:
            return ()
        found, scores = self._index.retrieve([words], k=min(len(self._rows), 8 * n), show_progress=False)
        # Rows are sorted by id, so equals come in that order.
        ranked = sorted((-float(score), int(place)) for place, score in zip(found[0], scores[0], strict=True))
        own, shingles = input_key_of(sample.messages), _shingles(asked)
        chosen: list[Example] = []
        for score, place in ranked:
            row = self._rows[place]
            size = len(row.asked) + len(row.answer)
            if score == 0 or len(chosen) == n:
                break
            if size > characters or row.input_key == own or _alike(_shingles(row.asked), shingles) >= NEAR:
                continue
            characters -= size
            chosen.append(row)
        return tuple(reversed(chosen))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _shingles(text: str) -> set[str]:
    folded = " ".join(text.casefold().split())
    return {folded[start : start + _SHINGLE] for start in range(max(1, len(folded) - _SHINGLE + 1))}


def _alike(one: set[str], other: set[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
