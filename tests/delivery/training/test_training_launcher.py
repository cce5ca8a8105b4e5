"""Training as a process: it is killed and stopped at will, and ends with the same weights."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from delivery.artifacts import Adapter, BaseModel, OnProgress, Progress, Splits, TrainingPlan, to_json
from delivery.errors import ClientDataError, ConfigError, DeliveryInterrupted
from delivery.training import supervise, train
from delivery.training.job import Job, Workdir
from delivery.training.process import Nursery, order_for
from delivery.training.troubles import Troubles
from delivery.weights.hf import load_model


@pytest.fixture(scope="module")
def long_plan(plan: TrainingPlan) -> TrainingPlan:
    """Long enough (some seconds) to be interrupted in the middle."""
    return replace(plan, steps=120, checkpoint_every=10, warmup_steps=6, learning_rate=0.01)


@pytest.fixture(scope="module")
def undisturbed(tiny: BaseModel, long_plan: TrainingPlan, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return train(long_plan, base=tiny, splits=splits, workdir=tmp_path_factory.mktemp("undisturbed"))


def once_at(step: int, act: object) -> OnProgress:
    """Call ``act`` once, at the first progress from this step on."""
    done = []

    def watch(progress: Progress) -> None:
        if progress.done >= step and not done:
            done.append(progress.done)
            act()  # type: ignore[operator]

    return watch


def workers() -> list[psutil.Process]:
    """The attempts that run under this process."""
    return [child for nursery in psutil.Process().children() for child in nursery.children()]


def kill_worker() -> None:
    for worker in workers():
        worker.kill()


def test_finished_run(undisturbed: Adapter, long_plan: TrainingPlan, tiny: BaseModel, splits: Splits) -> None:
    record = undisturbed.record
    folder = Path(undisturbed.artifact.path)
    assert sorted(undisturbed.artifact.files) == ["adapter_config.json", "adapter_model.safetensors"]
    assert sorted(p.name for p in folder.iterdir()) == sorted(undisturbed.artifact.files)
    assert record.steps == 120
    assert record.losses[-1].step == 120
    assert record.losses[-1].loss < record.losses[0].loss - 1
    assert [p.step for p in record.losses if p.validation is not None] == [40, 80, 120]
    assert record.tokens_per_second == pytest.approx(record.tokens / record.seconds)
    assert 0 < record.effective_training_time < 1
    # Nothing of this machine, no client row and no pickle stays behind.
    assert str(Path(tiny.path).parent) not in (folder / "adapter_config.json").read_text()
    assert not (folder.parent / "job.json").exists()
    assert not [p for p in folder.parent.rglob("*") if p.suffix in {".pt", ".pth", ".bin"}]
    assert load_model(Path(tiny.path), adapter=folder) is not None
    # Asked again it is not trained again, not even when the machine is measured anew.
    other = replace(long_plan, machine=replace(long_plan.machine, matrix_flops=5e10), predicted_seconds=1.0)
    started = time.monotonic()
    assert train(other, base=tiny, splits=splits, workdir=folder.parent) == undisturbed
    assert time.monotonic() - started < 1


def test_killed_and_terminated_and_torn_it_ends_with_the_same_weights(
    undisturbed: Adapter, tiny: BaseModel, long_plan: TrainingPlan, splits: Splits, tmp_path: Path
) -> None:
    checkpoints = Workdir(tmp_path).checkpoints
    kill, stop = once_at(11, kill_worker), once_at(40, lambda: os.kill(os.getpid(), signal.SIGTERM))
    seen: list[Progress] = []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        kill(progress)
        stop(progress)

    asked = time.monotonic()
    with pytest.raises(DeliveryInterrupted, match="delivery resume"):
        train(long_plan, base=tiny, splits=splits, workdir=tmp_path, on_progress=watch)
    assert time.monotonic() - asked < 60
    assert Troubles.read(Workdir(tmp_path).troubles).restarts == 1, "killed once, and started again without being asked"
    newest = max(checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    assert int(newest.name.split("-")[1]) >= seen[-1].done, "being stopped saves the step it was at"

    weights = newest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    resumed = train(long_plan, base=tiny, splits=splits, workdir=tmp_path)
    assert resumed.artifact.files == undisturbed.artifact.files
    assert resumed.artifact.sha256 == undisturbed.artifact.sha256
    assert resumed.record.losses == undisturbed.record.losses
    assert resumed.record.tokens == undisturbed.record.tokens
    assert (resumed.record.restarts, resumed.record.incidents) == (1, ())


def test_process_saves_and_leaves_when_its_parent_is_gone(
    tiny: BaseModel, long_plan: TrainingPlan, splits: Splits, tmp_path: Path
) -> None:
    endless = replace(long_plan, steps=100_000, checkpoint_every=100_000)
    folder = Workdir(tmp_path / "run")
    folder.submit(Job(plan=endless, base=tiny, train=splits.train, validation=splits.validation))
    nursery = Nursery.take(supervise.environment(endless))

    def gone(message: dict[str, object]) -> None:
        if "done" in message:
            # What the kernel does for a process that ends.
            nursery._process.stdin.close()

    assert nursery.attempt(order_for(endless, job=folder.job, log=folder.log), gone) == 128 + signal.SIGTERM
    assert list(folder.checkpoints.glob("checkpoint-*/manifest.json"))
    assert nursery._process.wait(10) == 0, "nothing stays behind"
    nursery.close()


def test_other_rows_start_anew(undisturbed: Adapter, tiny: BaseModel, long_plan: TrainingPlan, splits: Splits) -> None:
    job = Job(plan=long_plan, base=tiny, train=splits.train, validation=splits.validation)
    changed = replace(job, train=(replace(splits.train[0], answer="w9"), *splits.train[1:]))
    folder = Workdir(Path(undisturbed.artifact.path).parent)
    assert folder.finished(job) is not None
    assert folder.finished(changed) is None
    assert folder.finished(replace(job, plan=replace(long_plan, rank=8))) is None
    assert folder.finished(replace(job, base=replace(tiny, sha256="other"))) is None


def test_a_changed_adapter_is_not_taken_for_finished(
    undisturbed: Adapter, tiny: BaseModel, long_plan: TrainingPlan, splits: Splits, tmp_path: Path
) -> None:
    job = Job(plan=long_plan, base=tiny, train=splits.train, validation=splits.validation)
    source, copy = Workdir(Path(undisturbed.artifact.path).parent), Workdir(tmp_path)
    copy.adapter.mkdir()
    for name in undisturbed.artifact.files:
        (copy.adapter / name).write_bytes((source.adapter / name).read_bytes())
    copy.record.write_bytes(source.record.read_bytes())
    assert copy.finished(job) is not None
    (copy.adapter / "adapter_config.json").write_text("{}")
    assert copy.finished(job) is None
    copy.record.write_bytes(to_json(long_plan))
    assert copy.finished(job) is None


@pytest.mark.parametrize("side", ["train", "validation"])
def test_a_row_of_the_holdout_never_trains(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, side: str, tmp_path: Path
) -> None:
    leaked = splits.test[0]
    # The same request in other letters is the same request.
    turned = replace(leaked.messages[1], content=f"  {leaked.messages[1].content.upper()} ")
    row = replace(leaked, id="new", messages=(leaked.messages[0], turned), answer="w1", source="more.jsonl", line=9)
    mixed = replace(splits, **{side: (*getattr(splits, side), row)})
    with pytest.raises(ClientDataError, match=r"more.jsonl:9: this (training|validation) row is held out"):
        train(plan, base=tiny, splits=mixed, workdir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named_by", [0, 1], ids=["id", "input"])
def test_a_row_that_an_earlier_version_held_out_never_trains(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, named_by: int, tmp_path: Path
) -> None:
    remembered = replace(splits, held_out={splits.train[3].names[named_by]: "test"})
    with pytest.raises(ClientDataError, match=r"rows.jsonl:\d+: this training row is held out, .* one of the test side"):
        train(plan, base=tiny, splits=remembered, workdir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, weight: float, tmp_path: Path
) -> None:
    bad = replace(splits, train=(replace(splits.train[0], weight=weight), *splits.train[1:]))
    with pytest.raises(ClientDataError, match=r"rows.jsonl:1: weight .* is not a number from 0 up"):
        train(plan, base=tiny, splits=bad, workdir=tmp_path)


def test_no_rows_are_refused(tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(ClientDataError, match="no training row"):
        train(plan, base=tiny, splits=replace(splits, train=()), workdir=tmp_path)


def test_what_the_process_reports_is_what_is_raised(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path
) -> None:
    gone = replace(tiny, path=str(tmp_path / "no-model"))
    with pytest.raises(ConfigError, match="cannot be loaded as a causal language model"):
        train(plan, base=gone, splits=splits, workdir=tmp_path / "run")
