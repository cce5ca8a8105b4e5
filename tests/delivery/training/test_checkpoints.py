"""Checkpoints are whole or are not there."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from delivery.artifacts import BaseModel, Splits, TrainingPlan
from delivery.errors import DeliveryError
from delivery.training import checkpoints, train
from delivery.training.pace import Pace, between_failures
from tests.delivery.training.test_training_hf import trainer_for


@pytest.fixture(scope="module")
def saved(tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real checkpoints, after two steps and after four."""
    folder = tmp_path_factory.mktemp("saved")
    trainer_for(tiny, replace(plan, steps=4, checkpoint_every=2), splits, folder).train()
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    return folder


def test_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        partial = tmp_path / ".partial" / f"checkpoint-{step}"
        partial.mkdir(parents=True)
        (partial / "state").write_text(f"step {step}")
        checkpoints.commit(partial, tmp_path / f"checkpoint-{step}")
    assert not (tmp_path / "checkpoint-5").exists()
    (tmp_path / "checkpoint-20").mkdir()
    (tmp_path / "checkpoint-20" / "state").write_text("killed before its manifest")
    (tmp_path / "checkpoint-15" / "state").write_text("torn")
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10"]
    assert checkpoints.newest(tmp_path / "none") is None


def test_a_checkpoint_holds_all_that_goes_on(saved: Path) -> None:
    files = {path.name for path in (saved / "checkpoint-4").iterdir()}
    assert files >= {
        "adapter_model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
        "tally.json",
    }
    assert not any(name.startswith("training_args") for name in files), "a pickle"
    drawn = torch.load(saved / "checkpoint-4" / "rng_state.pth", weights_only=False)
    assert drawn.keys() >= {"python", "numpy", "cpu"}


def test_one_wrong_bit_in_any_file_and_the_checkpoint_before_is_taken(saved: Path, tmp_path: Path) -> None:
    for name in sorted(path.name for path in (saved / "checkpoint-4").iterdir()):
        folder = tmp_path / name
        shutil.copytree(saved, folder)
        path = folder / "checkpoint-4" / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert checkpoints.newest(folder) == folder / "checkpoint-2", name
        shutil.rmtree(folder / "checkpoint-2" / name, ignore_errors=True)


def test_one_file_missing_and_the_checkpoint_before_is_taken(saved: Path, tmp_path: Path) -> None:
    for name in sorted(path.name for path in (saved / "checkpoint-4").iterdir()):
        folder = tmp_path / name
        shutil.copytree(saved, folder)
        (folder / "checkpoint-4" / name).unlink()
        assert checkpoints.newest(folder) == folder / "checkpoint-2", name


def test_the_interval_follows_what_saving_takes_and_how_often_it_fails() -> None:
    now = [0.0]
    pace = Pace(between_failures=200.0, clock=lambda: now[0])
    pace.saved(1.0)
    now[0] = 19.9
    assert not pace.due()
    now[0] = 20.0
    assert pace.due(), "the root of 2 x 1 x 200"
    pace.saved(4.0)
    now[0] = 59.0
    assert not pace.due()
    assert between_failures(900.0, 9) < between_failures(900.0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that takes two checkpoints of the tiny model and not a third; only an administrator may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)], capture_output=True)
    if not made or made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_said_and_leaves_the_last_checkpoint(
    small_disk: Path, tiny: BaseModel, plan: TrainingPlan, splits: Splits
) -> None:
    filler = small_disk / "filler"
    started = threading.Event()

    def fill(_: object) -> None:
        if not started.is_set() and list(small_disk.glob("run/checkpoints/checkpoint-*")):
            started.set()
            free = shutil.disk_usage(small_disk).free
            filler.write_bytes(bytes(max(0, free - 30_000)))

    long = replace(plan, steps=120, checkpoint_every=10, warmup_steps=6, learning_rate=0.01)
    with pytest.raises(DeliveryError, match="No space left on device; free space, then 'delivery resume' goes on"):
        train(long, base=tiny, splits=splits, workdir=small_disk / "run", on_progress=fill)
    left = checkpoints.newest(small_disk / "run" / "checkpoints")
    assert not list((small_disk / "run" / "checkpoints").glob(".*")), "half a checkpoint takes no room"
    filler.unlink()
    undisturbed = train(long, base=tiny, splits=splits, workdir=small_disk / "run")
    assert undisturbed.record.steps == 120
    assert left is not None
