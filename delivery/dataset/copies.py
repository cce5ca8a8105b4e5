"""Texts that say the same in nearly the same letters: character 5-grams, Jaccard similarity of at least 0.7."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

ALIKE = 0.7
WIDTH = 5


def shingles(text: str) -> frozenset[str]:
    """The character 5-grams of a text after NFKC, case and white-space folding; a shorter text is its own one."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return frozenset(folded[start : start + WIDTH] for start in range(max(1, len(folded) - WIDTH + 1)))


def nearly_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of shingles overlap by at least 0.7 of their union."""
    smaller, larger = sorted((len(one), len(other)))
    return smaller >= ALIKE * larger and _overlap_suffices(len(one & other), smaller, larger)


def copies_among(texts: Sequence[str], known: Iterable[str]) -> set[int]:
    """The texts (by index) that are nearly alike to one of the known ones.

    The known texts are read once and not kept: memory is that of the few texts, time that of all. A known text is
    compared with those alone that share one of their rarest shingles: whoever overlaps a text by 0.7 lacks at most
    three tenths of its shingles, so it has one of any larger number of them (Chaudhuri, Ganti and Kaushik, "A primitive
    operator for similarity joins in data cleaning", 2006).
    """
    sets = [shingles(text) for text in texts]
    how_often = Counter(shingle for mine in sets for shingle in mine)
    holders: dict[str, list[int]] = defaultdict(list)
    for index, mine in enumerate(sets):
        rarest = sorted(mine, key=lambda shingle: (how_often[shingle], shingle))
        for shingle in rarest[: int((1 - ALIKE) * len(mine)) + 1]:
            holders[shingle].append(index)
    found: set[int] = set()
    for text in known:
        theirs = shingles(text)
        near = {index for shingle in theirs & holders.keys() for index in holders[shingle]} - found
        found.update(index for index in near if nearly_alike(sets[index], theirs))
    return found


def _overlap_suffices(shared: int, one: int, other: int) -> bool:
    return shared >= ALIKE * (one + other - shared)
