"""Is the candidate better? Paired wherever both systems answered the same samples.

Proportions (accuracy, exact match): exact McNemar test and Tango's interval; where samples come in clusters, the sign-flip
test over clusters and the same interval at the effective number of samples. F1 and judged scores: bootstrap, of samples or
of whole clusters. Answers that a judge sees side by side: a bootstrap of the win rate, against a draw. The verdict follows
from interval, p-value and margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from delivery.artifacts import Comparison, Estimate, Scored, SliceResult, Suite, SuiteResult, SystemName, SystemResult
from delivery.client_config import Gates
from delivery.errors import EvalIncompleteError
from delivery.evaluation.scoring.metrics import Metric, metrics_of, ratio
from delivery.evaluation.statistics.alignment import Pairs, pair, require_aligned
from delivery.evaluation.statistics.bootstrap import SEED, Difference, bootstrap, paired_bootstrap
from delivery.evaluation.statistics.multiple import benjamini_hochberg
from delivery.evaluation.statistics.power import detectable_by_error, detectable_difference
from delivery.evaluation.statistics.proportions import (
    cluster_sums,
    paired_effect,
    paired_interval,
    paired_p_below,
    rate,
    sign_flip_exact,
)
from delivery.evaluation.statistics.verdicts import verdict

AGAINST: tuple[SystemName, ...] = ("baseline", "base", "champion", "encoder", "adapter")
SMALLEST_SLICE = 5


class _Tested(NamedTuple):
    """What a test of one metric on pairs of outcomes says, whichever test fits the metric."""

    test: str
    difference: Estimate
    p_value: float
    p_margin: float
    detectable: float


def compare(
    suite: Suite,
    systems: Sequence[SystemResult],
    *,
    gates: Gates,
    duels: Mapping[SystemName, Sequence[Scored]] | None = None,
    seed: int = SEED,
) -> SuiteResult:
    """The candidate against every other system: on the primary metric, and on exact match where that is another.

    With ``duels``, for a suite of judged pairs, the candidate is compared with those systems that it met head to head, by its
    win rate less one half, and with no others. Win rates of two systems against a third are not compared: both can lose every
    time to a strong baseline, and one of them still be the worse.

    Margins: ``quantization_margin`` against the adapter, ``champion_margin`` against the champion, ``general_margin``
    against the base on a suite of kind general, else ``baseline_margin``. Without a candidate there are no comparisons
    and no slices.

    Raises:
        IntegrityError: a system was asked other samples than the suite's.
        EvalIncompleteError: the candidate and another system have not one answered sample in common.
    """
    require_aligned(suite, systems)
    # Of several prompts of the baseline, the first is the one that was chosen.
    by_name = {result.system: result for result in reversed(systems)}
    candidate = by_name.get("candidate")
    comparisons: list[Comparison] = []
    if candidate is not None:
        for name in AGAINST:
            margin = _margin(suite, name, gates)
            if duels is not None and name in duels:
                comparisons.append(_duel(suite, name, duels[name], margin=margin, seed=seed))
            elif duels is None and name in by_name:
                comparisons += _against(suite, candidate, by_name[name], margin=margin, seed=seed)
    return SuiteResult(
        suite=suite.name,
        kind=suite.kind,
        primary_metric=suite.primary_metric,
        n=len(suite.samples),
        systems=tuple(systems),
        comparisons=tuple(comparisons),
        slices=() if candidate is None else _slices(suite, candidate, by_name.get("baseline"), seed=seed),
    )


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
    return Difference(difference, difference - below, difference + above, half / float(norm.ppf(0.975)), np.inf)


def _margin(suite: Suite, name: SystemName, gates: Gates) -> float:
    if name == "adapter":
        return gates.quantization_margin
    if name == "champion":
        return gates.champion_margin
    return gates.general_margin if (suite.kind, name) == ("general", "base") else gates.baseline_margin


def _against(suite: Suite, a: SystemResult, b: SystemResult, *, margin: float, seed: int) -> list[Comparison]:
    if not b.samples:
        return [_unpaired(suite, a, b, margin=margin)]
    pairs = pair(suite, a, b)
    groups = len(cluster_sums(np.ones((len(pairs.a), 1)), pairs.clusters))
    found = []
    for ours, theirs in zip(metrics_of(suite, pairs.a), metrics_of(suite, pairs.b), strict=True):
        if ours.name not in (suite.primary_metric, "exact_match"):
            continue
        tested = _test(ours, theirs, pairs, margin=margin, seed=seed)
        difference = tested.difference
        found.append(
            Comparison(
                a=a.system,
                b=b.system,
                metric=ours.name,
                test=tested.test,
                difference=difference.value,
                low=difference.low,
                high=difference.high,
                p_value=tested.p_value,
                n=len(pairs.a),
                discordant=_discordant(pairs),
                margin=margin,
                verdict=verdict(difference.low, difference.high, margin, p_value=tested.p_value),
                p_margin=tested.p_margin,
                detectable=tested.detectable,
                dropped=pairs.dropped,
                clusters=groups if groups < len(pairs.a) else None,
            )
        )
    return found


def _duel(suite: Suite, other: SystemName, met: Sequence[Scored], *, margin: float, seed: int) -> Comparison:
    counted = [one for one in met if one.score is not None]
    if not counted:
        raise EvalIncompleteError(f"suite {suite.name}: of candidate and {other} not one pair could be judged")
    scores = np.array([(one.score, 1) for one in counted], np.float32)
    rows = cluster_sums(scores, [one.cluster for one in counted])
    draws = np.column_stack([rows[:, 1] / 2, rows[:, 1]])
    win, draw = np.array([1, 1], np.float32), np.array([0.5, 1], np.float32)
    found = paired_bootstrap(rows, draws, ratio, unit=(win, draw), seed=seed)
    p_value = found.p_value()
    return Comparison(
        a="candidate",
        b=other,
        metric=suite.primary_metric,
        test="judged_pairs",
        difference=found.value,
        low=found.low,
        high=found.high,
        p_value=p_value,
        n=len(counted),
        discordant=(sum(one.score == 1 for one in counted), sum(one.score == 0 for one in counted)),
        margin=margin,
        verdict=verdict(found.low, found.high, margin, p_value=p_value),
        p_margin=found.p_below(-margin),
        detectable=detectable_by_error(found.error),
        dropped=len(met) - len(counted),
        clusters=len(rows) if len(rows) < len(counted) else None,
    )


def _test(ours: Metric, theirs: Metric, pairs: Pairs, *, margin: float, seed: int) -> _Tested:
    if ours.proportion:
        return _test_proportion(ours, theirs, pairs, margin=margin)
    a, b = (cluster_sums(metric.counts, pairs.clusters) for metric in (ours, theirs))
    found = paired_bootstrap(a, b, ours.statistic, unit=_smallest_disagreement(ours), seed=seed)
    return _Tested(
        test="paired_bootstrap" if len(a) == len(ours.counts) else "cluster_bootstrap",
        difference=Estimate(found.value, found.low, found.high),
        p_value=found.p_value(),
        p_margin=found.p_below(-margin),
        detectable=detectable_by_error(found.error),
    )


def _test_proportion(ours: Metric, theirs: Metric, pairs: Pairs, *, margin: float) -> _Tested:
    gain = ours.counts[:, 0] - theirs.counts[:, 0]
    outcomes = np.stack([gain > 0, gain < 0, np.ones_like(gain)], axis=1).astype(np.float64)
    only_a, only_b, sizes = cluster_sums(outcomes, pairs.clusters).T
    low, high = paired_interval(only_a, only_b, sizes)
    n, discordant = len(gain), only_a.sum() + only_b.sum()
    effect = float(paired_effect(only_a, only_b, sizes).factor)
    return _Tested(
        test="mcnemar_exact" if len(sizes) == n else "cluster_sign_flip",
        difference=Estimate(float(gain.mean(dtype=np.float64)), float(low), float(high)),
        p_value=sign_flip_exact(only_a - only_b),
        p_margin=paired_p_below(only_a, only_b, sizes, bound=-margin),
        # One more of two: no disagreement among few samples does not mean that there is none.
        detectable=detectable_difference(n / effect, discordance=float((discordant + 1) / (n + 2))),
    )


def _discordant(pairs: Pairs) -> tuple[int, int]:
    outcomes = [(bool(a.correct), bool(b.correct)) for a, b in zip(pairs.a, pairs.b, strict=True)]
    return outcomes.count((True, False)), outcomes.count((False, True))


def _smallest_disagreement(metric: Metric) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if metric.statistic is ratio:
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
        p_value=difference.p_value(),
        n=a.n_scored,
        discordant=None,
        margin=margin,
        verdict=verdict(difference.low, difference.high, margin, p_value=difference.p_value()),
        p_margin=difference.p_below(-margin),
        detectable=detectable_by_error(difference.error),
    )


def _slices(suite: Suite, candidate: SystemResult, baseline: SystemResult | None, *, seed: int) -> tuple[SliceResult, ...]:
    members: dict[tuple[str, str], set[str]] = {}
    for sample in suite.samples:
        for name, value in sample.slices.items():
            members.setdefault((name, value), set()).add(sample.id)
    found, p_values = [], []
    for (name, value), ids in sorted(members.items()):
        ours, theirs = _answered(candidate, ids), _answered(baseline, ids)
        if len(ours) < SMALLEST_SLICE:
            continue
        tested = _test_slice(suite, candidate, baseline, ids, seed=seed)
        p_values.append(tested.p_value if tested is not None else None)
        found.append(
            SliceResult(
                name=name,
                value=value,
                n=len(ours),
                candidate=_primary(suite, ours, seed=seed),
                baseline=_primary(suite, theirs, seed=seed) if theirs else None,
                difference=tested.difference if tested is not None else None,
            )
        )
    q_values = iter(benjamini_hochberg([p for p in p_values if p is not None]))
    return tuple(part if p is None else replace(part, q_value=next(q_values)) for part, p in zip(found, p_values, strict=True))


def _answered(result: SystemResult | None, ids: set[str]) -> list[Scored]:
    return [one for one in result.samples if one.sample_id in ids and one.correct is not None] if result is not None else []


def _test_slice(
    suite: Suite, candidate: SystemResult, baseline: SystemResult | None, ids: set[str], *, seed: int
) -> _Tested | None:
    if baseline is None:
        return None
    ours, theirs = (replace(result, samples=tuple(_answered(result, ids))) for result in (candidate, baseline))
    both = {one.sample_id for one in ours.samples} & {one.sample_id for one in theirs.samples}
    if len(both) < SMALLEST_SLICE:
        return None
    pairs = pair(suite, ours, theirs)
    return _test(metrics_of(suite, pairs.a)[0], metrics_of(suite, pairs.b)[0], pairs, margin=0.0, seed=seed)


def _primary(suite: Suite, counted: Sequence[Scored], *, seed: int) -> Estimate:
    metric = metrics_of(suite, counted)[0]
    clusters = [one.cluster for one in counted]
    if metric.proportion:
        return rate(metric.counts[:, 0], clusters)
    return bootstrap(cluster_sums(metric.counts, clusters), metric.statistic, seed=seed)
