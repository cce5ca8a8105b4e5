"""A win rate at equal length and format."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from delivery.evaluation.judging.intervals import mean_of_clusters
from delivery.evaluation.judging.length_control import FEATURES, differences, length_controlled

ALONE = [""] * 1000


def texts(lengths: np.ndarray) -> list[str]:
    return ["x" * max(1, int(length)) for length in lengths]


def judged(seed: int, *, n: int = 1000, by_length: float = 0.0, real: float = 0.0) -> tuple[list[float], np.ndarray]:
    """Pairs whose first side is longer, and a judge to whom length and true quality are worth so many log odds."""
    generator = np.random.default_rng(seed)
    ours, theirs = texts(generator.normal(900, 200, n)), texts(generator.normal(600, 200, n))
    covariates = differences(ours, theirs)
    odds = real + by_length * covariates[:, 0]
    return (generator.random(n) < 1 / (1 + np.exp(-odds))).astype(float).tolist(), covariates


def test_a_preference_for_length_alone_leaves_a_draw() -> None:
    scores, covariates = judged(1, by_length=2.0)
    assert np.mean(scores) > 0.68
    found = length_controlled(scores, covariates, clusters=ALONE)
    assert found.low < 0.5 < found.high
    assert found.value == pytest.approx(0.5, abs=0.06)


def test_real_quality_is_left_over() -> None:
    scores, covariates = judged(2, by_length=2.0, real=1.0)
    found = length_controlled(scores, covariates, clusters=ALONE)
    assert found.low > 0.5
    assert found.low < 1 / (1 + np.exp(-1)) < found.high


def test_without_differences_it_is_the_plain_win_rate() -> None:
    scores = [1.0] * 70 + [0.5] * 10 + [0.0] * 20
    same = ["text"] * 100
    found = length_controlled(scores, differences(same, same), clusters=ALONE[:100])
    assert found.value == pytest.approx(0.75, abs=1e-4)
    plain = mean_of_clusters(scores, ALONE[:100])
    assert (found.low, found.high) == (pytest.approx(plain.low, abs=0.02), pytest.approx(plain.high, abs=0.02))


def test_the_fit_is_that_of_another_library() -> None:
    scores, covariates = judged(3, n=200, by_length=1.0, real=0.5)
    peer = LogisticRegression(C=1.0, tol=1e-10).fit(covariates, np.array(scores).astype(int))
    found = length_controlled(scores, covariates, clusters=ALONE[:200], draws=10)
    assert found.value == pytest.approx(1 / (1 + np.exp(-peer.intercept_[0])), abs=1e-4)


def test_sides_that_are_exchanged_give_the_complement() -> None:
    scores, covariates = judged(4, n=300, by_length=1.0, real=0.5)
    one = length_controlled(scores, covariates, clusters=ALONE[:300], draws=50)
    other = length_controlled([1 - score for score in scores], -covariates, clusters=ALONE[:300], draws=50)
    assert one.value + other.value == pytest.approx(1)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_side_that_always_wins_still_has_an_interval(score: float) -> None:
    found = length_controlled([score] * 30, differences(["aa"] * 30, ["a"] * 30), clusters=ALONE[:30])
    assert 0 <= found.low < found.high <= 1
    assert found.high - found.low > 0.02


def test_clusters_are_drawn_whole() -> None:
    scores = [1.0] * 50 + [0.0] * 50
    same = differences(["a"] * 100, ["a"] * 100)
    alone = length_controlled(scores, same, clusters=ALONE[:100])
    together = length_controlled(scores, same, clusters=[f"c{i // 10}" for i in range(100)])
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_two_thousand_fits_of_a_thousand_pairs_take_seconds() -> None:
    scores, covariates = judged(5, by_length=1.0)
    started = time.process_time()
    length_controlled(scores, covariates, clusters=ALONE, draws=2000)
    assert time.process_time() - started < 20


def test_every_feature_is_seen_and_signed() -> None:
    assert differences(["a" * 9], ["a"])[0, 0] > 0
    for place, text in enumerate(["# Title\n", "- one\n", "**bold**", "```\ncode\n```"], start=1):
        column = differences([text, ""], ["", text])[:, place]
        assert column[0] > 0, FEATURES[place]
        assert column[1] == -column[0]
    assert not differences(["same"], ["same"]).any()
