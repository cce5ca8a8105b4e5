"""Do the intervals cover, and do the verdicts err, as often as they say? Simulated with the functions that decide.

``python -m tests.benchmarks.evidence_calibration [--share 1.0]``; ``--share`` scales the number of simulated evaluations.
Rates are those of the worst case that was simulated (of ``better`` with clusters, where each case has fewer draws, the
mean, with the worst beside it), coverages the mean over cases with the lowest and highest beside it. Every case goes to
stderr. False promotions are counted in years of 90 nights without change: one holdout, one
champion, and every night a candidate of equal skill whose mistakes are shared with those of other nights to some extent.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from delivery.client_config import Gates
from delivery.evaluation.scoring.metrics import micro_f1
from delivery.evaluation.statistics.bootstrap import paired_bootstrap
from delivery.evaluation.statistics.power import POWER, needed_samples
from delivery.evaluation.statistics.proportions import paired_interval, sign_flip_exact, tango
from delivery.evaluation.statistics.verdicts import level_of_look, verdict

NIGHTS, YEARS = 90, 2_000
PASSED = ("better", "not_worse")
FIELDS = 4

Array = NDArray[Any]


class Case(NamedTuple):
    """What is true in a simulation: samples, how many in a cluster on average, how alike they are, what two systems do."""

    n: int
    discordance: float
    difference: float
    cluster: int = 1
    correlation: float = 0.0

    @property
    def shares(self) -> Array:
        """Of samples that only a, only b, and both or neither get right."""
        only_a = (self.discordance + self.difference) / 2
        return np.array([only_a, self.discordance - only_a, 1 - self.discordance])


class Drawn(NamedTuple):
    """Simulated evaluations: samples that one system alone got right, per cluster (evaluations x clusters)."""

    only_a: Array
    only_b: Array
    sizes: Array


class Found(NamedTuple):
    """What the product says of every simulated evaluation, each of a weight; ``sums`` are a's wins less b's by cluster."""

    low: Array
    high: Array
    sums: list[tuple[int, ...]]
    weight: Array

    def rate(self, hits: Array) -> float:
        """The share of evaluations that are hits."""
        return float((hits * self.weight).sum() / self.weight.sum())

    def covers(self, difference: float) -> float:
        """How often the interval holds the true difference."""
        return self.rate((self.low <= difference) & (difference <= self.high))

    def verdicts(self, wanted: tuple[str, ...], margin: float) -> float:
        """How often the verdict is one of those wanted."""
        hits = []
        for low, high, sums in zip(self.low, self.high, self.sums, strict=True):
            # The p-value only decides where the interval leaves 0 out, and takes a while to count.
            p_value = p_of(sums) if low > 0 or high < 0 else 1.0
            hits.append(verdict(low, high, margin, p_value=p_value) in wanted)
        return self.rate(np.array(hits))


@lru_cache(maxsize=200_000)
def p_of(sums: tuple[int, ...]) -> float:
    """The test's p-value, remembered."""
    return sign_flip_exact(sums)


def evaluate(case: Case, times: int, seed: int) -> Found:
    """Draw evaluations of a case and put each through the interval."""
    generator = np.random.default_rng(seed)
    if case.cluster > 1:
        drawn = draw_clusters(case, times, generator)
        sums = np.sort(drawn.only_a - drawn.only_b, axis=1)
        return Found(*paired_interval(*drawn), [tuple(row[row != 0]) for row in sums], np.ones(times))
    counts, weight = np.unique(generator.multinomial(case.n, case.shares, size=times)[:, :2], axis=0, return_counts=True)
    return Found(*tango(counts[:, 0], counts[:, 1], case.n), [wins(int(a), int(b)) for a, b in counts], weight)


@cache
def wins(only_a: int, only_b: int) -> tuple[int, ...]:
    """Samples that one system alone got right, as clusters of one."""
    return (1,) * only_a + (-1,) * only_b


def draw_clusters(case: Case, times: int, generator: np.random.Generator) -> Drawn:
    """Clusters of 1 to twice the mean size, each with shares of its own around the true ones (Dirichlet)."""
    sizes: list[int] = []
    while sum(sizes) < case.n:
        sizes.append(min(int(generator.integers(1, 2 * case.cluster)), case.n - sum(sizes)))
    size = np.array(sizes)
    strength = (1 - case.correlation) / case.correlation
    gammas = generator.gamma(np.maximum(case.shares * strength, 1e-9), size=(times, len(size), 3))
    own = gammas / gammas.sum(axis=-1, keepdims=True)
    only_a = generator.binomial(size, own[..., 0])
    rest = np.clip(own[..., 1] / np.maximum(1 - own[..., 0], 1e-12), 0, 1)
    return Drawn(only_a, generator.binomial(size - only_a, rest), size)


class Range(NamedTuple):
    """A share over all cases: its mean, and those of the lowest and the highest case."""

    mean: float
    low: float
    high: float


def single_cases(parts: tuple[float, ...]) -> Iterator[Case]:
    """Realistic evaluations without clusters; ``parts`` are differences as parts of the discordance."""
    for n, discordance, part in product((100, 200, 500, 1_000), (0.05, 0.1, 0.25, 0.5), parts):
        yield Case(n, discordance, part * discordance)


def cluster_cases(parts: tuple[float, ...]) -> Iterator[Case]:
    """The same with clusters."""
    for case, cluster, correlation in product(single_cases(parts), (3, 10, 20), (0.05, 0.3)):
        yield case._replace(cluster=cluster, correlation=correlation)


def coverage(cases: Iterator[Case], times: int) -> Range:
    """Mean, lowest and highest share of intervals that hold the truth."""
    found = []
    for seed, case in enumerate(cases):
        found.append(evaluate(case, times, seed).covers(case.difference))
        say(f"{case}: covered {found[-1]:.4f}")
    return Range(float(np.mean(found)), min(found), max(found))


def coverage_of_f1(times: int) -> Range:
    """The same for the bootstrap over clusters, of an extraction of four fields whose true F1 are known."""
    found = []
    for case in (Case(n, 0.2, d, m, 0.1) for n, m in ((200, 1), (300, 10), (1_000, 20)) for d in (0.0, 0.05)):
        hits, generator = 0, np.random.default_rng(case.n)
        for seed in range(times):
            a, b = draw_fields(case, generator)
            interval = paired_bootstrap(a, b, micro_f1, unit=FIELD, draws=1_000, seed=seed)
            hits += interval.low <= case.difference <= interval.high
        found.append(hits / times)
        say(f"F1 {case}: covered {found[-1]:.4f}")
    return Range(float(np.mean(found)), min(found), max(found))


FIELD = np.array([FIELDS, 0, 0], np.float32), np.array([FIELDS - 1, 1, 1], np.float32)


def draw_fields(case: Case, generator: np.random.Generator) -> tuple[Array, Array]:
    """Counts of right, wrong and missed fields of two systems, summed over clusters; both right or wrong is even."""
    shares = np.append(case.shares[:2], [case.shares[2] / 2] * 2)
    groups = case.n // case.cluster
    own = generator.dirichlet(shares * (1 - case.correlation) / case.correlation, size=groups)
    said = generator.multinomial(FIELDS * case.cluster, own)
    right = said[:, 0] + said[:, 2], said[:, 1] + said[:, 2]
    a, b = (np.stack([r, FIELDS * case.cluster - r, FIELDS * case.cluster - r], axis=1).astype(np.float32) for r in right)
    return a, b


def false_better(cases: Iterator[Case], times: int) -> Range:
    """The share of ``better`` where nothing is better."""
    found = []
    for seed, case in enumerate(cases):
        found.append(evaluate(case, times, seed).verdicts(("better",), 0.02))
        say(f"{case}: better {found[-1]:.4f}")
    return Range(float(np.mean(found)), min(found), max(found))


def noninferiority_false_pass(times: int) -> float:
    """The worst share of ``better`` or ``not_worse`` where the loss is exactly the margin."""
    worst = 0.0
    for margin, n, more, cluster in product((0.01, 0.02, 0.05), (100, 300, 1_000), (0.0, 0.05, 0.2), (1, 10)):
        case = Case(n, margin + more, -margin, cluster, 0.1)
        found = evaluate(case, times if cluster == 1 else times // 10, n).verdicts(PASSED, margin)
        say(f"{case}: passed {found:.4f}")
        worst = max(worst, found)
    return worst


def power_seen(times: int) -> dict[str, float]:
    """The share of ``better`` at the sample size that the plan asks for, and its largest distance from the plan."""
    found = []
    for difference, discordance in ((0.02, 0.05), (0.03, 0.1), (0.05, 0.1), (0.05, 0.25), (0.1, 0.25), (0.1, 0.5), (0.15, 0.3)):
        case = Case(needed_samples(difference, discordance=discordance), discordance, difference)
        found.append(evaluate(case, times, case.n).verdicts(("better",), 0.02))
        say(f"{case}: better {found[-1]:.4f}")
    return {"mean": float(np.mean(found)), "gap": max(abs(one - POWER) for one in found)}


def year_of_nights(n: int, shared: float, generator: np.random.Generator, *, gain: float = 0.0) -> Array:
    """One-sided p-values of 90 candidates against one champion on one holdout; they gain ``gain`` in accuracy.

    A model is right where a hidden score is above 0: the sample's ease, and the model's own. Of the own part a share
    ``shared`` is the same in all candidates of the year; the champion's is another, from the same distribution.
    """
    ease = generator.normal(size=n)
    champion = ease + generator.normal(size=n) > 0
    own = np.sqrt(shared) * generator.normal(size=n) + np.sqrt(1 - shared) * generator.normal(size=(NIGHTS, n))
    candidates = ease + own + np.sqrt(2) * norm.ppf(0.5 + gain) > 0
    only_a, only_b = (candidates & ~champion).sum(axis=1), (champion & ~candidates).sum(axis=1)
    two_sided = np.array([p_of(wins(int(a), int(b))) for a, b in zip(only_a, only_b, strict=True)])
    return np.where(only_a > only_b, two_sided / 2, 1 - two_sided / 2)


def p_values_of_years(years: int, shared: float, *, gain: float = 0.0, n: int = 500) -> Array:
    """The p-values of many such years (years x nights)."""
    generator = np.random.default_rng(int(1_000 * shared))
    return np.array([year_of_nights(n, shared, generator, gain=gain) for _ in range(years)])


def levels(alpha: float) -> Array:
    """The level of every night, as the gate takes it."""
    return np.array([level_of_look(night, alpha=alpha) for night in range(1, NIGHTS + 1)])


def false_promotions(years: int) -> dict[str, float]:
    """The worst share of years that promote a candidate of equal skill; the same without protection beside it."""
    alpha = Gates().promotion_alpha
    worst = {"protected": 0.0, "unprotected": 0.0}
    for shared in (0.0, 0.5, 0.9, 0.99):
        p_values = p_values_of_years(years, shared)
        found = {
            "protected": float((p_values <= levels(alpha)).any(axis=1).mean()),
            "unprotected": float((p_values <= alpha).any(axis=1).mean()),
        }
        say(f"90 nights, mistakes shared {shared}: {found}")
        worst = {name: max(worst[name], found[name]) for name in worst}
    for gain in (0.03, 0.05, 0.08):
        passed = p_values_of_years(years // 10, 0.5, gain=gain) <= levels(alpha)
        tenth, last = passed[:, 9].mean(), passed[:, -1].mean()
        say(f"gain of {100 * gain:.0f} points, promoted on night 1: {passed[:, 0].mean():.2f}, 10: {tenth:.2f}, 90: {last:.2f}")
    return worst


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def measure(share: float) -> dict[str, Any]:
    single, grouped, f1 = (max(20, int(share * times)) for times in (100_000, 3_000, 500))
    alone = coverage(single_cases((0.0, 0.25, 0.5)), single)
    clustered = coverage(cluster_cases((0.0, 0.5)), grouped)
    bootstrapped = coverage_of_f1(f1)
    better, better_clustered = false_better(single_cases((0.0,)), single), false_better(cluster_cases((0.0,)), 4 * grouped)
    nights, power = false_promotions(max(20, int(share * YEARS))), power_seen(single)
    figures = {
        "false_better_rate": max(better.high, better_clustered.mean),
        "false_better_clustered_max": better_clustered.high,
        "coverage": alone.mean,
        "coverage_min": alone.low,
        "coverage_max": alone.high,
        "coverage_clustered": clustered.mean,
        "coverage_clustered_min": clustered.low,
        "coverage_clustered_max": clustered.high,
        "coverage_clustered_f1": bootstrapped.mean,
        "coverage_clustered_f1_min": bootstrapped.low,
        "coverage_clustered_f1_max": bootstrapped.high,
        "false_promotion_90_nights": nights["protected"],
        "false_promotion_unprotected": nights["unprotected"],
        "noninferiority_false_pass": noninferiority_false_pass(single),
        "power_planned": POWER,
        "power_seen": power["mean"],
        "power_gap": power["gap"],
    }
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    """Simulate and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    sys.stdout.write(json.dumps(measure(parser.parse_args().share)) + "\n")


if __name__ == "__main__":
    main()
