"""The training process: ``python -m delivery.training.worker JOB PARENT_PID``, started by the launcher.

It tells its parent how far it is in JSON lines, saves a checkpoint and leaves when it is asked to (SIGTERM) or when its
parent is gone, and goes on from the newest whole checkpoint when it is started again.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import resource
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from delivery.artifacts import LossPoint, TrainingRecord, from_json
from delivery.errors import ConfigError, DeliveryError, DeliveryInterrupted
from delivery.training import batches, checkpoints, machine
from delivery.training.hf.adapter import attach_adapter, save_adapter
from delivery.training.hf.rows import tokenize, training_rows, validation_rows
from delivery.training.hf.trainer import Run, StepTrainer
from delivery.training.job import TALLY, Attempts, Job, Tally, Workdir
from delivery.weights.hf import load_tokenizer

_PR_SET_PDEATHSIG = 1
_LOCK_SECONDS = 90
_POINTS = 100
"""Points of the stored loss curve, about."""


class Worker:
    """One attempt at a job."""

    def __init__(self, job: Job, *, workdir: Workdir, out: IO[str], stop: threading.Event) -> None:
        self._job, self._workdir, self._out, self._stop = job, workdir, out, stop
        self._attempts = Attempts.start(workdir.attempts)
        self._started = psutil.Process().create_time()
        self._told = 0.0

    def train(self) -> None:
        """Train to the end, or to a checkpoint when asked to stop; leaves adapter and record in the working folder."""
        plan = self._job.plan
        self._note_attempt()
        torch.set_num_threads(plan.machine.threads)
        if plan.machine.device == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        rate = self._matrix_rate()
        model = attach_adapter(plan, self._job.base)
        trainer = self._trainer(model)
        checkpoint = checkpoints.newest(self._workdir.checkpoints)
        if checkpoint is not None:
            trainer.resume_tally(Tally.read(checkpoint / TALLY))
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except DeliveryInterrupted:
            trainer.save_now()
            raise
        finally:
            self._note_attempt()
        self._finish(model, trainer.tally, (rate + self._matrix_rate()) / 2)

    def _trainer(self, model: Any) -> StepTrainer:
        plan, job = self._job.plan, self._job
        tokenizer = load_tokenizer(Path(job.base.path))
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        seen = job.validation[: batches.validation_rows(plan.steps, plan.batch_size)]
        train, held = (
            (tokenize(tokenizer, examples), [example.weight for example in examples]) for examples in (job.train, seen)
        )
        return StepTrainer(
            model,
            plan,
            steps=training_rows(model, *train, plan=plan, pad=pad),
            validation=validation_rows(model, *held, plan=plan, pad=pad) if seen else None,
            run=Run(folder=self._workdir.checkpoints, tally=Tally.empty(), watch=self._tell, stop=self._stop),
        )

    def _matrix_rate(self) -> float:
        dtype = torch.bfloat16 if self._job.plan.precision == "bf16" else torch.float32
        return machine.matrix_rate(dtype, device=self._job.plan.machine.device, seconds=0.5)

    def _tell(self, tally: Tally) -> None:
        tally.peak_bytes = max(tally.peak_bytes, _peak_bytes())
        now = time.monotonic()
        if now - self._told > 1.0 or len(tally.losses) == self._job.plan.steps:
            self._told = now
            self._note_attempt()
            note = f"loss {tally.losses[-1]:.3f}, {tally.tokens / tally.seconds:.0f} tokens/s, {self._usage(tally)}"
            write_line(self._out, {"done": len(tally.losses), "total": self._job.plan.steps, "note": note})

    def _usage(self, tally: Tally) -> str:
        """Of the matrix rate that was planned with, and of memory."""
        share = 4.0 * self._job.base.parameters * tally.computed_tokens / tally.seconds / self._job.plan.machine.matrix_flops
        return f"{share:.0%} of the matrix rate, {tally.peak_bytes / 2**30:.1f} GiB"

    def _note_attempt(self) -> None:
        # From the start of the process, so that its imports count as well.
        self._attempts.note(time.time() - self._started)

    def _finish(self, model: Any, tally: Tally, rate: float) -> None:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
                raise ConfigError(
                    f"training: {name} is not finite at the end; set training.learning_rate below "
                    f"{self._job.plan.learning_rate:g}"
                )
        partial = self._workdir.root / ".adapter.partial"
        shutil.rmtree(partial, ignore_errors=True)
        save_adapter(model, partial)
        checkpoints.flush(partial)
        shutil.rmtree(self._workdir.adapter, ignore_errors=True)
        partial.rename(self._workdir.adapter)
        self._note_attempt()
        self._workdir.finish(self._job, self._record(tally, rate))

    def _record(self, tally: Tally, rate: float) -> TrainingRecord:
        plan = self._job.plan
        return TrainingRecord(
            method=plan.method,
            rank=plan.rank,
            alpha=plan.alpha,
            epochs=plan.epochs,
            steps=len(tally.losses),
            supervised_tokens=tally.supervised_tokens,
            tokens=tally.tokens,
            seconds=tally.seconds,
            tokens_per_second=tally.tokens / tally.seconds,
            peak_memory_bytes=tally.peak_bytes,
            device=plan.machine.device,
            effective_training_time=min(1.0, tally.seconds / sum(self._attempts.seconds)),
            matrix_rate_share=4.0 * self._job.base.parameters * tally.computed_tokens / tally.seconds / rate,
            losses=loss_points(tally),
        )


def loss_points(tally: Tally) -> tuple[LossPoint, ...]:
    """The loss curve in about a hundred points, each the mean of the steps since the one before it."""
    steps = len(tally.losses)
    every = math.ceil(steps / _POINTS)
    at = sorted({*range(every, steps + 1, every), steps, *(int(step) for step in tally.validation)})
    points = []
    for before, step in zip([0, *at], at, strict=False):
        mean = math.fsum(tally.losses[before:step]) / (step - before)
        points.append(LossPoint(step=step, loss=mean, validation=tally.validation.get(str(step))))
    return tuple(points)


def write_line(out: IO[str], document: dict[str, object]) -> None:
    """One JSON line to the parent; nothing where the parent is gone."""
    with suppress(OSError, ValueError):
        out.write(json.dumps(document) + "\n")
        out.flush()


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError):
        # Not getrusage: on Linux a child's maximum begins at what its parent held when it was started.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split(None, 1)[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _follow_parent(parent: int, stop: threading.Event) -> None:
    """Stop when the parent is gone: the kernel tells on Linux, and a look twice a second does everywhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        stop.set()

    threading.Thread(target=look, daemon=True).start()


def _reason_of_disk(error: Exception) -> str | None:
    """What kept a file from being written, if that is what happened: torch and safetensors have errors of their own."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    full = os.strerror(errno.ENOSPC)
    said = str(error)
    return full if full in said or f"os error {errno.ENOSPC}" in said or "PytorchStreamWriter" in said else None


def main(arguments: list[str]) -> int:
    """Run one attempt; 0 when the job is finished."""
    path, parent = Path(arguments[0]), int(arguments[1])
    # The pipe to the parent is ours alone: whatever a library prints goes to the log.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _follow_parent(parent, stop)
    workdir = Workdir(path.parent)
    job = from_json(Job, path.read_bytes())
    try:
        with FileLock(workdir.lock, timeout=_LOCK_SECONDS):
            if workdir.finished(job) is None:
                workdir.begin(job)
                Worker(job, workdir=workdir, out=out, stop=stop).train()
    except Timeout:
        write_line(out, {"error": "ConfigError", "message": f"{workdir.root}: another training run is busy here; wait for it"})
        return 1
    except DeliveryError as error:
        write_line(out, {"error": type(error).__name__, "message": str(error)})
        return 1
    except torch.OutOfMemoryError:
        write_line(
            out, {"error": "ConfigError", "message": "training: the accelerator's memory is full; set training.method qlora"}
        )
        return 1
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = _reason_of_disk(error)
        if reason is None:
            raise
        place = getattr(error, "filename", None) or workdir.root
        message = f"{place}: {reason}; free space, then 'delivery resume' goes on"
        write_line(out, {"error": "DeliveryError", "message": message})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
