"""Is the candidate better? Paired wherever both systems answered the same samples.

Proportions (accuracy, exact match): exact McNemar test for the p-value. F1: paired bootstrap. Either way the interval
of the difference is the paired bootstrap's, and the verdict follows from interval and margin alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from delivery.artifacts import Comparison, Estimate, Scored, SliceResult, Suite, SuiteResult, SystemName, SystemResult
from delivery.client_config import Gates, Verdict
from delivery.errors import EvalIncompleteError
from delivery.evaluation.scoring.metrics import Metric, metrics_of, wilson
from delivery.evaluation.statistics.bootstrap import SEED, Difference, bootstrap, paired_bootstrap

AGAINST: tuple[SystemName, ...] = ("baseline", "base", "champion", "encoder", "adapter")
SMALLEST_SLICE = 5


class Discordant(NamedTuple):
    """Samples that only a, and only b, got right."""

    only_a: int
    only_b: int


class _Pairs(NamedTuple):
    a: list[Scored]
    b: list[Scored]


def compare(suite: Suite, systems: Sequence[SystemResult], *, gates: Gates, seed: int = SEED) -> SuiteResult:
    """The candidate against every other system: on the primary metric, and on exact match where that is another.

    Margins: ``quantization_margin`` against the adapter, ``champion_margin`` against the champion, else
    ``baseline_margin``. Without a candidate there are no comparisons and no slices.

    Raises:
        EvalIncompleteError: the candidate and another system have not one answered sample in common.
    """
    # Of several prompts of the baseline, the first is the one that was chosen.
    by_name = {result.system: result for result in reversed(systems)}
    candidate = by_name.get("candidate")
    comparisons: list[Comparison] = []
    if candidate is not None:
        for name in AGAINST:
            if name in by_name:
                comparisons += _against(suite, candidate, by_name[name], margin=_margin(name, gates), seed=seed)
    return SuiteResult(
        suite=suite.name,
        kind=suite.kind,
        primary_metric=suite.primary_metric,
        n=len(suite.samples),
        systems=tuple(systems),
        comparisons=tuple(comparisons),
        slices=() if candidate is None else _slices(suite, candidate, by_name.get("baseline"), seed=seed),
    )


def verdict(low: float, high: float, margin: float) -> Verdict:
    """What an interval of a difference (candidate minus other) shows, given a margin (same unit, not negative).

    ``better``: all of it above 0. ``not_worse``: none of it below -margin (Piaggio et al., "Reporting of noninferiority
    and equivalence randomized trials", JAMA 2012). ``worse``: all of it below 0, and reaching below -margin.
    ``inconclusive``: it allows both a gain and a loss beyond the margin.
    """
    if low > 0:
        return "better"
    if low >= -margin:
        return "not_worse"
    return "worse" if high < 0 else "inconclusive"


def mcnemar_exact(discordant: Discordant) -> float:
    """Two-sided p-value that both systems are right equally often.

    Exact binomial test on the discordant pairs (McNemar, Psychometrika 12, 1947; the exact conditional form in
    Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data", 2013).
    """
    n = discordant.only_a + discordant.only_b
    return float(binomtest(discordant.only_a, n, 0.5).pvalue) if n else 1.0


def unpaired_difference(a: Estimate, b: Estimate) -> Difference:
    """Difference of two independent estimates from their intervals.

    Square-and-add of the distances to the limits: Newcombe, "Interval estimation for the difference between independent
    proportions", 1998, method 10, where both are proportions with score intervals; Zou and Donner (2008) show it for any
    other estimate. The p-value is the normal one whose standard error is the interval's half-width towards 0.
    """
    difference = a.value - b.value
    below = float(np.hypot(a.value - a.low, b.high - b.value))
    above = float(np.hypot(a.high - a.value, b.value - b.low))
    half = below if difference > 0 else above
    z = abs(difference) / (half / norm.ppf(0.975)) if half > 0 else (np.inf if difference else 0.0)
    return Difference(difference, difference - below, difference + above, float(2 * norm.sf(z)))


def _margin(name: SystemName, gates: Gates) -> float:
    if name == "adapter":
        return gates.quantization_margin
    return gates.champion_margin if name == "champion" else gates.baseline_margin


def _against(suite: Suite, a: SystemResult, b: SystemResult, *, margin: float, seed: int) -> list[Comparison]:
    if not b.samples:
        return [_unpaired(suite, a, b, margin=margin)]
    pairs = _pair(a.samples, b.samples)
    if not pairs.a:
        raise EvalIncompleteError(f"suite {suite.name}: {a.system} and {b.system} have no answered sample in common")
    discordant = _discordant(pairs)
    found = []
    for ours, theirs in zip(metrics_of(suite, pairs.a), metrics_of(suite, pairs.b), strict=True):
        if ours.name not in (suite.primary_metric, "exact_match"):
            continue
        unit = _smallest_disagreement(ours)
        difference = paired_bootstrap(ours.counts, theirs.counts, ours.statistic, unit=unit, seed=seed)
        found.append(
            Comparison(
                a=a.system,
                b=b.system,
                metric=ours.name,
                test="mcnemar_exact" if ours.proportion else "paired_bootstrap",
                difference=difference.value,
                low=difference.low,
                high=difference.high,
                p_value=mcnemar_exact(discordant) if ours.proportion else difference.p_value,
                n=len(pairs.a),
                discordant=(discordant.only_a, discordant.only_b),
                margin=margin,
                verdict=verdict(difference.low, difference.high, margin),
            )
        )
    return found


def _pair(a: Sequence[Scored], b: Sequence[Scored]) -> _Pairs:
    theirs = {one.sample_id: one for one in b if one.correct is not None}
    ours = [one for one in a if one.correct is not None and one.sample_id in theirs]
    return _Pairs(ours, [theirs[one.sample_id] for one in ours])


def _discordant(pairs: _Pairs) -> Discordant:
    outcomes = [(bool(a.correct), bool(b.correct)) for a, b in zip(pairs.a, pairs.b, strict=True)]
    return Discordant(outcomes.count((True, False)), outcomes.count((False, True)))


def _smallest_disagreement(metric: Metric) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if metric.proportion:
        return np.array([1, 1], np.float32), np.array([0, 1], np.float32)
    # One field of an extraction of average size.
    fields = max(1.0, round(float((metric.counts[:, 0] + metric.counts[:, 2]).mean())))
    return np.array([fields, 0, 0], np.float32), np.array([fields - 1, 1, 1], np.float32)


def _unpaired(suite: Suite, a: SystemResult, b: SystemResult, *, margin: float) -> Comparison:
    metric = suite.primary_metric
    difference = unpaired_difference(a.metrics[metric], b.metrics[metric])
    return Comparison(
        a=a.system,
        b=b.system,
        metric=metric,
        test="unpaired",
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        p_value=difference.p_value,
        n=a.n_scored,
        discordant=None,
        margin=margin,
        verdict=verdict(difference.low, difference.high, margin),
    )


def _slices(suite: Suite, candidate: SystemResult, baseline: SystemResult | None, *, seed: int) -> tuple[SliceResult, ...]:
    members: dict[tuple[str, str], set[str]] = {}
    for sample in suite.samples:
        for name, value in sample.slices.items():
            members.setdefault((name, value), set()).add(sample.id)
    found = []
    for (name, value), ids in sorted(members.items()):
        ours = [one for one in candidate.samples if one.sample_id in ids and one.correct is not None]
        if len(ours) < SMALLEST_SLICE:
            continue
        theirs = [one for one in baseline.samples if one.sample_id in ids and one.correct is not None] if baseline else []
        found.append(
            SliceResult(
                name=name,
                value=value,
                n=len(ours),
                candidate=_primary(suite, ours, seed=seed),
                baseline=_primary(suite, theirs, seed=seed) if theirs else None,
            )
        )
    return tuple(found)


def _primary(suite: Suite, counted: Sequence[Scored], *, seed: int) -> Estimate:
    metric = metrics_of(suite, counted)[0]
    if metric.proportion:
        return wilson(int(metric.counts[:, 0].sum()), len(counted))
    return bootstrap(metric.counts, metric.statistic, seed=seed)
