"""Several claims at once: what is promised is adjusted by Holm, what is only looked at by Benjamini and Hochberg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scipy.stats import false_discovery_control

from delivery.artifacts import Comparison, SuiteResult
from delivery.evaluation.statistics.verdicts import verdict


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted so that one false claim among all is made at the stated rate, whatever their dependence.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return tuple(adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Q-values: of the findings with a q of at most 5 %, one in twenty is expected to be false.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 57, 1995.
    """
    return tuple(float(q) for q in false_discovery_control(p_values, method="bh")) if p_values else ()


def with_promises(suites: Sequence[SuiteResult]) -> tuple[SuiteResult, ...]:
    """Suites with the promised endpoints adjusted together: candidate against baseline on each one's primary metric.

    A verdict of ``better`` or ``worse`` that does not outlive the adjustment is taken back. Doing it twice changes nothing.
    """
    promised = [suite.comparison("candidate", "baseline") for suite in suites]
    adjusted = iter(holm([one.p_value for one in promised if one is not None]))
    return tuple(
        suite if one is None else _adjusted(suite, one, next(adjusted)) for suite, one in zip(suites, promised, strict=True)
    )


def _adjusted(suite: SuiteResult, promised: Comparison, p_adjusted: float) -> SuiteResult:
    shown = verdict(promised.low, promised.high, promised.margin, p_value=p_adjusted)
    changed = replace(promised, p_adjusted=p_adjusted, verdict=shown)
    return replace(suite, comparisons=tuple(changed if one is promised else one for one in suite.comparisons))
