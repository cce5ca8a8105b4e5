"""What earlier runs say about predictions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from delivery.artifacts import BaseModel, Learned, Machine, TokenStats, TrainingRecord
from delivery.client_config import Training
from delivery.training import Past, make_plan
from delivery.training.history import Like, learn

BASE = BaseModel(name="base", path="", source="", sha256="b1", licence="", parameters=134_515_008, context_length=8192)
MACHINE = Machine(device="cpu", threads=2, memory_bytes=16 * 2**30, bf16=True, matrix_flops=4e11)
STATS = TokenStats(rows=720, tokens=720 * 190, supervised_tokens=720 * 40, longest=260, longest_answer=48)
LIKE = Like(device="cpu", threads=2, base="b1", method="lora", precision="bf16")


def past(seconds: float, memory: float = 1.0, **changed: str | int) -> Past:
    return replace(
        Past(device="cpu", threads=2, base="b1", method="lora", precision="bf16", seconds=seconds, memory=memory),
        **changed,  # type: ignore[arg-type]
    )


def record(seconds: float, steps: int, peak: int) -> TrainingRecord:
    return TrainingRecord("lora", 16, 32, 1.0, steps, 10, 10, seconds, 1.0, peak, "cpu", 1.0, 0.5, ())


def test_without_a_history_nothing_is_corrected() -> None:
    assert learn((), LIKE) == Learned()


def test_few_runs_say_little_and_many_say_all() -> None:
    one, nine = (learn([past(2.0, 1.2)] * number, LIKE) for number in (1, 9))
    assert 1.0 < one.seconds < 1.5 < nine.seconds < 2.0
    assert one.runs == 1
    assert nine.seconds == pytest.approx(2.0 ** (9 / 11), abs=1e-3)
    assert nine.memory == pytest.approx(1.2 ** (9 / 11), abs=1e-3)


def test_one_odd_run_does_not_move_the_prediction() -> None:
    usual = [past(1.1)] * 6
    assert learn([*usual, past(30.0)], LIKE).seconds == pytest.approx(learn([*usual, past(1.1)], LIKE).seconds)


def test_no_history_makes_a_prediction_absurd() -> None:
    assert learn([past(1000.0, 90.0)] * 9, LIKE) == Learned(runs=9, seconds=4.0, memory=1.5)


def test_runs_of_the_same_base_count_before_others_and_foreign_ones_never() -> None:
    other = past(3.0, base="b2")
    assert learn([other, past(1.0)], LIKE).runs == 1
    assert learn([other, other], LIKE).seconds > 1.0
    foreign = [past(3.0, device="cuda"), past(3.0, method="qlora"), past(3.0, precision="fp32"), past(3.0, threads=8)]
    assert learn(foreign, LIKE) == Learned()


def test_the_next_plan_comes_closer_and_a_corrected_one_is_not_corrected_twice() -> None:
    first = make_plan(Training(), base=BASE, stats=STATS, machine=MACHINE)
    took = record(1.5 * first.predicted_step_seconds * first.steps, first.steps, round(1.1 * first.predicted_peak_bytes))
    seen = Past.of(first, took, base="b1")
    assert seen is not None
    assert (seen.seconds, seen.memory) == (pytest.approx(1.5), pytest.approx(1.1, abs=1e-4))
    second = make_plan(Training(), base=BASE, stats=STATS, machine=MACHINE, history=[seen] * 6)
    assert first.predicted_seconds < second.predicted_seconds < 1.5 * first.predicted_seconds
    assert second.learned.runs == 6
    assert any("Corrected by 6 earlier training runs here: time by 1." in sentence for sentence in second.why)
    again = Past.of(second, took, base="b1")
    assert again is not None
    assert again.seconds == pytest.approx(1.5, rel=1e-3)


def test_records_that_say_nothing_are_left_out() -> None:
    plan = make_plan(Training(), base=BASE, stats=STATS, machine=MACHINE)
    assert Past.of(plan, record(1.0, 3, 10), base="b1") is None
    assert Past.of(replace(plan, predicted_step_seconds=0.0), record(1.0, 50, 10), base="b1") is None
