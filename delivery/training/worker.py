"""One attempt at a training job, in a process that the nursery started; one of several where they train together.

It tells its parent how far it is in JSON lines, saves a checkpoint and leaves when it is asked to (SIGTERM) or when its
parent is gone, and goes on from the newest whole checkpoint when it is started again.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import math
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import psutil
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from delivery.artifacts import LossPoint, TrainingRecord, from_json
from delivery.errors import ConfigError, DeliveryError, DeliveryInterrupted
from delivery.training import checkpoints, machine
from delivery.training.hf.adapter import attach_adapter, save_adapter
from delivery.training.hf.pairs import Pairs, all_pairs, fill_reference, grown_margins, pair_record, pair_rows
from delivery.training.hf.rows import Rows, tokenize, training_rows, validation_rows
from delivery.training.hf.trainer import EnoughError, Run, StepTrainer
from delivery.training.hf.world import World, shard_base
from delivery.training.job import TALLY, Attempts, Job, Tally, Workdir
from delivery.training.pace import Pace, between_failures
from delivery.training.stopping import rows_of, what_was_kept
from delivery.training.troubles import NotFiniteError, Troubles
from delivery.weights.hf import load_tokenizer

_PR_SET_PDEATHSIG = 1
_LOCK_SECONDS = 90
_TELL_SECONDS = 0.2
_LEFT = 128 + signal.SIGTERM
_POINTS = 100
"""Points of the stored loss curve, about."""


class Worker:
    """One attempt at a job."""

    def __init__(self, job: Job, *, workdir: Workdir, out: IO[str], stop: threading.Event, world: World) -> None:
        self._job, self._workdir, self._out, self._stop, self._world = job, workdir, out, stop, world
        self._attempts = Attempts(workdir.attempts)
        self._troubles = Troubles.read(workdir.troubles)
        self._started = psutil.Process().create_time()
        self._told = 0.0
        self._pairs: Pairs | None = None

    def train(self) -> None:
        """Train to the end, or to a checkpoint when asked to stop; leaves adapter and record in the working folder."""
        plan = self._job.plan
        self._note_attempt()
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        if plan.machine.device == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        start = self._job.start
        model = attach_adapter(plan, self._job.base, None if start is None else Path(start.path))
        if self._world.sharded:
            shard_base(model, self._world)
        trainer = self._trainer(model)
        if self._pairs is not None:
            fill_reference(self._pairs, trainer.margins, self._workdir.reference)
        # One looks, and takes what is torn away; all go on from the same.
        checkpoint = self._world.agree(checkpoints.newest(self._workdir.checkpoints) if self._world.first else None)
        if checkpoint is not None:
            trainer.resume_tally(Tally.read(checkpoint / TALLY))
            trainer.kept.read(checkpoint)
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except EnoughError:
            pass
        except DeliveryInterrupted:
            trainer.save_now()
            raise
        finally:
            self._note_attempt()
        trainer.kept.restore()
        grown = None if self._pairs is None else grown_margins(self._pairs, trainer.margins, plan.beta)
        if not self._world.first:
            return
        record = self._record(trainer.tally)
        if self._pairs is not None and grown is not None:
            record = replace(record, pairs=pair_record(self._pairs, grown, record))
        self._finish(model, record)

    def _trainer(self, model: Any) -> StepTrainer:
        plan, job = self._troubles.changed(self._job.plan), self._job
        tokenizer = load_tokenizer(Path(job.base.path))
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        seen = job.validation[: rows_of(plan)]
        steps: Rows
        held: Rows | None
        if plan.beta:
            steps = pair_rows(model, tokenizer, job.train, plan=plan, pad=pad)
            held = all_pairs(model, tokenizer, seen, plan=plan, pad=pad) if seen else None
            self._pairs = Pairs(steps, held)
        else:
            train, looked_at = (tokenize(tokenizer, examples) for examples in (job.train, seen))
            steps = training_rows(model, train, plan=plan, pad=pad)
            held = validation_rows(model, looked_at, plan=plan, pad=pad) if seen else None
        failures = self._troubles.restarts + self._attempts.pauses
        run = Run(
            folder=self._workdir.checkpoints,
            tally=Tally.empty(),
            watch=self._tell,
            stop=self._stop,
            world=self._world,
            beat=self._beat,
            skipped=frozenset(self._troubles.skipped),
            pace=Pace(between_failures(self._attempts.seconds, failures)),
        )
        return StepTrainer(model, plan, steps=steps, validation=held, run=run)

    def _matrix_rate(self) -> float:
        dtype = torch.bfloat16 if self._job.plan.precision == "bf16" else torch.float32
        return machine.matrix_rate(dtype, device=self._job.plan.machine.device, seconds=0.5)

    def _beat(self) -> None:
        path = self._workdir.beats / str(self._world.rank)
        try:
            os.utime(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def _tell(self, tally: Tally) -> None:
        tally.peak_bytes = max(tally.peak_bytes, _peak_bytes())
        now = time.monotonic()
        if not self._world.first:
            return
        if now - self._told > _TELL_SECONDS or len(tally.losses) == self._job.plan.steps:
            self._told = now
            self._note_attempt()
            loss = "left out" if tally.losses[-1] is None else f"loss {tally.losses[-1]:.3f}"
            note = f"{loss}, {tally.tokens / tally.seconds:.0f} tokens/s, {self._usage(tally)}"
            write_line(self._out, {"done": len(tally.losses), "total": self._job.plan.steps, "note": note})

    def _usage(self, tally: Tally) -> str:
        """Of the matrix rate that was planned with, and of memory."""
        rate = self._job.plan.machine.matrix_flops * self._world.size
        share = 4.0 * self._job.base.parameters * tally.computed_tokens / tally.seconds / rate
        return f"{share:.0%} of the matrix rate, {tally.peak_bytes / 2**30:.1f} GiB"

    def _note_attempt(self) -> None:
        if self._world.first:
            self._attempts.note(self._started, time.time())

    def _finish(self, model: Any, record: TrainingRecord) -> None:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
                raise ConfigError(
                    f"training: {name} is not finite at the end; set training.learning_rate below "
                    f"{self._job.plan.learning_rate:g}"
                )
        self._beat()
        partial = self._workdir.root / ".adapter.partial"
        shutil.rmtree(partial, ignore_errors=True)
        save_adapter(model, partial)
        checkpoints.flush(partial)
        shutil.rmtree(self._workdir.adapter, ignore_errors=True)
        partial.rename(self._workdir.adapter)
        self._note_attempt()
        self._workdir.finish(self._job, record)

    def _record(self, tally: Tally) -> TrainingRecord:
        plan, rate, steps = self._job.plan, self._matrix_rate(), len(tally.losses)
        kept = what_was_kept(plan, tally.validation, steps)
        return TrainingRecord(
            method=plan.method,
            rank=plan.rank,
            alpha=plan.alpha,
            epochs=plan.epochs if steps == plan.steps else round(plan.epochs * steps / plan.steps, 4),
            steps=steps,
            supervised_tokens=tally.supervised_tokens,
            tokens=tally.tokens,
            seconds=tally.seconds,
            tokens_per_second=tally.tokens / tally.seconds,
            peak_memory_bytes=tally.peak_bytes,
            device=plan.machine.device,
            effective_training_time=min(1.0, tally.seconds / self._attempts.seconds),
            matrix_rate_share=4.0 * self._job.base.parameters * tally.computed_tokens / tally.seconds / rate / self._world.size,
            losses=loss_points(tally),
            processes=self._world.size,
            restarts=self._troubles.restarts,
            skipped_steps=tuple(step + 1 for step in self._troubles.skipped),
            incidents=self._troubles.notes,
            kept_step=kept.step,
            notes=(kept.why,),
        )


def loss_points(tally: Tally) -> tuple[LossPoint, ...]:
    """The loss curve in about a hundred points, each the mean of the steps since the one before it."""
    steps = len(tally.losses)
    every = math.ceil(steps / _POINTS)
    at = sorted({*range(every, steps + 1, every), steps, *(int(step) for step in tally.validation)})
    points = []
    for before, step in zip([0, *at], at, strict=False):
        known = [loss for loss in tally.losses[before:step] if loss is not None]
        if known:
            mean = math.fsum(known) / len(known)
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


def follow(parent: int, act: Callable[[], None]) -> None:
    """Act when the parent is gone: the kernel sends SIGTERM on Linux, and a look twice a second does everywhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        act()

    threading.Thread(target=look, daemon=True).start()


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch's own allocator on a CPU has no class of error for it."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in said or "can't allocate memory" in said)
    )


def _reason_of_disk(error: Exception) -> str | None:
    """What kept a file from being written, if that is what happened: torch and safetensors have errors of their own."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    full = os.strerror(errno.ENOSPC)
    said = str(error)
    written = ("PytorchStreamWriter", "inline_container", f"os error {errno.ENOSPC}", full)
    return full if any(sign in said for sign in written) else None


def attempt(job_path: str, parent: int, pipe: int) -> int:
    """Run one attempt as one process; 0 when the job is finished, else what was wrong or asked for is said."""
    faulthandler.enable()
    out = os.fdopen(os.dup(pipe), "w", encoding="utf-8")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    follow(parent, stop.set)
    workdir = Workdir(Path(job_path).parent)
    try:
        _work(from_json(Job, Path(job_path).read_bytes()), workdir, out, stop)
    except DeliveryInterrupted as error:
        write_line(out, {"error": type(error).__name__, "message": str(error)})
        return _LEFT
    except Exception as error:
        write_line(out, _said(error, workdir))
        if not isinstance(error, DeliveryError):
            traceback.print_exc()
        return 1
    return 0


def attempt_or_raise(job_path: str, parent: int, pipe: int) -> None:
    """The same for torchrun, which ends all processes when one raises, and keeps those that return until it is done."""
    if code := attempt(job_path, parent, pipe):
        raise SystemExit(code)


def _work(job: Job, workdir: Workdir, out: IO[str], stop: threading.Event) -> None:
    world = World.join(job.plan)
    with FileLock(workdir.lock, timeout=_LOCK_SECONDS) if world.first else nullcontext():
        if workdir.finished(job) is None:
            if world.first:
                workdir.begin(job)
            world.agree(None)
            Worker(job, workdir=workdir, out=out, stop=stop, world=world).train()


def _said(error: Exception, workdir: Workdir) -> dict[str, object]:
    """What the parent is told: a remedy that it has to find, an error for the user, or a crash."""
    if isinstance(error, Timeout):
        return {"error": "ConfigError", "message": f"{workdir.root}: another training run is busy here; wait for it"}
    if isinstance(error, DeliveryError):
        return {"error": type(error).__name__, "message": str(error)}
    if isinstance(error, NotFiniteError):
        return {"trouble": "not_finite", "step": error.step}
    if _is_memory(error):
        return {"trouble": "memory"}
    reason = _reason_of_disk(error) if isinstance(error, OSError | RuntimeError | SafetensorError) else None
    if reason is not None:
        place = getattr(error, "filename", None) or workdir.root
        return {"error": "DeliveryError", "message": f"{place}: {reason}; free space, then 'delivery resume' goes on"}
    first = (str(error).splitlines() or [""])[0][:200]
    return {"crash": f"{type(error).__name__}: {first}"}
