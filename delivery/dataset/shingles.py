"""What nearly the same means: a Jaccard similarity of the character 5-grams of two folded texts of at least 0.7."""

from __future__ import annotations

import unicodedata

THRESHOLD = 0.7
WIDTH = 5


def folded(text: str) -> str:
    """A text after NFKC, case folding and white-space folding, which is how inputs are compared."""
    normal = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(normal.casefold().split())


def shingles(text: str) -> frozenset[str]:
    """The character 5-grams of a folded text; a shorter text is its own one."""
    return frozenset(text[start : start + WIDTH] for start in range(max(1, len(text) - WIDTH + 1)))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity of two sets of shingles, 0 to 1."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
