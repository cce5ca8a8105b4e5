"""What a plan promises."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import BaseModel, Machine, TokenStats
from delivery.client_config import Training
from delivery.errors import ConfigError
from delivery.training import make_plan

BASE = BaseModel(name="base", path="", source="", sha256="", licence="", parameters=134_515_008, context_length=8192)
MACHINE = Machine(device="cpu", threads=2, memory_bytes=16 * 2**30, bf16=True, matrix_flops=4e11)
STATS = TokenStats(rows=720, tokens=720 * 190, supervised_tokens=720 * 40, longest=260, longest_answer=48)

stats = st.builds(
    lambda rows, mean, answer: TokenStats(
        rows=rows, tokens=rows * mean, supervised_tokens=rows * min(answer, mean), longest=mean * 2, longest_answer=answer
    ),
    st.integers(1, 100_000),
    st.integers(2, 2000),
    st.integers(1, 300),
)


@settings(max_examples=200, deadline=None)
@given(stats, st.sampled_from([1e10, 4e11, 6e14]), st.sampled_from(["cpu", "cuda"]))
def test_a_plan_is_sound(stats: TokenStats, flops: float, device: str) -> None:
    machine = replace(MACHINE, matrix_flops=flops, device=device, memory_bytes=128 * 2**30)
    plan = make_plan(Training(), base=BASE, stats=stats, machine=machine)
    assert plan.steps >= 1
    assert 1 <= plan.checkpoint_every <= plan.steps
    assert 1 <= plan.warmup_steps <= plan.steps
    assert plan.micro_batch_tokens >= stats.longest
    assert plan.max_new_tokens > stats.longest_answer
    assert plan.predicted_peak_bytes < machine.memory_bytes
    assert plan.predicted_seconds > 4 * BASE.parameters * stats.tokens * plan.epochs * 0.9 / flops
    assert len(plan.why) >= 9
    assert all(sentence.endswith(".") for sentence in plan.why)


@settings(max_examples=200, deadline=None)
@given(stats, st.floats(0.01, 600))
def test_max_minutes_bounds_the_steps(stats: TokenStats, minutes: float) -> None:
    free = make_plan(Training(), base=BASE, stats=stats, machine=MACHINE)
    bound = make_plan(Training(max_minutes=minutes), base=BASE, stats=stats, machine=MACHINE)
    assert bound.steps <= free.steps
    if free.predicted_seconds <= minutes * 60:
        assert bound.steps == free.steps
    if bound.steps > 10:
        assert bound.predicted_seconds <= minutes * 60 + 0.1
    else:
        assert bound.steps == min(free.steps, 10) or bound.predicted_seconds <= minutes * 60 + 0.1
    # The bound is used, not merely kept.
    per_step = 4 * BASE.parameters * stats.tokens / ceil(stats.rows / bound.batch_size) / (0.45 * MACHINE.matrix_flops)
    validation = 1.5 * per_step / bound.batch_size
    assert bound.steps == free.steps or bound.predicted_seconds > minutes * 60 - 2 * (per_step + validation) - 1


def test_however_little_time_there_is_it_learns_something() -> None:
    plan = make_plan(Training(max_minutes=0.01), base=BASE, stats=STATS, machine=MACHINE)
    assert plan.steps == 10
    assert plan.predicted_seconds > 15
    assert any("no fewer than 10 steps" in sentence for sentence in plan.why)


def test_pinned_fields_are_kept_and_said() -> None:
    wish = Training(method="qlora", rank=8, alpha=64, learning_rate=3e-4, epochs=1.5, batch_size=4, seed=11)
    plan = make_plan(wish, base=BASE, stats=STATS, machine=MACHINE)
    assert (plan.method, plan.rank, plan.alpha, plan.learning_rate, plan.batch_size, plan.seed) == (
        "qlora",
        8,
        64,
        3e-4,
        4,
        11,
    )
    assert plan.steps == 270
    assert plan.epochs == 1.5
    assert sum("client.yaml asks" in sentence for sentence in plan.why) == 6


def test_plan_is_pure() -> None:
    first, second = (make_plan(Training(), base=BASE, stats=STATS, machine=MACHINE) for _ in range(2))
    assert first == second


def test_auto_takes_4_bit_only_where_16_do_not_fit() -> None:
    big = replace(BASE, parameters=8_000_000_000)
    with_room, tight = (
        make_plan(Training(), base=big, stats=STATS, machine=replace(MACHINE, memory_bytes=gib * 2**30)) for gib in (64, 12)
    )
    assert (with_room.method, tight.method) == ("lora", "qlora")
    assert tight.predicted_peak_bytes < with_room.predicted_peak_bytes
    assert tight.micro_batch_tokens < with_room.micro_batch_tokens, "smaller micro-batches save memory too"
    with pytest.raises(ConfigError, match=r"lora of base needs at least .* GiB .*, this machine has 16.0 GiB.*method to auto"):
        make_plan(Training(method="lora"), base=big, stats=STATS, machine=replace(MACHINE, memory_bytes=16 * 2**30))
    with pytest.raises(ConfigError, match="choose a smaller base_model"):
        make_plan(Training(), base=big, stats=STATS, machine=replace(MACHINE, memory_bytes=4 * 2**30))


def test_a_row_beyond_the_context_is_refused() -> None:
    with pytest.raises(ConfigError, match="the longest row has 9000 tokens, but base reads at most 8192"):
        make_plan(Training(), base=BASE, stats=replace(STATS, longest=9000), machine=MACHINE)


def test_no_rows_no_plan() -> None:
    with pytest.raises(ConfigError, match="no training row"):
        make_plan(Training(), base=BASE, stats=replace(STATS, rows=0, tokens=0), machine=MACHINE)


def test_larger_models_learn_slower_and_take_longer() -> None:
    small = make_plan(Training(), base=BASE, stats=STATS, machine=MACHINE)
    large = make_plan(Training(), base=replace(BASE, parameters=1_700_000_000), stats=STATS, machine=MACHINE)
    assert large.learning_rate < small.learning_rate
    assert large.predicted_seconds > 5 * small.predicted_seconds
