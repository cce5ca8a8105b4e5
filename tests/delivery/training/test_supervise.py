"""What is done about a training process that fails."""

from __future__ import annotations

import random
import resource
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from delivery.artifacts import Adapter, BaseModel, Example, Message, Progress, Splits, TrainingPlan
from delivery.errors import ConfigError, DeliveryError, DeliveryInterrupted
from delivery.training import count_tokens, launcher, supervise
from delivery.training.job import Attempts, Job, Workdir
from delivery.training.process import Nursery
from delivery.training.supervise import Ended, Patience, _answer
from delivery.training.troubles import NotFiniteError, Troubles
from delivery.training.worker import _said


@pytest.fixture(autouse=True)
def without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "PATIENCE", Patience(pause=0.0))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that waits for it: on a busy machine it takes what is slow for what stands still."""
    monkeypatch.setattr(launcher, "PATIENCE", Patience(start=60.0, floor=5.0, times=2.0, pause=0.0))


@pytest.fixture
def job(tiny: BaseModel, plan: TrainingPlan, splits: Splits) -> Job:
    return Job(plan=plan, base=tiny, train=splits.train, validation=splits.validation)


def run(job: Job, splits: Splits, folder: Path, on_progress: object = lambda _: None) -> Adapter:
    return launcher.train(
        job.plan,
        base=job.base,
        splits=replace(splits, train=job.train),
        workdir=folder,
        on_progress=on_progress,  # type: ignore[arg-type]
    )


def running() -> list[psutil.Process]:
    return [child for nursery in psutil.Process().children() for child in nursery.children(recursive=True)]


@pytest.mark.usefixtures("soon")
def test_a_process_that_stands_still_is_ended_and_started_again(job: Job, splits: Splits, tmp_path: Path) -> None:
    job = replace(job, plan=replace(job.plan, steps=60, checkpoint_every=10))
    undisturbed = run(job, splits, tmp_path / "undisturbed")
    stopped: list[psutil.Process] = []

    def stop(progress: Progress) -> None:
        if progress.done >= 3 and not stopped:
            stopped.extend(running())
            for process in stopped:
                process.suspend()

    hung = run(job, splits, tmp_path / "hung", stop)
    assert not any(process.is_running() for process in stopped)
    assert hung.artifact.files == undisturbed.artifact.files
    assert (hung.record.restarts, hung.record.incidents) == (1, ())
    assert hung.record.effective_training_time < hung.record.seconds / (hung.record.seconds + 5.0), "standing still counts"


def test_a_batch_without_a_finite_loss_is_left_out_once_and_said(job: Job, splits: Splits, tmp_path: Path) -> None:
    # A weight that is finite, and a loss beyond what float32 holds.
    poisoned = replace(job, train=(replace(job.train[0], weight=3e38), *job.train[1:]), plan=replace(job.plan, steps=6))
    done = run(poisoned, splits, tmp_path)
    assert len(done.record.skipped_steps) == 1
    assert done.record.incidents == (
        f"The batch of step {done.record.skipped_steps[0]} was left out: its loss or gradient was not a finite number.",
    )
    assert done.record.restarts == 1
    again = run(poisoned, splits, tmp_path / "again")
    assert again.artifact.files == done.artifact.files


def test_one_without_a_finite_loss_after_another_stops_with_the_reason(job: Job, splits: Splits, tmp_path: Path) -> None:
    # Twelve steps see every row twice.
    poisoned = replace(job, train=(replace(job.train[0], weight=3e38), *job.train[1:]))
    with pytest.raises(ConfigError, match=r"no longer finite at step \d+, after the batch of step \d+ had been left out"):
        run(poisoned, splits, tmp_path)


def test_memory_that_runs_out_halves_the_micro_batch(tiny: BaseModel, job: Job, tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = [" ".join(f"w{draw.randrange(50)}" for _ in range(110)) for _ in range(300)]
    rows = tuple(
        Example(id=str(n), messages=(Message("user", text),), answer="w1", source="", line=n) for n, text in enumerate(texts)
    )
    splits = Splits(train=rows, validation=(), test=())
    stats = count_tokens(tiny, splits)
    plan = replace(job.plan, stats=stats, batch_size=300, micro_batch_tokens=300 * stats.longest, steps=1, warmup_steps=1)
    large = replace(job, plan=plan, train=rows, validation=())
    # Leaves a nursery that has imported everything, so what it is allowed from here on goes to training.
    whole = run(large, splits, tmp_path / "whole")
    nursery = Nursery.take(supervise.environment(plan))
    limited = psutil.Process(nursery.pid)
    limited.rlimit(psutil.RLIMIT_AS, (limited.memory_info().vms + 200 * 2**20, resource.RLIM_INFINITY))
    nursery.give_back()
    try:
        done = run(large, splits, tmp_path / "limited")
    finally:
        Nursery.take(supervise.environment(plan)).close()
    halved = Troubles.read(Workdir(tmp_path / "limited").troubles)
    assert whole.record.restarts == 0
    assert done.record.restarts == len(halved.notes) >= 1
    assert halved.micro_batch_tokens == plan.micro_batch_tokens // 2**done.record.restarts
    assert "Micro-batches were cut from" in done.record.incidents[0]
    assert done.record.losses[-1].loss == pytest.approx(whole.record.losses[-1].loss, rel=1e-5)
    assert done.record.supervised_tokens == whole.record.supervised_tokens, "the same rows"


def test_memory_that_never_suffices_is_said(job: Job) -> None:
    least = replace(job.plan, micro_batch_tokens=job.plan.stats.longest + 1)
    once = Troubles().halve(least, killed=False)
    assert once.changed(least).micro_batch_tokens == job.plan.stats.longest
    with pytest.raises(
        ConfigError, match=r"memory is full even with micro-batches of one row \(\d+ tokens\); set training.method"
    ):
        once.halve(least, killed=False)
    with pytest.raises(DeliveryError, match="killed again and again, most often because memory ran out"):
        once.halve(least, killed=True)


def test_a_process_that_is_killed_at_once_each_time_is_not_started_for_ever(job: Job, splits: Splits, tmp_path: Path) -> None:
    least = replace(job.plan, micro_batch_tokens=job.plan.stats.longest, checkpoint_every=10_000, steps=10_000)

    def kill(_: Progress) -> None:
        for process in running():
            process.kill()

    with pytest.raises(DeliveryError, match="its process was killed again and again"):
        run(replace(job, plan=least), splits, tmp_path, kill)
    assert Troubles.read(Workdir(tmp_path).troubles).restarts == 2


def test_every_way_to_end_has_its_answer(job: Job, tmp_path: Path) -> None:
    def answer(code: int, *said: dict[str, object], hung: bool = False, memory: bool = False, fruitless: int = 1) -> Troubles:
        return _answer(Ended(code, hung, list(said), memory), Troubles(), job, fruitless=fruitless)

    assert (
        answer(-9) == answer(137) == answer(-11) == answer(1, {"crash": "KeyError: 1"}) == answer(-9, hung=True) == Troubles()
    )
    assert answer(-9, memory=True).micro_batch_tokens == job.plan.micro_batch_tokens // 2
    assert answer(-9, fruitless=3).micro_batch_tokens == job.plan.micro_batch_tokens // 2
    # Of several processes, the one that failed decides, not those that lost it.
    assert answer(1, {"crash": "RuntimeError: Connection closed by peer"}, {"trouble": "not_finite", "step": 4}).skipped == (4,)
    with pytest.raises(ConfigError, match="as it was said"):
        answer(1, {"error": "ConfigError", "message": "as it was said"})
    with pytest.raises(DeliveryInterrupted, match="before it began"):
        answer(-15)


def test_what_a_process_says_of_its_end(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    folder = Workdir(tmp_path)
    assert _said(caught.value, folder) == {"trouble": "memory"}
    assert _said(MemoryError(), folder) == {"trouble": "memory"}
    assert _said(torch.OutOfMemoryError("CUDA out of memory"), folder) == {"trouble": "memory"}
    assert _said(NotFiniteError(6), folder) == {"trouble": "not_finite", "step": 6}
    assert _said(KeyError("x"), folder) == {"crash": "KeyError: 'x'"}
    assert _said(OSError(28, "No space left on device", "a/b"), folder) == {
        "error": "DeliveryError",
        "message": "a/b: No space left on device; free space, then 'delivery resume' goes on",
    }


def test_time_of_all_attempts_counts_once(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "attempts.json")
    attempts.note(100.0, 104.0)
    attempts.note(99.0, 110.0)
    attempts.note(110.0, 111.0)
    assert (attempts.seconds, attempts.pauses) == (12.0, 0)
    attempts.note(500.0, 503.0)
    assert (attempts.seconds, attempts.pauses) == (15.0, 1)
