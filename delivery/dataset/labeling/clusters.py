"""Texts that are about the same thing, by their words alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

PER_CLUSTER = 25
MOST = 40
FEWEST_TEXTS = 2 * PER_CLUSTER
DIMENSIONS = 50
NAMED_BY = 4
_CHARACTERS = 2_000


class Cluster(NamedTuple):
    """Texts by index, and the words that tell them from the others, the most telling first."""

    inside: tuple[int, ...]
    words: tuple[str, ...]


def cluster(texts: Sequence[str], *, marked: Sequence[bool], seed: int) -> tuple[Cluster, ...]:
    """Divide texts into clusters of about 25 (at most 40 clusters): k-means on TF-IDF words in 50 dimensions.

    ``marked`` decides nothing about who stands where; where a cluster has marked texts, it is named after those. Fewer
    than 50 texts, or texts with no word in common, make no clusters.
    """
    if len(texts) < FEWEST_TEXTS:
        return ()
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"[^\W\d_]{2,}", min_df=2, max_df=0.5, dtype=np.float32)
    try:
        matrix = vectorizer.fit_transform([text[:_CHARACTERS] for text in texts]).tocsr()
    except ValueError:
        # No word stands in two texts and in less than half of them.
        return ()
    dense: Any = matrix
    if matrix.shape[1] > DIMENSIONS:
        dense = normalize(TruncatedSVD(DIMENSIONS, random_state=seed).fit_transform(matrix))
    count = min(MOST, len(texts) // PER_CLUSTER)
    assigned = KMeans(count, n_init=4, random_state=seed).fit_predict(dense)
    words = vectorizer.get_feature_names_out()
    flags = np.array(marked, dtype=bool)
    found = []
    for number in range(count):
        inside = assigned == number
        if inside.any():
            named_by = inside & flags if (inside & flags).any() else inside
            telling = np.asarray(matrix[named_by].mean(axis=0) - matrix[~inside].mean(axis=0)).ravel()
            top = np.argsort(-telling, kind="stable")[:NAMED_BY]
            named = tuple(str(words[index]) for index in top if telling[index] > 0) or ("other",)
            found.append(Cluster(tuple(int(index) for index in np.flatnonzero(inside)), named))
    return tuple(found)
