"""What interruptions cost: ``python -m tests.benchmarks.training_interruptions [--every SECONDS] [--times N] [--signal S]``.

SmolLM2-135M trains on rows of about 192 tokens and is interrupted every 3 minutes: the attempt and the process that
started it are killed (SIGKILL) or asked to leave (SIGTERM, as a machine that is taken back does). Effective training time
is the time in steps that count over the wall time of all attempts, start-up included: what a record of training says. The
last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil

from delivery.artifacts import Progress, Splits
from delivery.client_config import Training
from delivery.errors import DeliveryInterrupted
from delivery.settings import get_settings
from delivery.training import checkpoints, count_tokens, launcher, machine, make_plan
from delivery.training.job import TALLY, Attempts, Tally, Workdir
from delivery.weights import resolve
from tests.benchmarks.training_matrix_rate import Case, rows_of


class Interruptions:
    """Interrupts a run at fixed times, and measures how long each time nothing new was learned."""

    def __init__(self, every: float, times: int, how: int) -> None:
        self._every, self._times, self._how = every, times, how
        self._furthest, self._interrupted = 0, 0.0
        self.count = 0
        self.behind: list[float] = []
        self.lost: list[int] = []
        self._over = threading.Event()

    def __call__(self, progress: Progress) -> None:
        if self._interrupted and not self._said:
            self._said = True
            self.behind.append(time.monotonic() - self._interrupted)
            self.lost.append(self._furthest - progress.done + 1)
        self._furthest = progress.done
        if self._over.is_set():
            raise KeyboardInterrupt

    def start(self) -> None:
        """From now on."""
        threading.Thread(target=self._interrupt, daemon=True).start()

    def _interrupt(self) -> None:
        until = time.monotonic()
        for _ in range(self._times):
            until += self._every
            time.sleep(max(0.0, until - time.monotonic()))
            self._interrupted, self._said = time.monotonic(), False
            self.count += 1
            for nursery in psutil.Process().children():
                doomed = nursery.children(recursive=True)
                for process in [*([nursery] if self._how == signal.SIGKILL else []), *doomed]:
                    process.send_signal(self._how)
        time.sleep(max(0.0, until + self._every - time.monotonic()))
        self._over.set()

    _said = True


def measure(every: float, times: int, how: int) -> dict[str, object]:
    """Train for ``times`` + 1 intervals with an interruption after each but the last."""
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    examples = rows_of(Case(words=160, rows=240, steps=1), warming=0)
    splits = Splits(train=examples, validation=(), test=())
    here = machine.measure(0.3)
    here = replace(here, threads=int(os.environ.get("OMP_NUM_THREADS", here.threads)))
    stats = count_tokens(base, splits)
    plan = make_plan(Training(method="lora", batch_size=8), base=base, stats=stats, machine=here)
    plan = replace(plan, steps=2000, checkpoint_every=2000)
    interruptions = Interruptions(every, times, how)
    with tempfile.TemporaryDirectory() as folder:
        workdir = Workdir(Path(folder))
        interruptions.start()
        while True:
            try:
                launcher.train(plan, base=base, splits=splits, workdir=workdir.root, on_progress=interruptions)
            except DeliveryInterrupted:
                if interruptions._over.is_set():
                    break
        newest = checkpoints.newest(workdir.checkpoints)
        assert newest is not None
        tally, wall = Tally.read(newest / TALLY), Attempts(workdir.attempts).seconds
    return {
        "signal": signal.Signals(how).name,
        "every_seconds": every,
        "interruptions": interruptions.count,
        "wall_seconds": round(wall, 1),
        "step_seconds": round(tally.seconds / len(tally.losses), 2),
        "seconds_to_next_step": round(statistics.median(interruptions.behind), 1),
        "steps_lost": interruptions.lost,
        "effective_training_time": round(tally.seconds / wall, 4),
    }


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=180.0)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--signal", choices=["SIGKILL", "SIGTERM"], default="SIGKILL")
    arguments = parser.parse_args()
    found = measure(arguments.every, arguments.times, signal.Signals[arguments.signal])
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
