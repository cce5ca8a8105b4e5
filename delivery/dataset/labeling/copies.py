"""Texts that say the same in nearly the same letters: character 5-grams, Jaccard similarity of at least 0.7."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

ALIKE = 0.7
WIDTH = 5
_AT_ONCE = 1_000


def shingles(text: str) -> frozenset[str]:
    """The character 5-grams of a text after NFKC, case and white-space folding; a shorter text is its own one."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return frozenset(folded[start : start + WIDTH] for start in range(max(1, len(folded) - WIDTH + 1)))


def nearly_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of shingles overlap by at least 0.7 of their union."""
    smaller, larger = sorted((len(one), len(other)))
    if smaller < ALIKE * larger:
        return False
    shared = len(one & other)
    return shared >= ALIKE * (smaller + larger - shared)


def copies_among(texts: Sequence[str], known: Iterable[str]) -> set[int]:
    """The texts (by index) that are nearly alike to one of the known ones.

    The known texts are read once and not kept: memory is that of the few texts, time that of all.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    sets = [shingles(text) for text in texts]
    columns: dict[str, int] = {}
    for mine in sets:
        for shingle in mine:
            columns.setdefault(shingle, len(columns))

    def matrix(of: Sequence[frozenset[str]]) -> csr_matrix:
        rows = [[columns[shingle] for shingle in one if shingle in columns] for one in of]
        ends = np.cumsum([0, *map(len, rows)])
        return csr_matrix((np.ones(ends[-1], np.int32), [c for row in rows for c in row], ends), (len(of), len(columns)))

    few, sizes = matrix(sets).T, np.array([len(one) for one in sets])
    found: set[int] = set()
    for batch in _batches(map(shingles, known)):
        shared = (matrix(batch) @ few).tocoo()
        theirs = np.array([len(one) for one in batch])
        enough = shared.data >= ALIKE * (theirs[shared.row] + sizes[shared.col] - shared.data)
        found.update(shared.col[enough].tolist())
    return found


def _batches(sets: Iterator[frozenset[str]]) -> Iterator[list[frozenset[str]]]:
    while batch := list(islice(sets, _AT_ONCE)):
        yield batch
