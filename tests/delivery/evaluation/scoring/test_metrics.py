from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from delivery.errors import EvalIncompleteError
from delivery.evaluation import raise_if_incomplete
from delivery.evaluation.scoring.metrics import micro_f1, ratio
from delivery.evaluation.statistics.bootstrap import bootstrap
from delivery.evaluation.statistics.proportions import wilson
from tests.delivery.evaluation.cases import LABELS, classification, extraction, result

EXPECTED = '{"line":"home","urgent":true,"reference":"HX-1"}'


def test_wilson_matches_the_published_example() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I: 81 of 263 and 1 of 29.
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (1, 29, 0.0061, 0.1718)):
        estimate = wilson(successes, n)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
        assert estimate.value == successes / n


def test_classification_metrics_against_sklearn() -> None:
    generator = np.random.default_rng(3)
    expected = [LABELS[i] for i in generator.integers(0, 3, 200)]
    said = [e if generator.random() < 0.7 else LABELS[generator.integers(0, 3)] for e in expected]
    suite = classification(expected)
    found = result(suite, said)
    assert found.metrics["macro_f1"].value == pytest.approx(f1_score(expected, said, average="macro"))
    assert found.metrics["accuracy"].value == np.mean([e == s for e, s in zip(expected, said, strict=True)])
    macro = found.metrics["macro_f1"]
    assert macro.low < macro.value < macro.high
    assert found.metrics["micro_f1"].value == pytest.approx(f1_score(expected, said, average="micro"))
    assert list(found.metrics) == ["accuracy", "macro_f1", "micro_f1", "invalid_rate"]


def test_labels_that_neither_occur_nor_are_said_do_not_lower_macro_f1() -> None:
    assert result(classification(["dovish"] * 10), ["dovish"] * 10).metrics["macro_f1"].value == 1.0


def test_invalid_answers_are_wrong_and_errored_ones_are_neither() -> None:
    found = result(classification(["dovish"] * 5), ["dovish", "dovish", "?", None, None])
    assert (found.n, found.n_scored, found.n_errored) == (5, 3, 2)
    assert found.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert found.metrics["invalid_rate"].value == pytest.approx(1 / 3)


def test_extraction_metrics() -> None:
    wrong_line = EXPECTED.replace("home", "pet")
    found = result(extraction([EXPECTED] * 4), [EXPECTED, wrong_line, "?", None])
    assert found.metrics["exact_match"].value == pytest.approx(1 / 3)
    # 3 + 2 fields right, 1 wrong, 1 + 3 missed.
    assert found.metrics["field_micro_f1"].value == pytest.approx(2 * 5 / (2 * 5 + 1 + 4))
    assert found.metrics["invalid_rate"].value == pytest.approx(1 / 3)
    assert found.metrics["schema_valid_rate"].value == pytest.approx(2 / 3)


def test_micro_f1_counts_an_invalid_answer_as_missed_and_not_as_another_label() -> None:
    found = result(classification(["dovish"] * 4), ["dovish", "dovish", "hawkish", "?"])
    assert found.metrics["micro_f1"].value == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))


def test_same_seed_same_interval() -> None:
    suite = classification(["dovish", "hawkish"] * 20)
    said = ["dovish"] * 40
    assert result(suite, said) == result(suite, said)


def test_nothing_scored_is_an_error_not_a_zero() -> None:
    with pytest.raises(EvalIncompleteError, match="answered none of 2 samples: HTTP 500"):
        result(classification(["dovish", "dovish"]), [None, None])


def test_too_many_errors_are_refused_with_the_count_and_reason() -> None:
    found = result(classification(["dovish"] * 20), ["dovish"] * 18 + [None, None])
    raise_if_incomplete(found, 0.1)
    with pytest.raises(EvalIncompleteError, match=r"2 of 20 samples have no answer.*0\.05.*HTTP 500"):
        raise_if_incomplete(found, 0.05)


def test_bootstrap_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        right = generator.binomial(6, 0.75, size=150)
        counts = np.stack([right, 6 - right, 6 - right], axis=1).astype(np.float32)
        estimate = bootstrap(counts, micro_f1, draws=1_000)
        covered += estimate.low <= 0.75 <= estimate.high
    assert 0.91 <= covered / 300 <= 0.985


def test_bootstrap_of_a_share_is_the_binomial_one() -> None:
    counts = np.array([[1, 1]] * 70 + [[0, 1]] * 30, dtype=np.float32)
    estimate = bootstrap(counts, ratio)
    assert estimate.value == 0.7
    assert (estimate.low, estimate.high) == pytest.approx((0.61, 0.79), abs=0.011)
