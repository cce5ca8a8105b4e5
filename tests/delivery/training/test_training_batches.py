"""Which rows make which step."""

from __future__ import annotations

from collections import Counter
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.training.batches import Packed, Padded, Sizes, micro_batches, schedule, validation_rows, validation_steps

OPENINGS = ([7] * 60, [*range(90)], [])


def padded(lengths: list[int]) -> Padded:
    return Padded([[length] for length in lengths])


@st.composite
def sizes(draw: st.DrawFn) -> Sizes:
    """Padded or packed units of one or two rows, the packed ones with openings that they share."""
    lengths = draw(st.lists(st.integers(1, 200), min_size=1, max_size=60))
    if draw(st.booleans()):
        return Padded([[length] if length % 3 else [length // 2 + 1, length] for length in lengths])
    rows = [[*OPENINGS[n % 3], *range(1000 * n, 1000 * n + length)] for n, length in enumerate(lengths)]
    return Packed([[row] if len(row) % 3 else [row[: len(row) // 2], row] for row in rows])


@settings(max_examples=100, deadline=None)
@given(sizes(), st.integers(1, 16), st.integers(50, 2000), st.integers(1, 3), st.integers(0, 9))
def test_every_unit_is_seen_once_per_epoch(sizes: Sizes, batch: int, budget: int, epochs: int, seed: int) -> None:
    per_epoch = ceil(len(sizes) / batch)
    steps = schedule(sizes, batch_size=batch, micro_batch_tokens=budget, steps=per_epoch * epochs, seed=seed)
    assert len(steps) == per_epoch * epochs
    for epoch in range(epochs):
        seen = Counter(unit for step in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for micro in step for unit in micro)
        assert seen == Counter(range(len(sizes)))
    for step in steps:
        assert 1 <= sum(len(micro) for micro in step) <= batch
        for micro in step:
            assert len(micro) == 1 or sizes.tokens(micro) <= budget


@settings(max_examples=50, deadline=None)
@given(sizes(), st.integers(1, 60), st.integers(1, 60))
def test_a_shorter_run_is_the_beginning_of_a_longer_one(sizes: Sizes, fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    short, long = (schedule(sizes, batch_size=4, micro_batch_tokens=500, steps=n, seed=1) for n in (fewer, more))
    assert long[:fewer] == short


def test_seed_decides_the_order_and_epochs_differ() -> None:
    rows = padded([10 + n % 7 for n in range(40)])
    one, same, other = (schedule(rows, batch_size=8, micro_batch_tokens=500, steps=10, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one != other
    assert one[:5] != one[5:]


def test_padded_rows_of_like_length_share_a_micro_batch() -> None:
    rows = [60 + (n * 37) % 200 for n in range(720)]
    steps = schedule(padded(rows), batch_size=16, micro_batch_tokens=1536, steps=45, seed=7)
    real = sum(rows)
    computed = sum(len(micro) * max(rows[row] for row in micro) for step in steps for micro in step)
    assert (computed - real) / computed < 0.05


def test_steps_of_packed_rows_are_random_samples_of_all_openings_and_lengths() -> None:
    rows = Packed([[[*OPENINGS[n % 2], *range(100, 120 + n // 2)]] for n in range(160)])
    steps = schedule(rows, batch_size=16, micro_batch_tokens=10_000, steps=10, seed=3)
    kinds = [sum(unit % 2 for micro in step for unit in micro) for step in steps]
    lengths = [max(unit for micro in step for unit in micro) - min(unit for micro in step for unit in micro) for step in steps]
    assert all(3 <= kind <= 13 for kind in kinds)
    assert min(lengths) > 80


def test_rows_of_one_opening_go_to_one_micro_batch() -> None:
    rows = Packed([[[*OPENINGS[n % 2], 200 + n]] for n in range(12)])
    assert [{unit % 2 for unit in micro} for micro in micro_batches(rows, range(12), 100)] == [{1}, {0}]


def test_micro_batches_are_even() -> None:
    assert [len(m) for m in micro_batches(padded([110] * 16), range(16), 1536)] == [8, 8]
    assert micro_batches(padded([2000, 10]), [0, 1], 1536) == [[1], [0]]
    assert micro_batches(padded([2000, 10, 10, 10]), range(4), 1536) == [[1, 2, 3], [0]]
    opening = list(range(400))
    packed = Packed([[[*opening, *range(n * 1000, n * 1000 + 50)]] for n in range(16)])
    assert [len(m) for m in micro_batches(packed, range(16), 900)] == [8, 8]


def test_validation_ends_with_the_last_step() -> None:
    assert validation_steps(9) == (3, 6, 9)
    assert validation_steps(1) == (1,)
    assert validation_steps(2) == (1, 2)


@given(st.integers(10, 10_000), st.integers(8, 64))
def test_validation_costs_at_most_a_tenth(steps: int, batch: int) -> None:
    # Three points; a forward pass is half of what training on a row costs.
    assert 0.5 * 3 * validation_rows(steps, batch) <= 0.1 * steps * batch
    assert 4 <= validation_rows(steps, batch) <= 64
