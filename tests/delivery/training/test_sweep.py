"""A sweep: what it tries, what it takes, and which combination it goes on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from delivery.artifacts import BaseModel, Machine, Splits, TokenStats, TrainingPlan
from delivery.client_config import Sweep, Training
from delivery.errors import ConfigError
from delivery.training import count_tokens, course, launcher, machine, make_plan
from delivery.training.sweep import choose_point, point_plan
from tests.delivery.training.here import train_here
from tests.delivery.training.tiny_rows import TINY_MACHINE

BASE = BaseModel(name="base", path="", source="", sha256="", licence="", parameters=134_515_008, context_length=8192)
STATS = TokenStats(rows=720, tokens=720 * 190, supervised_tokens=720 * 40, longest=260, longest_answer=48, validation_rows=100)
MACHINE = Machine(device="cpu", threads=2, memory_bytes=16 * 2**30, bf16=True, matrix_flops=4e11)
FOUR = Training(sweep=Sweep(learning_rate=(5e-4, 1e-3), rank=(8, 32)))


def planned(training: Training) -> TrainingPlan:
    return make_plan(training, base=BASE, stats=STATS, machine=MACHINE)


def test_every_rate_is_planned_with_every_rank() -> None:
    plan = planned(FOUR)
    assert [(p.learning_rate, p.rank) for p in plan.sweep] == [(5e-4, 8), (5e-4, 32), (1e-3, 8), (1e-3, 32)]
    assert all(p.steps == round(0.2 * plan.steps) and p.predicted_seconds > 15 for p in plan.sweep)
    assert any("a sweep of 4 combinations" in sentence for sentence in plan.why)
    short = point_plan(plan, plan.sweep[0])
    assert (short.rank, short.learning_rate, short.steps, short.patience, short.sweep) == (8, 5e-4, plan.sweep[0].steps, 0, ())
    only_ranks = planned(Training(sweep=Sweep(rank=(8, 16))))
    assert {p.learning_rate for p in only_ranks.sweep} == {1e-3}


def test_a_time_bound_covers_the_sweep() -> None:
    plan = planned(FOUR.model_copy(update={"max_minutes": 30.0}))
    assert plan.predicted_seconds + sum(p.predicted_seconds for p in plan.sweep) <= 1800 + 5
    assert plan.steps < planned(FOUR).steps


def test_without_validation_rows_there_is_nothing_to_choose_by() -> None:
    with pytest.raises(ConfigError, match=r"training.sweep: there are no validation rows"):
        make_plan(FOUR, base=BASE, stats=replace(STATS, validation_rows=0), machine=MACHINE)


def test_the_lowest_validation_loss_is_chosen_and_the_first_of_equals() -> None:
    plan = planned(FOUR)
    losses = (0.5, 0.4, 0.4, 0.9)
    tried = [replace(p, validation=loss, seconds=10.0) for p, loss in zip(plan.sweep, losses, strict=True)]
    chosen = choose_point(plan, tried)
    assert (chosen.learning_rate, chosen.rank, chosen.steps) == (5e-4, 32, plan.steps)
    assert "it took 40 s" in chosen.why[-1]
    assert "0.0005 at rank 32: 0.4000" in chosen.why[-1]


def test_a_sweep_that_is_asked_again_trains_nothing_again(
    tiny: BaseModel, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def train(plan: TrainingPlan, **kinds: Any) -> Any:
        seen.append(plan.rank)
        return train_here(plan, **kinds)

    monkeypatch.setattr(machine, "matrix_rate", lambda *_, **__: 1e10)
    monkeypatch.setattr(launcher, "train", train)
    wish = Training(batch_size=8, epochs=5, sweep=Sweep(learning_rate=(1e-5, 0.02), share=0.4))
    plan = make_plan(wish, base=tiny, stats=count_tokens(tiny, splits), machine=TINY_MACHINE)
    chosen = course.sweep(plan, base=tiny, splits=splits, workdir=tmp_path, on_progress=lambda _: None)
    assert chosen.learning_rate == 0.02
    low, high = (point.validation for point in chosen.sweep)
    assert low is not None
    assert high is not None
    assert high < low
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    assert course.sweep(plan, base=tiny, splits=splits, workdir=tmp_path, on_progress=lambda _: None) == chosen
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")} == before
    assert len(seen) == 4
