from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from delivery.evaluation.statistics.proportions import (
    cluster_sums,
    paired_interval,
    paired_p_below,
    rate,
    sign_flip_exact,
    tango,
    wilson,
)


def test_tango_gives_the_published_intervals() -> None:
    # Fagerland, Lydersen and Laake, "Recommended tests and confidence intervals for paired binomial proportions",
    # Statistics in Medicine 33, 2014: airway hyper-responsiveness, 1 and 7 discordant of 21.
    low, high = tango(1, 7, 21)
    assert (low, high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("n", [5, 60, 1_000])
def test_no_disagreement_still_leaves_an_interval_that_shrinks_with_n(n: int) -> None:
    low, high = tango(0, 0, n)
    assert high == -low == pytest.approx(1.96**2 / (n + 1.96**2), rel=1e-4)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 400))
def test_an_interval_holds_its_estimate_and_mirrors(only_a: int, only_b: int, same: int) -> None:
    n = only_a + only_b + same + 1
    low, high = tango(only_a, only_b, n)
    assert -1 <= low <= (only_a - only_b) / n <= high <= 1
    assert tango(only_b, only_a, n) == pytest.approx((-high, -low))


def test_the_test_without_clusters_is_mcnemars() -> None:
    for only_a, only_b in ((0, 0), (5, 5), (6, 0), (50, 25), (3, 11), (400, 350)):
        n = only_a + only_b
        expected = binomtest(only_a, n, 0.5).pvalue if n else 1.0
        assert sign_flip_exact([1] * only_a + [-1] * only_b + [0] * 9) == pytest.approx(expected)
    assert sign_flip_exact([1] * 50 + [-1] * 25) == pytest.approx(0.0052, abs=5e-5)


@given(st.lists(st.integers(-6, 6), max_size=9))
def test_the_test_with_clusters_counts_every_pattern_of_signs(sums: list[int]) -> None:
    totals = [
        abs(sum(sign * one for sign, one in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=len(sums))
    ]
    assert sign_flip_exact(sums) == pytest.approx(np.mean([total >= abs(sum(sums)) for total in totals]))


def test_five_clusters_never_show_a_difference() -> None:
    assert sign_flip_exact([20] * 5) == pytest.approx(2 / 32)


def test_wilson_reaches_the_ends() -> None:
    assert (wilson(0, 10).low, wilson(10, 10).high) == (0.0, 1.0)
    for right, n in ((1, 3), (7, 10), (399, 400)):
        published = binomtest(right, n).proportion_ci(method="wilson")
        assert (wilson(right, n).low, wilson(right, n).high) == pytest.approx((published.low, published.high))


def test_samples_without_a_cluster_are_their_own() -> None:
    counts = np.array([[1.0], [2.0], [4.0], [8.0]])
    assert cluster_sums(counts, ["a", "", "a", ""]).tolist() == [[5.0], [2.0], [8.0]]
    assert cluster_sums(counts, ["", "", "", ""]).tolist() == counts.tolist()
    right = [1, 0, 1, 1, 0, 1, 1, 1]
    assert rate(right, [""] * 8) == wilson(6, 8)
    assert rate(right, [str(row) for row in range(8)]) == wilson(6, 8)


def test_repeating_every_answer_adds_no_evidence() -> None:
    generator = np.random.default_rng(3)
    right = generator.random(60) < 0.7
    clusters = [str(row) for row in range(60)]
    once, often = wilson(int(right.sum()), 60), rate(np.repeat(right, 5), list(np.repeat(clusters, 5)))
    assert often.value == pytest.approx(once.value)
    assert once.high - once.low < often.high - often.low < 1.06 * (once.high - once.low)

    a, b = (generator.random(60) < 0.2).astype(float), np.zeros(60)
    single = paired_interval(a, b, np.ones(60))
    repeated = paired_interval(5 * a, 5 * b, np.full(60, 5.0))
    assert single.high - single.low < repeated.high - repeated.low < 1.06 * (single.high - single.low)
    assert sign_flip_exact(5 * a) == pytest.approx(sign_flip_exact(a))


def test_clusters_that_agree_are_not_taken_for_certainty() -> None:
    alike = rate([1] * 100, [str(row // 10) for row in range(100)])
    assert alike.low < wilson(100, 100).low
    assert alike.low == pytest.approx(wilson(10, 10, quantile=2.262).low, abs=1e-3)
    low, high = paired_interval(np.zeros(10), np.zeros(10), np.full(10, 10.0))
    assert high == -low > 0.2


def test_p_value_beyond_a_bound_inverts_the_interval() -> None:
    only_a, only_b, sizes = np.array([3.0, 0, 2, 1, 0, 0, 4, 1]), np.array([0.0, 1, 0, 0, 2, 0, 0, 1]), np.full(8, 12.0)
    low, high = paired_interval(only_a, only_b, sizes)
    assert paired_p_below(only_a, only_b, sizes, bound=float(low)) == pytest.approx(0.025)
    assert paired_p_below(only_a, only_b, sizes, bound=float(high)) == pytest.approx(0.975)
