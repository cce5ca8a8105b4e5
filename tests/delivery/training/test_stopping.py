"""When the validation loss is looked at, what is kept, and that a killed run keeps the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from delivery.artifacts import BaseModel, Splits, TrainingPlan
from delivery.errors import ConfigError
from delivery.training import machine
from delivery.training.hf.rows import tokenize
from delivery.training.job import Job
from delivery.training.stopping import best_step, is_spent, looks_of, plan_looks, what_was_kept
from delivery.weights.hf import load_model, load_tokenizer
from tests.delivery.training.here import run_here


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3000), st.integers(1, 20_000), st.integers(1, 64), st.sampled_from([None, True, False]))
def test_looks_are_affordable_unless_they_are_asked_for(rows: int, steps: int, batch: int, wish: bool | None) -> None:
    if wish and not rows:
        with pytest.raises(ConfigError, match="no validation rows to stop by"):
            plan_looks(wish, rows=rows, steps=steps, batch_size=batch)
        return
    looks = plan_looks(wish, rows=rows, steps=steps, batch_size=batch)
    assert looks.rows <= rows
    if wish is None and looks.patience:
        seen = -(-steps // looks.every)
        assert seen >= 5
        # A forward pass is half of what training on a row costs; the share of the time is a tenth.
        assert 0.5 * seen * looks.rows <= 0.1 * steps * batch * 1.01
        assert looks.rows >= 50
    assert (looks.patience > 0) == (looks.every > 0)
    assert wish is None or (looks.patience > 0) == wish


def test_few_rows_or_a_short_run_ship_the_last_weights() -> None:
    assert "23 validation rows are too few" in plan_looks(None, rows=23, steps=200, batch_size=8).why
    assert "too short" in plan_looks(None, rows=500, steps=20, batch_size=8).why
    assert plan_looks(None, rows=500, steps=1800, batch_size=16).patience == 3


def test_the_last_step_is_looked_at(plan: TrainingPlan) -> None:
    assert looks_of(replace(plan, steps=10, validate_every=4)) == (4, 8, 10)
    assert looks_of(replace(plan, steps=8, validate_every=4)) == (4, 8)
    assert looks_of(replace(plan, steps=9)) == (3, 6, 9)


def test_the_earliest_of_equal_losses_is_the_best() -> None:
    assert best_step({"10": 0.5, "4": 0.5, "8": 0.7}) == 4
    assert best_step({}) == 0
    falling = {"4": 0.9, "8": 0.5}
    assert not is_spent(falling, 2)
    assert not is_spent(falling | {"12": 0.5}, 2)
    assert is_spent(falling | {"12": 0.5, "16": 0.6}, 2)
    assert not is_spent(falling | {"12": 0.5, "16": 0.6}, 0)


def loss_of(base: BaseModel, adapter: Path, splits: Splits) -> float:
    """Mean loss over the validation rows' answer tokens, row by row."""
    model = load_model(Path(base.path), adapter=adapter, dtype=torch.float32)
    total = tokens = 0.0
    for (row,) in tokenize(load_tokenizer(Path(base.path)), splits.validation):
        with torch.no_grad():
            log_p = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
        total -= sum(float(log_p[place - 1, row.ids[place]]) for place in range(row.answer_start, len(row.ids)))
        tokens += len(row.ids) - row.answer_start
    return total / tokens


@pytest.fixture
def overfitting(plan: TrainingPlan) -> TrainingPlan:
    """Learns 48 rows of noise by heart, so the validation loss soon rises. With dropout and part of the layers, too."""
    return replace(
        plan,
        steps=40,
        warmup_steps=1,
        learning_rate=1.5,
        checkpoint_every=5,
        validate_every=3,
        validation_rows=6,
        patience=3,
        dropout=0.1,
        targets=("attention",),
        rslora=True,
    )


def test_the_best_looks_weights_ship_and_a_killed_run_ships_the_same(
    tiny: BaseModel, overfitting: TrainingPlan, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "matrix_rate", lambda *_, **__: 1e10)
    job = Job(plan=overfitting, base=tiny, train=splits.train, validation=splits.validation)
    whole = run_here(job, tmp_path / "whole")
    assert whole is not None
    record = whole.record
    looked = {str(point.step): point.validation for point in record.losses if point.validation is not None}
    assert record.kept_step == best_step(looked)
    assert record.steps == record.kept_step + 9 < overfitting.steps
    assert record.epochs == pytest.approx(overfitting.epochs * record.steps / overfitting.steps, abs=1e-3)
    assert f"The weights of step {record.kept_step} ship" in record.notes[0]

    shipped = Path(whole.artifact.path)
    # In float32 and without dropout, as a look computes it.
    assert loss_of(tiny, shipped, splits) == pytest.approx(looked[str(record.kept_step)], abs=1e-4)
    assert {name.split(".")[-3] for name in load_file(shipped / "adapter_model.safetensors")} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    }

    for kill_after in (2, record.kept_step, record.steps - 1):
        folder = tmp_path / str(kill_after)
        assert run_here(job, folder, kill_after=kill_after) is None
        again = run_here(job, folder)
        assert again is not None
        assert again.artifact.files == whole.artifact.files, f"killed after step {kill_after}"
        assert again.record.losses == record.losses
        assert again.record.notes == record.notes


def test_without_stopping_the_last_weights_ship(plan: TrainingPlan) -> None:
    kept = what_was_kept(plan, {"3": 0.1, "9": 0.9}, 9)
    assert kept.step == 9
