"""Shares of samples that are right: of one system, and of two on the same samples, whether or not samples come in clusters.

A cluster is a group of samples that are not independent: turns of a dialogue, questions about one document. Its *design
effect* is how much wider that makes the variance (Kish, "Survey Sampling", 1965); score intervals are taken at the
number of samples divided by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm
from scipy.stats import t as student

from delivery.artifacts import Estimate

Array = NDArray[Any]

_Z95 = float(norm.ppf(0.975))
_HALVINGS = 50


class Effect(NamedTuple):
    """A design effect, and the degrees of freedom of the variance that it comes from (infinite without clusters)."""

    factor: Array
    df: float


class Interval(NamedTuple):
    """Limits of 95 % intervals."""

    low: Array
    high: Array


def positions(clusters: Sequence[str]) -> NDArray[np.intp]:
    """Each sample's cluster as a number from 0; a sample whose cluster is empty is one of its own."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(name or f"\0{row}", len(known)) for row, name in enumerate(clusters)], dtype=np.intp)


def cluster_sums(counts: Array, clusters: Sequence[str]) -> Array:
    """Sums of the counts (samples x columns) over every cluster (clusters x columns)."""
    if not any(clusters):
        return counts
    place = positions(clusters)
    sums = np.zeros((int(place.max()) + 1, *counts.shape[1:]), dtype=counts.dtype)
    np.add.at(sums, place, counts)
    return sums


def wilson(successes: float, n: float, *, quantile: float = _Z95) -> Estimate:
    """A share of ``n`` with its score interval (Wilson, "Probable inference", JASA 22, 1927), 95 % by default."""
    share, square = successes / n, quantile**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * np.sqrt(share * (1 - share) / n + square / (4 * n**2))
    # At the ends the limit is the share itself, which rounding may miss by a hair.
    return Estimate(share, min(share, max(0.0, float(middle - half))), max(share, min(1.0, float(middle + half))))


def rate(right: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """The share of samples that are right (one 0 or 1 per sample), with its 95 % interval.

    Wilson's; where samples come in clusters, at the effective number of samples and with Student's quantile, as Korn and
    Graubard ("Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data", Survey Methodology 24, 1998) do with the exact interval.
    """
    values = np.asarray(right, dtype=np.float64)
    sums = cluster_sums(np.stack([values, np.ones_like(values)], axis=1), clusters)
    effect = design_effect(sums[:, 0], sums[:, 1], np.asarray(values.var()))
    factor = float(effect.factor)
    return wilson(float(values.sum()) / factor, len(values) / factor, quantile=_quantile(effect.df))


def design_effect(totals: Array, sizes: Array, variance: Array) -> Effect:
    """How much wider clusters make the variance of the mean of ``totals`` (... x clusters) over ``sizes`` (clusters).

    ``variance`` (...) is that of single samples. Between clusters: squared residuals, each divided by one minus its
    cluster's share of all samples (CR2 of Bell and McCaffrey, "Bias reduction in standard errors for linear regression
    with multi-stage samples", 2002). Degrees of freedom: Kish's effective number of clusters less one. Where all
    samples are alike, each cluster counts as one sample: the worst that is possible.
    """
    n, groups = sizes.sum(), len(sizes)
    if groups == n:
        return Effect(np.ones(np.shape(variance)), np.inf)
    shares = sizes / n
    residuals = totals - totals.sum(axis=-1, keepdims=True) * shares
    between = (residuals**2 / np.maximum(1 - shares, 1 / n)).sum(axis=-1) / n
    known = variance > 0
    factor = np.where(known, between / np.where(known, variance, 1), n / groups)
    # A variance between clusters of nothing at all would claim samples without end.
    return Effect(np.maximum(factor, groups / n), max(1.0, 1 / float((shares**2).sum()) - 1))


def paired_effect(only_a: Array, only_b: Array, sizes: Array) -> Effect:
    """The design effect of the difference of two systems from discordant samples per cluster (... x clusters)."""
    n = sizes.sum()
    a, b = only_a.sum(axis=-1), only_b.sum(axis=-1)
    return design_effect(only_a - only_b, sizes, (a + b) / n - ((a - b) / n) ** 2)


def paired_interval(only_a: Array, only_b: Array, sizes: Array) -> Interval:
    """95 % interval of the difference of two shares on the same samples.

    ``only_a`` and ``only_b`` count the samples of each cluster (... x clusters) that one system alone got right; a sample
    without a cluster is one of size 1. Tango's interval at the effective number of samples.
    """
    effect = paired_effect(only_a, only_b, sizes)
    a, b, n = (part / effect.factor for part in (only_a.sum(axis=-1), only_b.sum(axis=-1), sizes.sum()))
    return tango(a, b, n, quantile=_quantile(effect.df))


def paired_p_below(only_a: Array, only_b: Array, sizes: Array, *, bound: float) -> float:
    """One-sided p-value that the difference (a minus b) is ``bound`` or less, by the same statistic."""
    effect = paired_effect(only_a, only_b, sizes)
    a, b, n = (np.asarray(part / effect.factor) for part in (only_a.sum(), only_b.sum(), sizes.sum()))
    return float(student.sf(_score(a, b, n, np.asarray(bound)), effect.df))


def tango(only_a: ArrayLike, only_b: ArrayLike, n: ArrayLike, *, quantile: float = _Z95) -> Interval:
    """Score interval of the difference of two paired proportions, element by element; 95 % by default.

    ``only_a`` and ``only_b`` of ``n`` samples were right for one system alone; parts of samples are allowed. Source:
    Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17, 1998. The limits are found by halving, to 15 digits.
    """
    a, b, total = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (only_a, only_b, n)))
    return Interval(-_upper(b, a, total, quantile), _upper(a, b, total, quantile))


def sign_flip_exact(sums: ArrayLike) -> float:
    """Two-sided p-value that two systems are right equally often, from each cluster's count of a's wins less b's.

    If neither is better, each cluster's sum would as soon stand with the other sign: the share of all sign patterns whose
    total is as far from 0 (Fisher's randomisation test, "The Design of Experiments", 1935), counted without drawing. With
    clusters of one sample this is exactly McNemar's test (Psychometrika 12, 1947; the exact conditional form in Fagerland,
    Lydersen and Laake, "The McNemar test for binary matched-pairs data", 2013).
    """
    wins = np.rint(np.asarray(sums)).astype(np.int64)
    sizes, times = np.unique(np.abs(wins[wins != 0]), return_counts=True)
    # Chances of the sum of the clusters that go to a, where each goes to a or to b by the toss of a coin.
    chances = np.ones(1)
    for size, count in zip(sizes, times, strict=True):
        steps = np.zeros(size * count + 1)
        steps[::size] = _tosses(int(count))
        chances = np.convolve(chances, steps)
    middle = len(chances) - 1
    far = np.abs(2 * np.arange(len(chances)) - middle) >= abs(int(wins.sum()))
    return min(1.0, float(chances[far].sum()))


@lru_cache(maxsize=512)
def _tosses(count: int) -> Array:
    chances: Array = binom.pmf(np.arange(count + 1), count, 0.5)
    return chances


def _quantile(df: float) -> float:
    return float(student.ppf(0.975, df)) if np.isfinite(df) else _Z95


def _upper(a: Array, b: Array, n: Array, quantile: float) -> Array:
    low, high = (a - b) / n, np.ones_like(n)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = _score(a, b, n, middle) < -quantile
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return high


def _score(a: Array, b: Array, n: Array, difference: Array) -> Array:
    """Tango's statistic for a hypothetical difference: normal with variance 1 where that is the true one."""
    linear = a + b - (2 * n - a + b) * difference
    root = np.sqrt(np.maximum(linear**2 + 8 * n * b * difference * (1 - difference), 0.0))
    only_b = (linear + root) / (4 * n)
    variance = n * (2 * only_b + difference * (1 - difference))
    distance = a - b - n * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        score: Array = np.where(variance > 0, distance / np.sqrt(np.maximum(variance, 0.0)), np.sign(distance) * np.inf)
    return np.where(distance == 0, 0.0, score)
