"""Attempts at a training job until it is done: what failed is started again from the last checkpoint, changed if need be."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from delivery import errors
from delivery.artifacts import Adapter, OnProgress, Progress
from delivery.errors import DeliveryError, DeliveryInterrupted
from delivery.training.job import Attempts, Job, Workdir
from delivery.training.process import Nursery, environment, order_for
from delivery.training.troubles import Troubles

_KILLED, _TERMINATED = (-9, 137), (-15, 143)
_GRACE_SECONDS = 60.0
"""For the processes to save a checkpoint after they were asked to stop."""
_LOOK_SECONDS = 0.25
_ASLEEP_SECONDS = 5.0
"""Between two looks: more than any load takes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is borne, and how many failures.

    Before the first micro-batch, silence may last ``start`` seconds; from then on ``times`` the longest that was heard
    before it, but at least ``floor`` seconds. After ``fruitless`` failures in a row without a new checkpoint it is enough;
    the second of them is followed by a pause of ``pause`` seconds, each further one by twice the last.
    """

    start: float = 900.0
    floor: float = 60.0
    times: float = 30.0
    fruitless: int = 5
    pause: float = 1.0


PATIENCE = Patience()


class Ended(NamedTuple):
    """How an attempt ended: its code, whether it stood still, what it said of its end, and whether memory ran out."""

    code: int
    hung: bool
    said: list[dict[str, Any]]
    out_of_memory: bool


def supervise(job: Job, folder: Workdir, *, on_progress: OnProgress, patience: Patience) -> Adapter:
    """Run attempts until the adapter is there.

    Raises:
        DeliveryError: what an attempt says that no other would do better, or failures that do not end.
        DeliveryInterrupted: stopped by the user; a checkpoint was saved.
    """
    fruitless, last = 0, ""
    while True:
        before, started = _newest(folder), time.time()
        try:
            ended = _attempt(job, folder, on_progress, patience)
            adapter = folder.finished(job)
            if adapter is not None:
                return adapter
            fruitless = fruitless + 1 if _newest(folder) == before else 0
            known = Troubles.read(folder.troubles)
            troubles = _answer(ended, known, job, fruitless=fruitless)
            crash = _crash_of(ended, folder)
            if troubles != known:
                # What is tried next was not tried before.
                fruitless, crash = 0, ""
            if fruitless > patience.fruitless or (fruitless and crash == last and job.plan.processes == 1 and not ended.hung):
                raise DeliveryError(crash)
            last = crash if ended.code == 1 else ""
            replace(troubles, restarts=troubles.restarts + 1).write(folder.troubles)
            if fruitless > 1:
                time.sleep(patience.pause * 2 ** (fruitless - 2))
        finally:
            Attempts(folder.attempts).note(started, time.time())


def _attempt(job: Job, folder: Workdir, on_progress: OnProgress, patience: Patience) -> Ended:
    for beat in folder.beats.glob("*"):
        beat.unlink(missing_ok=True)
    said: list[dict[str, Any]] = []

    def hear(message: dict[str, Any]) -> None:
        if "done" in message:
            on_progress(Progress(message["done"], message["total"], "step", message["note"]))
        else:
            said.append(message)

    nursery = Nursery.take(environment(job.plan))
    kills = _memory_kills()
    watch = _Watch(nursery, folder, patience)
    watch.start()
    try:
        code = nursery.attempt(order_for(job.plan, job=folder.job, log=folder.log), hear)
    except BaseException:
        watch.end()
        nursery.stop(_GRACE_SECONDS)
        raise
    finally:
        watch.end()
        nursery.give_back()
    return Ended(code, watch.hung, said, _memory_kills() > kills)


def _answer(ended: Ended, troubles: Troubles, job: Job, *, fruitless: int) -> Troubles:
    """What to change for the next attempt; raises what no further attempt would do better."""
    for message in ended.said:
        if message.get("trouble") == "not_finite":
            return troubles.leave_out(message["step"], job.plan)
        if message.get("trouble") == "memory":
            return troubles.halve(job.plan, killed=False)
    for message in ended.said:
        if "error" in message:
            raise getattr(errors, message["error"])(message["message"])
    if ended.hung:
        return troubles
    if ended.code in _TERMINATED:
        raise DeliveryInterrupted("training was stopped before it began; 'delivery resume' starts it")
    if ended.code in _KILLED and (ended.out_of_memory or fruitless >= 3):
        return troubles.halve(job.plan, killed=True)
    return troubles


def _crash_of(ended: Ended, folder: Workdir) -> str:
    if ended.hung:
        return f"training: its process stood still and was ended, again and again; {folder.log} says where"
    if ended.code in _KILLED:
        return "training: its process was killed, again and again; see who does so, then 'delivery resume' goes on"
    crash = next((f" ({message['crash']})" for message in ended.said if "crash" in message), "")
    return f"training: its process ended with code {ended.code}{crash}; {folder.log} says why"


def _newest(folder: Workdir) -> int:
    numbers = [path.name.removeprefix("checkpoint-") for path in folder.checkpoints.glob("checkpoint-*")]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def _memory_kills() -> int:
    """How many processes the kernel has ended for want of memory, where it says so."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


class _Watch(threading.Thread):
    """Ends an attempt of which no process has touched its file for too long."""

    def __init__(self, nursery: Nursery, folder: Workdir, patience: Patience) -> None:
        super().__init__(daemon=True)
        self._nursery, self._beats, self._patience = nursery, folder.beats, patience
        self._over = threading.Event()
        self.hung = False

    def end(self) -> None:
        """Nothing runs any more."""
        self._over.set()

    def run(self) -> None:
        """Look until it is over."""
        heard: list[int] = []
        looked = at = time.monotonic()
        longest = 0.0
        while not self._over.wait(_LOOK_SECONDS):
            before, looked = looked, time.monotonic()
            if looked - before > _ASLEEP_SECONDS:
                # The machine or both processes stood still, and nobody is to blame.
                at += looked - before
            beats, now = self._look(), looked
            if beats != heard:
                longest = max(longest, now - at) if heard else longest
                heard, at = beats, now
            limit = max(self._patience.floor, self._patience.times * longest) if heard else self._patience.start
            if now - at > limit:
                self.hung = True
                self._nursery.kill_attempt()
                return

    def _look(self) -> list[int]:
        try:
            return sorted(path.stat().st_mtime_ns for path in self._beats.glob("*"))
        except OSError:
            # Finished: the folder goes.
            return []
