"""Means of judged scores, with intervals over clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delivery.artifacts import Estimate
from delivery.evaluation.statistics.bootstrap import SEED, bootstrap

Values = NDArray[Any]


class Sums(NamedTuple):
    """Per cluster: the sum of its scores, and how many they are (clusters x 2)."""

    rows: Values


def cluster_sums(scores: Sequence[float], clusters: Sequence[str]) -> Sums:
    """Scores (0 to 1) summed by cluster; a score without a cluster ("") is its own."""
    places = cluster_places(clusters)
    rows = np.zeros((int(places.max(initial=-1)) + 1, 2))
    np.add.at(rows, places, np.column_stack([np.asarray(scores, dtype=float), np.ones(len(scores))]))
    return Sums(rows)


def cluster_places(clusters: Sequence[str]) -> NDArray[np.intp]:
    """The number of every score's cluster, counted from 0."""
    names = [name or f"\0{index}" for index, name in enumerate(clusters)]
    _, places = np.unique(names, return_inverse=True)
    return places


def with_unit(sums: Sums) -> Sums:
    """Sums with one best and one worst score added, as clusters of their own.

    Without them a resample of a few equal scores has no spread at all: three wins out of three would be a win rate of
    exactly 1. ``paired_bootstrap`` does the same for differences, and says why.
    """
    return Sums(np.vstack([sums.rows, [[1, 1], [0, 1]]]))


def mean_of_clusters(scores: Sequence[float], clusters: Sequence[str], *, seed: int = SEED) -> Estimate:
    """The mean of scores from 0 to 1 with its 95 % percentile interval over resampled clusters (Efron, 1979).

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("the mean of no scores")
    sums = cluster_sums(scores, clusters)
    spread = bootstrap(with_unit(sums).rows, _ratio, seed=seed)
    value = float(sums.rows[:, 0].sum() / sums.rows[:, 1].sum())
    return Estimate(value, min(spread.low, value), max(spread.high, value))


def _ratio(sums: Values) -> Values:
    values: Values = sums[:, 0] / sums[:, 1]
    return values
