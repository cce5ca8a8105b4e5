"""Let a training plan be carried out by processes of its own, and stop them well."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from delivery.artifacts import Adapter, Artifact, BaseModel, Example, OnProgress, Splits, TrainingPlan, verify_artifact
from delivery.errors import ClientDataError, DeliveryInterrupted
from delivery.training.job import Job, Workdir
from delivery.training.supervise import PATIENCE, supervise


def train(
    plan: TrainingPlan,
    *,
    base: BaseModel,
    splits: Splits,
    workdir: Path,
    on_progress: OnProgress,
    start: Artifact | None = None,
) -> Adapter:
    """Train to the end of the plan, from the newest whole checkpoint in ``workdir`` where there is one.

    Without a checkpoint it begins with the adapter ``start``, or with a fresh one.

    Raises:
        ClientDataError: a training or validation row is held out in this or an earlier version, or a weight is not a
            number from 0 up.
        ConfigError: training diverged, or memory does not suffice.
        DeliveryInterrupted: stopped by the user; a checkpoint was saved.
    """
    _refuse(splits)
    if start is not None:
        verify_artifact(start)
    job = Job(plan=plan, base=base, train=splits.train, validation=splits.validation, start=start)
    folder = Workdir(workdir)
    done = folder.finished(job)
    if done is not None:
        return done
    folder.submit(job)
    try:
        with _terminate_as_interrupt():
            return supervise(job, folder, on_progress=on_progress, patience=PATIENCE)
    except KeyboardInterrupt as error:
        raise DeliveryInterrupted("training was stopped and its state saved; 'delivery resume' goes on from there") from error


def _refuse(splits: Splits) -> None:
    """The firewall: no row that the holdout of this or of any earlier version knows ever reaches training."""
    held_out: dict[str, str] = {name: "validation" for row in splits.validation for name in row.names}
    held_out |= splits.held_out
    held_out |= {name: "test" for row in splits.test for name in row.names}
    for side, rows in (("training", splits.train), ("validation", splits.validation)):
        for row in rows:
            held = {held_out[name] for name in row.names if name in held_out} - {side}
            if held:
                raise ClientDataError(
                    f"{_where(row)}: this {side} row is held out, its id or its input is one of the {max(held)} side; "
                    "run 'delivery data check' and take one of them out"
                )
            if not (math.isfinite(row.weight) and row.weight >= 0):
                raise ClientDataError(f"{_where(row)}: weight {row.weight} is not a number from 0 up; correct it")
    if not splits.train:
        raise ClientDataError("data: there is no training row; add rows or lower data.splits.test")


def _where(row: Example) -> str:
    return f"{row.source}:{row.line}" if row.source else f"row {row.id}"


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM to this process ends it as Ctrl-C does; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
