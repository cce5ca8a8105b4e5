from __future__ import annotations

from dataclasses import replace

import pytest

from delivery.artifacts import SuiteResult
from delivery.client_config import Gates
from delivery.evaluation import compare
from delivery.evaluation.statistics.multiple import benjamini_hochberg, holm, with_promises
from tests.delivery.evaluation.cases import classification, result


def suite(name: str, better: int, n: int = 200) -> SuiteResult:
    samples = replace(classification(["dovish"] * n), name=name)
    systems = [result(samples, ["dovish"] * n), result(samples, ["neutral"] * better + ["dovish"] * (n - better), "baseline")]
    return compare(samples, systems, gates=Gates())


def verdicts(suites: tuple[SuiteResult, ...]) -> list[str]:
    found = [one.comparison("candidate", "baseline") for one in suites]
    return [one.verdict for one in found if one is not None]


def test_holm_against_a_worked_example() -> None:
    # Smallest times 4, next times 3, and never below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_benjamini_hochberg_against_a_worked_example() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.02, 0.04, 0.04, 0.02))
    assert benjamini_hochberg([]) == ()


def test_a_promise_that_only_holds_alone_is_taken_back() -> None:
    # Six wins to none: p = 0.03 alone, 0.09 among three.
    alone, three = with_promises([suite("a", 6)]), with_promises([suite("a", 6), suite("b", 0), suite("c", 6)])
    assert verdicts(alone) == ["better"]
    assert verdicts(three) == ["not_worse", "not_worse", "not_worse"]
    assert verdicts(with_promises([suite("a", 12), suite("b", 7)])) == ["better", "better"]
    changed = three[0].comparison("candidate", "baseline")
    assert changed is not None
    assert (changed.p_value, changed.p_adjusted) == pytest.approx((2 / 64, 6 / 64))


def test_adjusting_twice_changes_nothing_and_suites_without_a_baseline_stay() -> None:
    lonely = classification(["dovish"] * 20)
    without = compare(lonely, [result(lonely, ["dovish"] * 20)], gates=Gates())
    once = with_promises([suite("a", 6), without, suite("b", 1)])
    assert once[1] == without
    assert with_promises(once) == once


def test_slices_carry_a_difference_and_a_q_value_over_all_of_them() -> None:
    samples = classification(["dovish"] * 30 + ["hawkish"] * 30 + ["neutral"] * 30)
    answers = ["dovish"] * 30 + ["hawkish"] * 30 + ["neutral"] * 30
    theirs = ["hawkish"] * 10 + ["dovish"] * 20 + ["hawkish"] * 30 + ["neutral"] * 30
    found = compare(samples, [result(samples, answers), result(samples, theirs, "baseline")], gates=Gates()).slices
    by_value = {part.value: part for part in found}
    difference = by_value["dovish"].difference
    assert difference is not None
    assert difference.value == pytest.approx(1 / 3)
    assert difference.low > 0
    assert by_value["dovish"].q_value == pytest.approx(3 * 2 / 2**10)
    assert by_value["neutral"].q_value == 1.0
