"""Two processes train one model as one does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from delivery.artifacts import Adapter, BaseModel, Progress, Splits, TrainingPlan
from delivery.client_config import Training
from delivery.training import make_plan, spread, train
from delivery.training.job import Workdir
from delivery.training.ranks import divide
from delivery.training.troubles import Troubles
from tests.delivery.training.test_training_launcher import once_at


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(1, 9))
def test_every_micro_batch_falls_to_one_rank_and_none_is_far_ahead(costs: list[int], ranks: int) -> None:
    shares = divide(costs, ranks)
    assert sorted(number for share in shares for number in share) == list(range(len(costs)))
    loads = [sum(costs[number] for number in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs)
    assert shares == divide(costs, ranks)


def test_a_plan_for_several_cuts_steps_and_keeps_their_rows(plan: TrainingPlan, tiny: BaseModel) -> None:
    assert spread(plan, 1, base=tiny) is plan
    several = spread(plan, 4, base=tiny)
    assert (several.processes, several.batch_size, several.steps) == (4, plan.batch_size, plan.steps)
    assert plan.stats.longest <= several.micro_batch_tokens < plan.micro_batch_tokens


def test_devices_of_their_own_save_time_and_divided_weights_memory(plan: TrainingPlan, tiny: BaseModel) -> None:
    base = replace(tiny, parameters=8_000_000_000, shape=None)
    machine = replace(plan.machine, device="cuda", memory_bytes=80 * 2**30, matrix_flops=5e14)
    large = make_plan(Training(), base=base, stats=plan.stats, machine=machine)
    whole, divided = (spread(large, 4, base=base, sharded=sharded) for sharded in (False, True))
    assert whole.predicted_step_seconds < large.predicted_step_seconds
    assert whole.predicted_seconds < large.predicted_seconds
    assert divided.predicted_peak_bytes < whole.predicted_peak_bytes - 10 * 2**30
    assert spread(plan, 4, base=tiny).predicted_seconds == plan.predicted_seconds, "processes on one CPU share it"


@pytest.fixture(scope="module")
def cut(plan: TrainingPlan) -> TrainingPlan:
    """Several uneven micro-batches in each step."""
    return replace(plan, steps=20, checkpoint_every=4, warmup_steps=2, micro_batch_tokens=2 * plan.stats.longest)


@pytest.fixture(scope="module")
def alone(tiny: BaseModel, cut: TrainingPlan, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return train(cut, base=tiny, splits=splits, workdir=tmp_path_factory.mktemp("alone"))


def same(one: Adapter, other: Adapter) -> None:
    assert [point.step for point in one.record.losses] == [point.step for point in other.record.losses]
    for mine, yours in zip(one.record.losses, other.record.losses, strict=True):
        assert mine.loss == pytest.approx(yours.loss, abs=1e-5)
        assert mine.validation == pytest.approx(yours.validation, abs=1e-5)
    weights, others = (load_file(Path(a.artifact.path, "adapter_model.safetensors")) for a in (one, other))
    assert weights.keys() == others.keys()
    assert all(tensor.shape == others[name].shape for name, tensor in weights.items())
    assert one.record.tokens == other.record.tokens


def kill_one_rank() -> None:
    agents = [agent for nursery in psutil.Process().children() for agent in nursery.children()]
    max((rank for agent in agents for rank in agent.children()), key=lambda rank: rank.pid).kill()


def test_two_processes_have_the_losses_of_one_and_a_killed_rank_resumes(
    tiny: BaseModel, cut: TrainingPlan, splits: Splits, alone: Adapter, tmp_path: Path
) -> None:
    two = train(replace(cut, processes=2), base=tiny, splits=splits, workdir=tmp_path, on_progress=once_at(9, kill_one_rank))
    same(two, alone)
    assert (two.record.processes, two.record.restarts) == (2, 1)


def test_a_base_that_is_divided_gives_the_same_adapter(
    tiny: BaseModel, cut: TrainingPlan, splits: Splits, alone: Adapter, tmp_path: Path
) -> None:
    divided = train(replace(cut, processes=2, sharded=True), base=tiny, splits=splits, workdir=tmp_path)
    same(divided, alone)
    assert divided.record.processes == 2


class Enough(Exception):
    pass


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_what_some_processes_saved_others_go_on_from(
    tiny: BaseModel, cut: TrainingPlan, splits: Splits, alone: Adapter, tmp_path: Path, first: int, then: int
) -> None:
    def leave() -> None:
        raise Enough

    seen: list[int] = []

    def watch(progress: Progress) -> None:
        seen.append(progress.done)

    with pytest.raises(Enough):
        train(replace(cut, processes=first), base=tiny, splits=splits, workdir=tmp_path, on_progress=once_at(7, leave))
    saved = max(int(p.name.split("-")[1]) for p in Workdir(tmp_path).checkpoints.glob("checkpoint-*"))
    assert saved >= 7, "asked to stop, it saved where it was"
    done = train(replace(cut, processes=then), base=tiny, splits=splits, workdir=tmp_path, on_progress=watch)
    same(done, alone)
    assert seen[0] > saved
    assert Troubles.read(Workdir(tmp_path).troubles) == Troubles()
