"""From outcomes to numbers, each with its 95 % interval. An errored sample counts in no metric.

Every metric is a ratio, or a mean of ratios, of per-sample counts summed over the samples: the same counts feed the
value, its bootstrap interval and the paired comparison of two systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delivery.artifacts import JUDGED, Answer, Scored, Suite, SystemResult
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

    Shares of samples, each right or wrong, have a Wilson score interval (Wilson 1927), all others a percentile bootstrap's
    (Efron 1979). Classification: ``accuracy``, ``macro_f1``, ``micro_f1``. Extraction: ``field_micro_f1``, ``exact_match``,
    ``schema_valid_rate``. Choice: ``accuracy``. QA: ``accuracy``, ``refused_rate``, and ``attempted_accuracy`` of the questions
    that were not refused. Instructions: ``accuracy`` (all rules of a prompt, read strictly), ``instruction_accuracy``,
    ``loose_accuracy``, ``loose_instruction_accuracy``. Preference: ``accuracy``, ties half. Judged: the mean score. Every suite
    has ``invalid_rate``.
    Where samples come in clusters, clusters are drawn, and Wilson's interval is taken at their effective number.
    ``answers`` bring tokens and seconds; the seconds of single answers are summed.

    Raises:
        EvalIncompleteError: not one sample could be scored, and no judge decides: without its verdicts there are no metrics.
    """
    counted = [one for one in scored if one.correct is not None]
    if not counted and not suite.judged:
        first = next((one.error for one in scored if one.error), "no samples")
        raise EvalIncompleteError(f"suite {suite.name}: {system.system} answered none of {len(scored)} samples: {first}")
    clusters = [one.cluster for one in counted]
    metrics = {
        metric.name: rate(metric.counts[:, 0], clusters)
        if metric.proportion
        else bootstrap(cluster_sums(metric.counts, clusters), metric.statistic, seed=seed)
        for metric in (metrics_of(suite, counted) if counted else ())
    }
    if counted:
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
        requests=sum(answer.requests for answer in answers if answer.output is not None),
        suite_sha256=suite.sha256,
    )


def metrics_of(suite: Suite, counted: Sequence[Scored]) -> tuple[Metric, ...]:
    """The suite's metrics over samples that were scored, the primary one first.

    A suite that mixes scorers has ``accuracy`` over all its samples, and of each scorer those further metrics that are
    shares of its own samples.
    """
    right = Metric("accuracy", _columns([(bool(one.correct), 1) for one in counted], 2), ratio, proportion=True)
    if suite.scorer == "classification":
        counts = _label_counts(suite.labels, counted)
        micro = Metric("micro_f1", _columns([(one.tp, one.fp, one.fn) for one in counted], 3), micro_f1, proportion=False)
        return right, Metric("macro_f1", counts, macro_f1, proportion=False), micro
    if suite.scorer == "extraction":
        fields = Metric(
            "field_micro_f1", _columns([(one.tp, one.fp, one.fn) for one in counted], 3), micro_f1, proportion=False
        )
        valid = _columns([(one.valid, 1) for one in counted], 2)
        return fields, replace(right, name="exact_match"), Metric("schema_valid_rate", valid, ratio, proportion=True)
    if suite.scorer in ("preference", *JUDGED):
        return (_share(suite.primary_metric, [(one.score or 0.0, 1) for one in counted]),)
    scorers = {sample.id: sample.scorer or suite.scorer for sample in suite.samples}
    asked = [scorers[one.sample_id] for one in counted]
    further: list[Metric] = []
    if "qa" in asked:
        further += _of_questions(counted, [scorer == "qa" for scorer in asked])
    if "instructions" in asked:
        further += _of_instructions(counted, [scorer == "instructions" for scorer in asked])
    return right, *further


def ratio(sums: Values) -> Values:
    """Right answers over samples; 0 where there are none. ``sums``: draws x (right, samples)."""
    values: Values = sums[:, 0] / np.maximum(sums[:, 1], 1)
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


def _columns(rows: Sequence[tuple[float, ...]], width: int) -> Counts:
    return np.array(rows, dtype=np.float32).reshape(-1, width)


def _share(name: str, rows: Sequence[tuple[float, float]]) -> Metric:
    return Metric(name, _columns(rows, 2), ratio, proportion=False)


def _of_questions(counted: Sequence[Scored], asked: Sequence[bool]) -> tuple[Metric, ...]:
    """How often a question was declined, and how often the others were answered rightly."""
    pairs = list(zip(counted, asked, strict=True))
    refused = [(float(one.refused and its), float(its)) for one, its in pairs]
    attempted = [(float(bool(one.correct) and its), float(its and not one.refused)) for one, its in pairs]
    return _share("refused_rate", refused), _share("attempted_accuracy", attempted)


def _of_instructions(counted: Sequence[Scored], asked: Sequence[bool]) -> tuple[Metric, ...]:
    """Instructions that were followed, and both shares by the loose reading (Zhou et al., "IFEval", 2023)."""
    rows = [(one, one.tp + one.fn if its else 0) for one, its in zip(counted, asked, strict=True)]
    loose = [(float(one.score == 1.0 and rules > 0), float(rules > 0)) for one, rules in rows]
    strict_rules = [(float(one.tp if rules else 0), float(rules)) for one, rules in rows]
    loose_rules = [(float(round((one.score or 0.0) * rules)), float(rules)) for one, rules in rows]
    return (
        _share("instruction_accuracy", strict_rules),
        _share("loose_accuracy", loose),
        _share("loose_instruction_accuracy", loose_rules),
    )


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
