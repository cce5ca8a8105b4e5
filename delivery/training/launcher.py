"""Run a training plan in a process of its own, relay its progress, and stop it well."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from delivery import errors
from delivery.artifacts import (
    Adapter,
    Artifact,
    BaseModel,
    Example,
    OnProgress,
    Progress,
    Splits,
    TrainingPlan,
    verify_artifact,
)
from delivery.errors import ClientDataError, DeliveryError, DeliveryInterrupted
from delivery.training.job import Job, Workdir

_GRACE_SECONDS = 60.0
"""For the process to save a checkpoint after it was asked to stop."""


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
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "delivery.training.worker", str(folder.job), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(plan),
            # A group of its own: Ctrl-C reaches this process alone, which then lets the other save.
            start_new_session=True,
        )
    reported = _relay(process, on_progress)
    if reported is not None:
        raise reported
    adapter = folder.finished(job)
    if adapter is None:
        raise _died(process.returncode, folder)
    return adapter


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


def _environment(plan: TrainingPlan) -> dict[str, str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["OMP_NUM_THREADS"] = str(plan.machine.threads)
    # MKL may choose its code path by memory alignment and its threads by load; either would change the last bit of a sum.
    environment |= {"MKL_CBWR": "AUTO", "MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "FALSE"}
    # One device: Trainer would spread over all it sees, and a plan is made for one.
    environment.setdefault("CUDA_VISIBLE_DEVICES", "0")
    return environment


def _relay(process: subprocess.Popen[bytes], on_progress: OnProgress) -> DeliveryError | None:
    """Pass progress on until the process ends; the error that it reported, if any."""
    reported: DeliveryError | None = None
    assert process.stdout is not None
    try:
        with _terminate_as_interrupt():
            for line in process.stdout:
                try:
                    message = json.loads(line)
                except ValueError:
                    # The last line of a process that was killed while it wrote.
                    continue
                if "error" in message:
                    reported = getattr(errors, message["error"])(message["message"])
                else:
                    on_progress(Progress(message["done"], message["total"], "step", message["note"]))
            process.wait()
    except KeyboardInterrupt as error:
        _stop(process)
        raise DeliveryInterrupted("training was stopped and its state saved; 'delivery resume' goes on from there") from error
    except BaseException:
        _stop(process)
        raise
    finally:
        process.stdout.close()
    return reported


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except BaseException:
        # Out of patience, or asked a second time.
        process.kill()
        process.wait()


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


def _died(code: int, folder: Workdir) -> DeliveryError:
    if code == -signal.SIGTERM:
        return DeliveryInterrupted("training was stopped before it began; 'delivery resume' starts it")
    if code == -signal.SIGKILL:
        return DeliveryError(
            "training: its process was killed, most often because memory ran out; close other programs or choose a smaller "
            "base_model, then 'delivery resume' goes on from the last checkpoint"
        )
    return DeliveryError(f"training: its process ended with code {code}; {folder.log} says why")
