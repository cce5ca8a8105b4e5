"""The handle on the process that attempts at training run under (see ``nursery``)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from delivery.artifacts import TrainingPlan
from delivery.settings import get_settings

_DUMP_SECONDS = 0.5
"""For a process that stands still to write down where, before it is killed."""
_LEAVE_SECONDS = 10.0


class Nursery:
    """A running nursery. Given back, it serves the next run of this process with what it has imported."""

    _spare: Nursery | None = None
    _guard = threading.Lock()

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._process = subprocess.Popen(
            [sys.executable, "-m", "delivery.training.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Nothing is said outside an attempt, which has its log.
            stderr=subprocess.DEVNULL,
            env=environment,
            # A group of its own: Ctrl-C reaches this process alone, which then lets the other save.
            start_new_session=True,
        )

    @classmethod
    def take(cls, environment: dict[str, str]) -> Nursery:
        """The one that was given back, where it still lives and its environment is this one; else a new one."""
        with cls._guard:
            spare, cls._spare = cls._spare, None
        if spare is not None:
            if spare.alive and spare.environment == environment:
                return spare
            spare.close()
        return cls(environment)

    def give_back(self) -> None:
        """Let the next run have it. It ends by itself when none comes."""
        with self._guard:
            other, Nursery._spare = self._spare, self
        if other is not None:
            other.close()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def attempt(self, order: dict[str, Any], on_message: Callable[[dict[str, Any]], None]) -> int:
        """Run an attempt to its end and pass on what it says; the code that it ends with, negative for a signal."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        for message in self._messages():
            if "ended" in message:
                return int(message["ended"])
            on_message(message)
        return self._process.wait()

    def stop(self, seconds: float) -> None:
        """Ask the attempt to save and leave; it is killed when it does not do so in time."""
        overdue = threading.Timer(seconds, self.kill)
        overdue.start()
        try:
            self._process.terminate()
            for message in self._messages():
                if "ended" in message:
                    return
        except BaseException:
            # Asked a second time.
            self.kill()
            raise
        finally:
            overdue.cancel()

    def kill_attempt(self) -> None:
        """End an attempt that stands still; where it stood goes to its log."""
        doomed = self._tree()
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGABRT)
        psutil.wait_procs(doomed, _DUMP_SECONDS)
        for process in {*doomed, *self._tree()}:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if psutil.wait_procs(doomed, _LEAVE_SECONDS)[1]:
            self.kill()

    def kill(self) -> None:
        """End it with all that it started."""
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.kill()

    def close(self) -> None:
        """End it; nothing runs under it."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe and pipe.close()

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def _messages(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # The last line of a process that was killed while it wrote is none.
            with suppress(ValueError):
                yield json.loads(line)


def environment(plan: TrainingPlan) -> dict[str, str]:
    """What the processes of a plan are started with."""
    made = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    here = max(1, plan.processes // get_settings().nodes)
    made["OMP_NUM_THREADS"] = str(max(1, plan.machine.threads // here))
    # MKL may choose its code path by memory alignment and its threads by load; either would change the last bit of a sum.
    made |= {"MKL_CBWR": "AUTO", "MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "FALSE"}
    if here == 1 or plan.machine.device == "cpu":
        # One device: Trainer would spread over all it sees, and a plan is made for one. On a CPU the same for any number, so
        # that what one process has imported serves several.
        made.setdefault("CUDA_VISIBLE_DEVICES", "0")
    return made


def order_for(plan: TrainingPlan, *, job: Path, log: Path) -> dict[str, Any]:
    """The order of one attempt at a job (``nursery.Order``)."""
    settings = get_settings()
    return {
        "job": str(job),
        "log": str(log),
        "device": plan.machine.device,
        "processes": max(1, plan.processes // settings.nodes),
        "nodes": settings.nodes,
        "rendezvous": settings.rendezvous,
    }
