"""Which rows make which step."""

from __future__ import annotations

from collections import Counter
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.training.batches import micro_batches, schedule, validation_rows, validation_steps

lengths = st.lists(st.integers(1, 400), min_size=1, max_size=120)


@settings(max_examples=150, deadline=None)
@given(lengths, st.integers(1, 16), st.integers(50, 2000), st.integers(1, 3), st.integers(0, 9))
def test_every_row_is_seen_once_per_epoch(lengths: list[int], batch: int, budget: int, epochs: int, seed: int) -> None:
    per_epoch = ceil(len(lengths) / batch)
    steps = schedule(lengths, batch_size=batch, micro_batch_tokens=budget, steps=per_epoch * epochs, seed=seed)
    assert len(steps) == per_epoch * epochs
    for epoch in range(epochs):
        seen = Counter(row for step in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for micro in step for row in micro)
        assert seen == Counter(range(len(lengths)))
    for step in steps:
        assert 1 <= sum(len(micro) for micro in step) <= batch
        for micro in step:
            assert len(micro) == 1 or len(micro) * max(lengths[row] for row in micro) <= budget


@settings(max_examples=50, deadline=None)
@given(lengths, st.integers(1, 60), st.integers(1, 60))
def test_a_shorter_run_is_the_beginning_of_a_longer_one(lengths: list[int], fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    short, long = (schedule(lengths, batch_size=4, micro_batch_tokens=500, steps=n, seed=1) for n in (fewer, more))
    assert long[:fewer] == short


def test_seed_decides_the_order_and_epochs_differ() -> None:
    rows = [10 + n % 7 for n in range(40)]
    one, same, other = (schedule(rows, batch_size=8, micro_batch_tokens=500, steps=10, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one != other
    assert one[:5] != one[5:]


def test_rows_of_like_length_share_a_micro_batch() -> None:
    rows = [60 + (n * 37) % 200 for n in range(720)]
    steps = schedule(rows, batch_size=16, micro_batch_tokens=1536, steps=45, seed=7)
    real = sum(rows)
    padded = sum(len(micro) * max(rows[row] for row in micro) for step in steps for micro in step)
    assert (padded - real) / padded < 0.05


def test_micro_batches_are_even() -> None:
    assert [len(m) for m in micro_batches([110] * 16, range(16), 1536)] == [8, 8]
    assert micro_batches([2000, 10], [0, 1], 1536) == [[1], [0]]


def test_validation_ends_with_the_last_step() -> None:
    assert validation_steps(9) == (3, 6, 9)
    assert validation_steps(1) == (1,)
    assert validation_steps(2) == (1, 2)


@given(st.integers(10, 10_000), st.integers(8, 64))
def test_validation_costs_at_most_a_tenth(steps: int, batch: int) -> None:
    # Three points; a forward pass is half of what training on a row costs.
    assert 0.5 * 3 * validation_rows(steps, batch) <= 0.1 * steps * batch
    assert 4 <= validation_rows(steps, batch) <= 64
