from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from delivery.artifacts import Estimate, SystemResult, from_json, to_json
from delivery.artifacts.evidence import SuiteResult
from delivery.client_config import Gates
from delivery.errors import EvalIncompleteError
from delivery.evaluation import compare
from delivery.evaluation.scoring.metrics import macro_f1, micro_f1, ratio
from delivery.evaluation.statistics.bootstrap import paired_bootstrap
from delivery.evaluation.statistics.comparison import unpaired_difference
from delivery.evaluation.statistics.proportions import wilson
from delivery.evaluation.statistics.verdicts import verdict
from tests.delivery.evaluation.cases import classification, extraction, result

SAMPLE = np.array([1, 1]), np.array([0, 1])
GATES = Gates(baseline_margin=0.02, quantization_margin=0.01, champion_margin=0.03)


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.01, 0.05, 0.02, "better"),
        (0.0, 0.05, 0.02, "not_worse"),
        (-0.02, 0.05, 0.02, "not_worse"),
        (-0.015, -0.005, 0.02, "not_worse"),
        (-0.021, 0.05, 0.02, "inconclusive"),
        (-0.3, 0.0, 0.02, "inconclusive"),
        (-0.05, -0.01, 0.02, "worse"),
        (-0.05, -0.03, 0.02, "worse"),
        (0.0, 0.0, 0.0, "not_worse"),
        (-0.01, 0.01, 0.0, "inconclusive"),
        (-0.01, -0.001, 0.0, "worse"),
    ],
)
def test_verdicts(low: float, high: float, margin: float, expected: str) -> None:
    assert verdict(low, high, margin, p_value=0.0) == expected


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_a_wider_margin_never_makes_a_verdict_worse(low: float, width: float, margin: float) -> None:
    order = ["worse", "inconclusive", "not_worse", "better"]
    wide, narrow = (verdict(low, low + width, given, p_value=0.0) for given in (margin + 0.1, margin))
    assert order.index(wide) >= order.index(narrow)


def test_a_claim_needs_its_test_as_well_as_its_interval() -> None:
    assert verdict(0.01, 0.05, 0.02, p_value=0.06) == "not_worse"
    assert verdict(-0.05, -0.01, 0.02, p_value=0.06) == "inconclusive"


def test_unpaired_difference_is_newcombes() -> None:
    # Newcombe, "Interval estimation for the difference between independent proportions", 1998, table II, method 10.
    for a, m, b, n, low, high in ((56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090)):
        found = unpaired_difference(wilson(a, m), wilson(b, n))
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
        assert found.p_value() < 0.05
    level = unpaired_difference(Estimate(0.5, 0.4, 0.6), Estimate(0.5, 0.4, 0.6))
    assert (level.value, level.p_value()) == (0.0, 1.0)


def _pairs(n: int, only_a: float, only_b: float, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    draw = np.random.default_rng(seed).random(n)
    a, b = draw < 0.5 + only_a, (draw < 0.5) | ((draw >= 0.5 + only_a) & (draw < 0.5 + only_a + only_b))
    one = np.ones(n)
    return np.stack([a, one], axis=1).astype(np.float32), np.stack([b, one], axis=1).astype(np.float32)


def test_interval_of_a_difference_covers_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(300):
        found = paired_bootstrap(*_pairs(250, 0.12, 0.08, seed), ratio, unit=SAMPLE, draws=1_000)
        covered += found.low <= 0.04 <= found.high
    assert 0.91 <= covered / 300 <= 0.985


@pytest.mark.parametrize(("n", "only_b"), [(60, 0.01), (200, 0.02), (500, 0.02)])
def test_a_loss_at_the_margin_seldom_passes_as_not_worse(n: int, only_b: float) -> None:
    passed = 0
    for seed in range(300):
        found = paired_bootstrap(*_pairs(n, 0.0, only_b, seed), ratio, unit=SAMPLE, draws=500)
        passed += verdict(found.low, found.high, only_b, p_value=1.0) in ("better", "not_worse")
    assert passed / 300 <= 0.08


def test_equal_systems_are_seldom_called_better() -> None:
    better = 0
    for seed in range(400):
        found = paired_bootstrap(*_pairs(300, 0.1, 0.1, seed), ratio, unit=SAMPLE, draws=500)
        better += verdict(found.low, found.high, 0.02, p_value=found.p_value()) == "better"
    assert better / 400 <= 0.05


def test_bootstrap_is_the_plain_one_drawn_sample_by_sample() -> None:
    generator = np.random.default_rng(0)
    a = generator.binomial(5, 0.8, 80)
    b = generator.binomial(5, 0.7, 80)
    counts = [np.stack([x, 5 - x, 5 - x], axis=1).astype(np.float32) for x in (a, b)]
    found = paired_bootstrap(*counts, micro_f1, draws=20_000)
    picks = generator.integers(0, 80, size=(20_000, 80))
    plain = a[picks].mean(1) / 5 - b[picks].mean(1) / 5
    assert found.error == pytest.approx(plain.std(), rel=0.03)
    assert (found.low, found.high) == pytest.approx(np.quantile(plain, (0.025, 0.975)), abs=0.006)
    assert found.value == pytest.approx((a - b).mean() / 5)


def test_p_values_of_a_bootstrap_agree_with_its_interval_and_reach_small_levels() -> None:
    generator = np.random.default_rng(1)
    a, b = (np.stack([x, 5 - x, 5 - x], axis=1) for x in (generator.binomial(5, p, 200) for p in (0.8, 0.6)))
    found = paired_bootstrap(a, b, micro_f1)
    assert found.p_below(found.low) == pytest.approx(0.025)
    assert found.p_below(found.high) == pytest.approx(0.975)
    assert 0 < found.p_value() < 1e-5
    assert found.p_value() == pytest.approx(paired_bootstrap(b, a, micro_f1).p_value(), rel=0.5)
    assert paired_bootstrap(a, a, micro_f1).p_value() == 1.0


@pytest.mark.parametrize(("columns", "statistic"), [(2, ratio), (3, micro_f1), (9, macro_f1)])
def test_ten_thousand_samples_take_seconds(columns: int, statistic: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.integers(0, 2, (10_000, columns)).astype(np.float32) for _ in range(2))
    a[:, -1] = b[:, -1] = 1
    started = time.process_time()
    paired_bootstrap(a, b, statistic)
    assert time.process_time() - started < 5


def test_compare_pairs_on_what_both_answered() -> None:
    suite = classification(["dovish"] * 100)
    candidate = result(suite, ["dovish"] * 90 + ["neutral"] * 8 + [None] * 2)
    baseline = result(suite, [None] + ["dovish"] * 69 + ["neutral"] * 30, "baseline", source="recorded")
    found = compare(suite, [baseline, candidate], gates=GATES)
    comparison = found.comparison("candidate", "baseline")
    assert comparison is not None
    assert (comparison.n, comparison.discordant, comparison.test) == (97, (20, 0), "mcnemar_exact")
    assert comparison.difference == pytest.approx(20 / 97)
    assert (comparison.verdict, comparison.margin) == ("better", 0.02)
    assert found.n == 100
    assert [s.system for s in found.systems] == ["baseline", "candidate"]


def clustered(of: SystemResult, size: int) -> SystemResult:
    return replace(of, samples=tuple(replace(one, cluster=str(row // size)) for row, one in enumerate(of.samples)))


def test_whole_clusters_are_compared_where_samples_depend_on_each_other() -> None:
    suite = classification(["dovish"] * 200)
    systems = [result(suite, ["dovish"] * 200), result(suite, (["neutral"] * 10 + ["dovish"] * 40) * 4, "base")]
    alone = compare(suite, systems, gates=GATES).comparisons[0]
    together = compare(suite, [clustered(one, 10) for one in systems], gates=GATES).comparisons[0]
    assert (alone.test, alone.clusters, alone.discordant) == ("mcnemar_exact", None, (40, 0))
    assert (together.test, together.clusters, together.discordant) == ("cluster_sign_flip", 20, (40, 0))
    # Four whole clusters of twenty are four wins, not forty.
    assert together.p_value == pytest.approx(2 / 2**4)
    assert alone.verdict == "better"
    assert together.verdict != "better"
    assert alone.detectable is not None
    assert together.detectable is not None
    assert together.detectable > 2 * alone.detectable


def test_f1_draws_whole_clusters_too() -> None:
    right, wrong = (f'{{"line": "{line}", "urgent": true, "reference": null}}' for line in ("motor", "pet"))
    suite = extraction([right] * 60)
    systems = [result(suite, [right] * 60), result(suite, ([wrong] * 6 + [right] * 24) * 2, "base")]
    alone = compare(suite, systems, gates=GATES).comparisons[0]
    together = compare(suite, [clustered(one, 6) for one in systems], gates=GATES).comparisons[0]
    assert (alone.test, together.test) == ("paired_bootstrap", "cluster_bootstrap")
    assert alone.difference == pytest.approx(together.difference)
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


def test_more_samples_detect_less() -> None:
    def detectable(n: int) -> float:
        suite = classification(["dovish"] * n)
        systems = [result(suite, ["dovish"] * n), result(suite, (["neutral"] + ["dovish"] * 9) * (n // 10), "base")]
        return compare(suite, systems, gates=GATES).comparisons[0].detectable or 0.0

    assert detectable(1_000) == pytest.approx(0.028, abs=0.003)
    assert detectable(100) > 3 * detectable(1_000)


def test_margins_follow_the_other_system() -> None:
    suite = classification(["dovish"] * 40)
    same = ["dovish"] * 40
    systems = [result(suite, same, name) for name in ("candidate", "adapter", "champion", "base", "baseline", "encoder")]
    found = compare(suite, systems, gates=GATES)
    margins = {c.b: c.margin for c in found.comparisons}
    assert margins == {"adapter": 0.01, "champion": 0.03, "base": 0.02, "baseline": 0.02, "encoder": 0.02}
    # 40 equal answers cannot show that less than 1 point was lost.
    assert {c.b: c.verdict for c in found.comparisons}["adapter"] == "inconclusive"


def test_extraction_is_compared_on_fields_and_on_exact_match() -> None:
    right = '{"line":"home","urgent":true,"reference":"HX-1"}'
    suite = extraction([right] * 50)
    candidate = result(suite, [right] * 50)
    base = result(suite, [right.replace("home", "pet")] * 25 + ["?"] * 25, "base")
    fields, exact = compare(suite, [candidate, base], gates=GATES).comparisons
    assert (fields.metric, fields.test, exact.metric, exact.test) == (
        "field_micro_f1",
        "paired_bootstrap",
        "exact_match",
        "mcnemar_exact",
    )
    assert fields.discordant == exact.discordant == (50, 0)
    assert (fields.verdict, exact.difference) == ("better", 1.0)
    assert fields.p_value < 1e-9


def test_slices_are_sorted_and_small_ones_left_out() -> None:
    suite = classification(["neutral"] * 6 + ["dovish"] * 10 + ["hawkish"] * 4)
    candidate = result(suite, ["neutral"] * 6 + ["dovish"] * 5 + ["neutral"] * 9)
    baseline = result(suite, ["neutral"] * 20, "baseline")
    found = compare(suite, [candidate, baseline], gates=GATES).slices
    assert [(s.name, s.value, s.n, s.candidate.value) for s in found] == [
        ("label", "dovish", 10, 0.5),
        ("label", "neutral", 6, 1.0),
    ]
    assert found[0].baseline is not None
    assert found[0].baseline.value == 0.0
    assert compare(suite, [candidate], gates=GATES).slices[0].baseline is None


def test_nothing_in_common_is_an_error() -> None:
    suite = classification(["dovish"] * 2)
    with pytest.raises(EvalIncompleteError, match="no answered sample in common"):
        compare(suite, [result(suite, ["dovish", None]), result(suite, [None, "dovish"], "base")], gates=GATES)


def test_without_a_candidate_there_is_nothing_to_compare() -> None:
    suite = classification(["dovish"] * 10)
    found = compare(suite, [result(suite, ["dovish"] * 10, "base")], gates=GATES)
    assert (found.comparisons, found.slices) == ((), ())


def test_a_result_survives_storing() -> None:
    suite = classification(["dovish"] * 10)
    found = compare(suite, [result(suite, ["dovish"] * 10), result(suite, ["neutral"] * 10, "base")], gates=GATES)
    assert from_json(SuiteResult, to_json(found)) == found
