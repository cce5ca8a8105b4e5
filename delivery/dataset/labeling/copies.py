"""A few texts that are nearly the same as some of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from delivery.dataset.shingles import THRESHOLD, folded, shingles, similarity

_AT_ONCE = 1_000


def nearly_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of shingles are near enough."""
    smaller, larger = sorted((len(one), len(other)))
    return smaller >= THRESHOLD * larger and similarity(one, other) >= THRESHOLD


def copies_among(texts: Sequence[str], known: Iterable[str]) -> set[int]:
    """The texts (by index) that are nearly alike to one of the known ones.

    The known texts are read once and not kept: memory is that of the few texts, time that of all.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    sets = [shingles(folded(text)) for text in texts]
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
    for batch in _batches(shingles(folded(text)) for text in known):
        shared = (matrix(batch) @ few).tocoo()
        theirs = np.array([len(one) for one in batch])
        enough = shared.data >= THRESHOLD * (theirs[shared.row] + sizes[shared.col] - shared.data)
        found.update(shared.col[enough].tolist())
    return found


def _batches(sets: Iterator[frozenset[str]]) -> Iterator[list[frozenset[str]]]:
    while batch := list(islice(sets, _AT_ONCE)):
        yield batch
