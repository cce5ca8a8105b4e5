"""Looks at a champion, and small rounds of the simulations whose full size is a benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from delivery.evaluation.statistics.power import detectable_difference, needed_samples
from delivery.evaluation.statistics.verdicts import level_of_look
from tests.benchmarks.evidence_calibration import Case, evaluate, levels, p_values_of_years


def test_the_levels_of_all_looks_sum_to_the_stated_rate_and_no_more() -> None:
    spent = sum(level_of_look(look, alpha=0.05) for look in range(1, 200_000))
    assert 0.0499 < spent < 0.05
    assert level_of_look(1, alpha=0.05) == pytest.approx(0.01914, abs=1e-5)
    assert level_of_look(90, alpha=0.05) > 2e-5
    with pytest.raises(ValueError, match="counted from 1"):
        level_of_look(0, alpha=0.05)


def test_ninety_nights_without_change_seldom_promote() -> None:
    p_values = p_values_of_years(150, 0.5, n=300)
    # At most 5 % of the years is meant; 11 % of 150 is four standard errors above.
    assert (p_values <= levels(0.05)).any(axis=1).mean() < 0.11
    assert (p_values <= 0.05).any(axis=1).mean() > 0.3


def test_a_real_gain_is_promoted_within_the_year() -> None:
    assert (p_values_of_years(20, 0.5, gain=0.08) <= levels(0.05)).any(axis=1).mean() > 0.8


@pytest.mark.parametrize("case", [Case(200, 0.1, 0.03), Case(300, 0.25, 0.05, cluster=10, correlation=0.3)])
def test_intervals_cover_as_often_as_they_say(case: Case) -> None:
    found = evaluate(case, 1_500, seed=1)
    assert 0.935 <= found.covers(case.difference) <= 0.97
    assert evaluate(case._replace(difference=0.0), 1_000, seed=2).verdicts(("better",), 0.02) <= 0.035


def test_a_plan_keeps_its_power() -> None:
    case = Case(needed_samples(0.1, discordance=0.25), 0.25, 0.1)
    assert evaluate(case, 20_000, seed=4).verdicts(("better",), 0.02) == pytest.approx(0.8, abs=0.02)
    assert detectable_difference(case.n, discordance=0.25) == pytest.approx(0.1, abs=0.001)


def test_clusters_that_are_ignored_would_be_noticed() -> None:
    case = Case(400, 0.3, 0.0, cluster=20, correlation=0.3)
    found = evaluate(case, 500, seed=5)
    single = evaluate(case._replace(cluster=1), 500, seed=5)
    assert np.mean(found.high - found.low) > 1.8 * np.mean(single.high - single.low)
