"""What a judge is worth, on labeled pairs and by numbers from outside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from delivery.artifacts import from_json, to_json
from delivery.errors import EvalIncompleteError, NoVerdict
from delivery.evaluation.judging.calibration import (
    calibrate,
    calibration_of,
    cohen_kappa,
    corrected_win_rate,
)
from delivery.evaluation.judging.judge import Choice, Judgement, Pair
from delivery.evaluation.judging.results import Calibration, LabeledPair
from tests.delivery.evaluation.judging.judges import judge, preferring, verdict


def judged(*choices: tuple[Choice | None, Choice | None]) -> list[Judgement]:
    return [Judgement(f"p{i}", forward, backward) for i, (forward, backward) in enumerate(choices)]


def known(right: int, wrong: int, *, ties: int = 0) -> Calibration:
    """A judge that is right and wrong so often on either side."""
    verdicts = {"a": [("a", "a")] * right + [("b", "b")] * wrong + [("a", "b")] * ties}
    verdicts["b"] = [("b", "b")] * right + [("a", "a")] * wrong + [("a", "b")] * ties
    each = right + wrong + ties
    return calibration_of(judged(*verdicts["a"], *verdicts["b"]), ["a"] * each + ["b"] * each, judge="j")  # type: ignore[arg-type]


def test_the_recorded_judge_of_llmbar(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "llmbar" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = {"Natural": (0.970, 0.935), "MT-Bench": (0.870, 0.810), "FairEval": (0.697, 0.727), "Neighbor": (0.896, 0.642)}
    choice: dict[str | None, Choice | None] = {"1": "a", "2": "b", None: None}

    def measured(subset: str) -> Calibration:
        mine = [row for row in rows if row["subset"] == subset]
        found = [
            Judgement(row["id"], choice[row["gpt4_verdict"]["original"]], choice[row["gpt4_verdict"]["swapped"]])
            if None not in row["gpt4_verdict"].values()
            else Judgement(row["id"], None, None, error="no verdict")
            for row in mine
        ]
        return calibration_of(found, [choice[str(row["gold"])] or "tie" for row in mine], judge="gpt-4")

    for subset, (consistency, accuracy) in expected.items():
        found = measured(subset)
        assert found.order_consistency.value == pytest.approx(consistency, abs=0.0005), subset
        assert found.accuracy.value == pytest.approx(accuracy, abs=0.0005), subset
        assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    assert (measured("LLMEval2").n, measured("LLMEval2").n_errored) == (194, 6)
    assert measured("FairEval").pick_first_rate.low > 0.5
    assert measured("Natural").kappa.low > 0.4
    assert measured("Neighbor").kappa.value < 0.4


def test_a_judge_is_measured_on_labeled_pairs_in_both_orders(tmp_path: Path) -> None:
    pairs = [LabeledPair(Pair(f"p{i}", f"q{i}", "x" * (i + 1), "xxx"), "a" if i > 2 else "b") for i in range(6)]
    found = calibrate(judge(tmp_path, preferring(len)), pairs, criteria="length")
    # i = 2 has equal texts: a tie.
    assert (found.n, found.agreement.value) == (6, pytest.approx(5 / 6))
    assert found.confusion == ((3, 0, 0), (0, 2, 1))
    assert (found.sensitivity, found.specificity) == (1.0, pytest.approx(2.5 / 3))
    assert from_json(Calibration, to_json(found)) == found


def test_a_judge_that_goes_by_the_place_is_found_out(tmp_path: Path) -> None:
    pairs = [LabeledPair(Pair(f"p{i}", f"q{i}", "x", "y"), "a" if i % 2 else "b") for i in range(20)]
    found = calibrate(judge(tmp_path, lambda _: verdict("first")), pairs, criteria="any")
    assert (found.order_consistency.value, found.pick_first_rate.value, found.accuracy.value) == (0, 1, 0.5)
    assert found.kappa.value == pytest.approx(0)
    assert corrected_win_rate([1.0] * 10, [""] * 10, calibration=found) is None


def test_kappa_is_that_of_another_library() -> None:
    generator = np.random.default_rng(3)
    gold = generator.choice(["a", "b"], 200)
    said = np.where(generator.random(200) < 0.6, gold, generator.choice(["a", "b", "tie"], 200))
    counts = [[np.sum((gold == g) & (said == s)) for s in ("a", "b", "tie")] for g in ("a", "b")]
    assert cohen_kappa(np.array([counts]).reshape(1, 6))[0] == pytest.approx(cohen_kappa_score(gold, said))


def test_kappa_is_zero_where_chance_alone_agrees() -> None:
    assert cohen_kappa(np.array([[10, 0, 0, 0, 0, 0]]))[0] == 0


@pytest.mark.parametrize("gold", [["a", "a"], ["b", "b"]])
def test_labels_of_one_side_alone_measure_nothing(gold: Sequence[Choice]) -> None:
    with pytest.raises(EvalIncompleteError, match="both sides"):
        calibration_of(judged(("a", "a"), ("b", "b")), gold, judge="j")
    with pytest.raises(EvalIncompleteError, match="0 of 1"):
        calibration_of(judged((None, None)), ["a"], judge="j")


def test_silence_is_told_from_failure_because_only_failure_may_pass(tmp_path: Path) -> None:
    pairs = [LabeledPair(Pair(f"p{i}", f"q{i}", "x", "yy"), "a" if i % 2 else "b") for i in range(4)]
    with pytest.raises(NoVerdict, match=r"0 of 4 labeled pairs have a verdict.*no verdict of the form"):
        calibrate(judge(tmp_path, lambda _: "Both are nice."), pairs, criteria="any")
    with pytest.raises(EvalIncompleteError, match="HTTP 500") as failed:
        calibrate(judge(tmp_path / "other", lambda _: RuntimeError("HTTP 500")), pairs, criteria="any")
    assert not isinstance(failed.value, NoVerdict)


def test_a_perfect_judge_corrects_nothing() -> None:
    found = corrected_win_rate([1.0] * 60 + [0.0] * 40, [""] * 100, calibration=known(500, 0))
    assert found is not None
    assert found.value == pytest.approx(0.6)
    assert found.low == pytest.approx(0.5, abs=0.02)
    assert found.high == pytest.approx(0.7, abs=0.02)


def test_the_corrected_rate_undoes_what_a_fallible_judge_blurs() -> None:
    # True rate 0.8, judge right in 3 of 4: it shows 0.8 * 0.75 + 0.2 * 0.25 = 0.65.
    found = corrected_win_rate([1.0] * 650 + [0.0] * 350, [""] * 1000, calibration=known(300, 100))
    assert found is not None
    assert found.value == pytest.approx(0.8)
    # Ties count half, on both parts.
    halves = corrected_win_rate([1.0] * 400 + [0.5] * 500 + [0.0] * 100, [""] * 1000, calibration=known(200, 0, ties=200))
    assert halves is not None
    assert halves.value == pytest.approx(0.8)


@pytest.mark.parametrize(("wins", "right", "n"), [(650, 300, 1000), (40, 80, 60), (150, 95, 200)])
def test_the_interval_is_that_of_the_closed_form_where_that_applies(wins: int, right: int, n: int) -> None:
    """Lang and Reiczigel 2014, written out: no ties, no clusters."""
    each, z = right + right // 3, 1.959964
    found = corrected_win_rate([1.0] * wins + [0.0] * (n - wins), [""] * n, calibration=known(right, right // 3))
    size, labeled = n + z**2, each + 2
    seen, right_rate = (wins + z**2 / 2) / size, (right + 1) / labeled
    value = (seen + right_rate - 1) / (2 * right_rate - 1)
    spread = right_rate * (1 - right_rate) / labeled
    shift = 2 * z**2 * (value * spread - (1 - value) * spread)
    half = z * np.sqrt(seen * (1 - seen) / size + value**2 * spread + (1 - value) ** 2 * spread) / (2 * right_rate - 1)
    assert found is not None
    assert found.low == pytest.approx(max(0, value + shift - half), abs=0.03)
    assert found.high == pytest.approx(min(1, value + shift + half), abs=0.03)


def test_the_corrected_interval_covers_the_true_rate() -> None:
    generator, covered, years = np.random.default_rng(11), 0, 200
    base = known(4, 1)
    for _ in range(years):
        true, accuracy = 0.65, 0.8
        wins = generator.random(150) < true
        seen = np.where(generator.random(150) < accuracy, wins, ~wins).astype(float)
        right = [int(n) for n in generator.binomial(50, accuracy, size=2)]
        confusion = ((right[0], 50 - right[0], 0), (50 - right[1], right[1], 0))
        calibration = Calibration(
            **{name: getattr(base, name) for name in base.__slots__}
            | {"confusion": confusion, "sensitivity": right[0] / 50, "specificity": right[1] / 50}
        )
        found = corrected_win_rate(seen.tolist(), [""] * 150, calibration=calibration)
        covered += found is not None and found.low <= true <= found.high
    assert 0.91 <= covered / years <= 0.99
