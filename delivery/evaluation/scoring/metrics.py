"""From outcomes to numbers, each with its 95 % interval. An errored sample counts in no metric.

Every metric is a ratio, or a mean of ratios, of per-sample counts summed over the samples: the same counts feed the
value, its bootstrap interval and the paired comparison of two systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delivery.artifacts import Answer, Scored, Suite, SystemResult
from delivery.errors import EvalIncompleteError
from delivery.evaluation.statistics.bootstrap import SEED, Statistic, bootstrap
from delivery.evaluation.statistics.proportions import cluster_sums, rate
from delivery.evaluation.system import System

Counts = NDArray[np.float32]
Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a suite as per-sample counts (samples x columns) and the function of their sums."""

    name: str
    counts: Counts
    statistic: Statistic
    proportion: bool
    """Whether it is a share of the samples, each right or wrong."""


def summarise(
    suite: Suite, scored: Sequence[Scored], *, system: System, answers: Sequence[Answer] = (), seed: int = SEED
) -> SystemResult:
    """One system's metrics on a suite.

    Classification: accuracy (Wilson score interval, Wilson 1927), macro-F1 (percentile bootstrap, Efron 1979) and the
    share of invalid answers (Wilson). Extraction: micro-F1 over fields (bootstrap), exact match (Wilson), invalid share.
    Where samples come in clusters, clusters are drawn, and Wilson's interval is taken at their effective number.
    ``answers`` bring tokens and seconds; the seconds of single answers are summed.

    Raises:
        EvalIncompleteError: not one sample could be scored.
    """
    counted = [one for one in scored if one.correct is not None]
    if not counted:
        first = next((one.error for one in scored if one.error), "no samples")
        raise EvalIncompleteError(f"suite {suite.name}: {system.system} answered none of {len(scored)} samples: {first}")
    clusters = [one.cluster for one in counted]
    metrics = {
        metric.name: rate(metric.counts[:, 0], clusters)
        if metric.proportion
        else bootstrap(cluster_sums(metric.counts, clusters), metric.statistic, seed=seed)
        for metric in metrics_of(suite, counted)
    }
    metrics["invalid_rate"] = rate([not one.valid for one in counted], clusters)
    return SystemResult(
        system=system.system,
        model=system.model,
        artifact=system.artifact,
        source=system.source,
        prompting=system.prompting,
        metrics=metrics,
        n=len(scored),
        n_scored=len(counted),
        n_errored=len(scored) - len(counted),
        samples=tuple(scored),
        note=system.note,
        prompt_tokens=sum(answer.prompt_tokens or 0 for answer in answers),
        completion_tokens=sum(answer.completion_tokens or 0 for answer in answers),
        seconds=sum(answer.seconds or 0.0 for answer in answers),
        suite_sha256=suite.sha256,
    )


def metrics_of(suite: Suite, counted: Sequence[Scored]) -> tuple[Metric, ...]:
    """The suite's metrics over samples that were scored, the primary one first."""
    right = np.array([[bool(one.correct), 1] for one in counted], dtype=np.float32).reshape(-1, 2)
    if suite.scorer == "classification":
        macro = Metric("macro_f1", _label_counts(suite.labels, counted), macro_f1, proportion=False)
        return Metric("accuracy", right, ratio, proportion=True), macro
    fields = np.array([[one.tp, one.fp, one.fn] for one in counted], dtype=np.float32).reshape(-1, 3)
    micro = Metric("field_micro_f1", fields, micro_f1, proportion=False)
    return micro, Metric("exact_match", right, ratio, proportion=True)


def ratio(sums: Values) -> Values:
    """Right answers over samples. ``sums``: draws x (right, samples)."""
    values: Values = sums[:, 0] / sums[:, 1]
    return values


def micro_f1(sums: Values) -> Values:
    """F1 of pooled counts; 0 where nothing was expected and nothing said. ``sums``: draws x (tp, fp, fn)."""
    tp, wrong = sums[:, 0], sums[:, 1] + sums[:, 2]
    values: Values = 2 * tp / np.maximum(2 * tp + wrong, 1)
    return values


def macro_f1(sums: Values) -> Values:
    """Mean F1 of the labels that were expected or said. ``sums``: draws x (tp, fp, fn of every label in turn)."""
    counts = sums.reshape(len(sums), -1, 3)
    tp, wrong = counts[:, :, 0], counts[:, :, 1] + counts[:, :, 2]
    total = 2 * tp + wrong
    values: Values = (2 * tp / np.maximum(total, 1)).sum(axis=1) / np.maximum((total > 0).sum(axis=1), 1)
    return values


def _label_counts(labels: Sequence[str], counted: Sequence[Scored]) -> Counts:
    position = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(counted), len(labels), 3), dtype=np.float32)
    for row, one in enumerate(counted):
        expected = position[one.expected]
        if one.parsed == one.expected:
            counts[row, expected, 0] = 1
            continue
        counts[row, expected, 2] = 1
        if one.parsed is not None:
            counts[row, position[one.parsed], 1] = 1
    return counts.reshape(len(counted), -1)
