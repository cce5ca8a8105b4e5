"""A training run in this process: it is killed at a step by an exception, and costs no imports."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

from delivery.artifacts import Adapter, Artifact, BaseModel, Splits, TrainingPlan
from delivery.training.hf.world import ALONE
from delivery.training.job import Job, Tally, Workdir
from delivery.training.worker import Worker


class Killed(Exception):
    pass


def run_here(job: Job, folder: Path, *, kill_after: int | None = None) -> Adapter | None:
    """One attempt at a job; None where it was killed after that step."""
    workdir = Workdir(folder)
    workdir.submit(job)
    workdir.begin(job)
    worker = Worker(job, workdir=workdir, out=io.StringIO(), stop=threading.Event(), world=ALONE)
    tell = worker._tell

    def watch(tally: Tally) -> None:
        tell(tally)
        if len(tally.losses) == kill_after:
            raise Killed

    worker._tell = watch  # type: ignore[method-assign]
    try:
        with patch.dict(os.environ, OMP_NUM_THREADS="1"):
            worker.train()
    except Killed:
        return None
    return workdir.finished(job)


def train_here(
    plan: TrainingPlan,
    *,
    base: BaseModel,
    splits: Splits,
    workdir: Path,
    on_progress: Any,
    start: Artifact | None = None,
) -> Adapter:
    """What the launcher does, without a process and without its checks."""
    job = Job(plan=plan, base=base, train=splits.train, validation=splits.validation, start=start)
    made = Workdir(workdir).finished(job) or run_here(job, workdir)
    assert made is not None
    return made
