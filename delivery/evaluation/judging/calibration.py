"""How far a judge can be believed: what it said of pairs whose better answer is known, and what follows for a win rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delivery.artifacts import Estimate, OnProgress, no_progress
from delivery.errors import EvalIncompleteError
from delivery.evaluation.judging.intervals import Values, cluster_sums, with_unit
from delivery.evaluation.judging.judge import Choice, Judge, Judgement, compare, not_one
from delivery.evaluation.judging.results import Calibration, LabeledPair
from delivery.evaluation.statistics.bootstrap import DRAWS, SEED, bootstrap
from delivery.evaluation.statistics.proportions import wilson

SMALLEST_INFORMEDNESS = 0.1
"""Sensitivity plus specificity minus one, below which nothing can be corrected: the judge hardly tells the sides apart."""

_CHOICES: tuple[Choice, ...] = ("a", "b", "tie")


def calibrate(
    judge: Judge,
    labeled: Sequence[LabeledPair],
    *,
    criteria: str,
    seed: int = SEED,
    on_progress: OnProgress = no_progress,
) -> Calibration:
    """Ask a judge about labeled pairs, in both orders, and measure it. Criteria are those of the suite that it is for.

    Raises:
        NoVerdict: none of its replies was of the form asked for, or none about pairs of which one side is the better one.
        EvalIncompleteError: the same where some got no reply at all.
        ConfigError, RetryableError: from the judge's endpoint; verdicts given before are kept.
    """
    judgements = compare(judge, [one.pair for one in labeled], criteria=criteria, on_progress=on_progress)
    return calibration_of(judgements, [one.gold for one in labeled], judge=judge.model, seed=seed)


def calibration_of(judgements: Sequence[Judgement], gold: Sequence[Choice], *, judge: str, seed: int = SEED) -> Calibration:
    """What verdicts that are already there are worth, against the gold choices in the same order. See ``calibrate``.

    Raises:
        EvalIncompleteError: as ``calibrate``.
    """
    known = [(one, right) for one, right in zip(judgements, gold, strict=True) if one.choice is not None]
    confusion = np.zeros((len(known), 2, 3))
    for row, (one, right) in enumerate(known):
        confusion[row, _CHOICES.index(right), _CHOICES.index(one.choice or "tie")] = 1
    totals = confusion.sum(axis=0)
    if not (totals.sum(axis=1) > 0).all():
        what = (
            f"judge {judge}: {len(known)} of {len(judgements)} labeled pairs have a verdict, and both sides have to be the "
            "better one in some of them"
        )
        if len(known) == len(judgements):
            raise EvalIncompleteError(f"{what}: add labeled pairs")
        raise not_one(what, [one.error for one in judgements if one.choice is None])
    single = np.array([[(one.forward == right) + (one.backward == right), 2] for one, right in known])
    first = np.array([[(one.forward == "a") + (one.backward == "b"), _no_ties(one)] for one, _ in known])
    scores = totals @ np.array([1, 0, 0.5]) / totals.sum(axis=1)
    return Calibration(
        judge=judge,
        n=len(known),
        n_errored=len(judgements) - len(known),
        accuracy=bootstrap(single, _ratio, seed=seed),
        agreement=wilson(int(totals[0, 0] + totals[1, 1]), len(known)),
        kappa=bootstrap(confusion.reshape(len(known), -1), cohen_kappa, seed=seed),
        order_consistency=wilson(sum(one.forward == one.backward for one, _ in known), len(known)),
        pick_first_rate=bootstrap(first, _ratio_or_half, seed=seed),
        sensitivity=float(scores[0]),
        specificity=float(1 - scores[1]),
        confusion=(_row(totals[0]), _row(totals[1])),
    )


def cohen_kappa(sums: Values) -> Values:
    """Agreement beyond chance (Cohen, 1960). ``sums``: draws x six counts, gold a then gold b, by choice a, b, tie.

    0 where chance alone agrees always.
    """
    shares = sums.reshape(-1, 2, 3) / sums.sum(axis=1)[:, None, None]
    agreed = shares[:, 0, 0] + shares[:, 1, 1]
    chance = (shares.sum(axis=2) * shares.sum(axis=1)[:, :2]).sum(axis=1)
    values: Values = np.where(chance < 1, (agreed - chance) / np.where(chance < 1, 1 - chance, 1), 0.0)
    return values


def corrected_win_rate(
    scores: Sequence[float], clusters: Sequence[str], *, calibration: Calibration, seed: int = SEED
) -> Estimate | None:
    """The win rate that a judge without error would find, or None where the judge hardly tells the sides apart.

    Rogan and Gladen, "Estimating prevalence from the results of a screening test", 1978: (win rate + specificity - 1) /
    (sensitivity + specificity - 1), kept between 0 and 1; ties count half throughout. The interval is the percentile
    interval over resamples of both parts, the suite's clusters and the labeled pairs, each with one best and one worst
    outcome added, as Lang and Reiczigel, "Confidence limits for prevalence of disease adjusted for estimated sensitivity
    and specificity", 2014, add one of each to the validation samples. Their closed form knows neither ties nor clusters.
    """
    sums = cluster_sums(scores, clusters)
    informedness = calibration.sensitivity + calibration.specificity - 1
    if informedness < SMALLEST_INFORMEDNESS or not len(sums.rows):
        return None
    generator = np.random.default_rng(seed)
    # Clusters of equal sums are exchangeable: how often each kind is drawn is all that counts.
    kinds, times = np.unique(with_unit(sums).rows, axis=0, return_counts=True)
    resampled = generator.multinomial(times.sum(), times / times.sum(), size=DRAWS) @ kinds
    seen = resampled[:, 0] / resampled[:, 1]
    better, worse = (_drawn_scores(np.array(row), generator) for row in calibration.confusion)
    # A resample in which the judge tells nothing apart bounds nothing: it goes to the ends through the clip.
    values = np.clip((seen - worse) / np.maximum(better - worse, 1e-3), 0, 1)
    low, high = np.quantile(values, (0.025, 0.975))
    raw = float(sums.rows[:, 0].sum() / sums.rows[:, 1].sum())
    value = min(1.0, max(0.0, (raw + calibration.specificity - 1) / informedness))
    return Estimate(value, min(float(low), value), max(float(high), value))


def _drawn_scores(counts: NDArray[Any], generator: np.random.Generator) -> Values:
    """Mean score of a in resamples of the labeled pairs of one gold side (counts by choice a, b, tie)."""
    counts = counts + np.array([1, 1, 0])
    drawn = generator.multinomial(counts.sum(), counts / counts.sum(), size=DRAWS)
    scores: Values = drawn @ np.array([1, 0, 0.5]) / counts.sum()
    return scores


def _no_ties(one: Judgement) -> int:
    return (one.forward != "tie") + (one.backward != "tie")


def _row(counts: Values) -> tuple[int, int, int]:
    return int(counts[0]), int(counts[1]), int(counts[2])


def _ratio(sums: Values) -> Values:
    values: Values = sums[:, 0] / sums[:, 1]
    return values


def _ratio_or_half(sums: Values) -> Values:
    values: Values = np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1), 0.5)
    return values
