"""Training that is killed ends with the same weights: ``python -m tests.benchmarks.training_kills [--kills N] [--real N]``.

A tiny model trains with dropout on and four and more micro-batches in a step. It is killed (SIGKILL) at 30 random steps, in
the middle of whatever it does; every tenth time the process that starts attempts is killed too. The end weights are
compared, bit by bit, with those of a run that nobody disturbed. Then the same with SmolLM2-135M in bfloat16 and a few
kills. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from delivery.artifacts import Adapter, BaseModel, Progress, Splits, TrainingPlan
from delivery.client_config import Training
from delivery.settings import get_settings
from delivery.training import count_tokens, machine, make_plan
from delivery.training.job import Job, Workdir
from delivery.training.supervise import Patience, supervise
from delivery.weights import resolve
from tests.benchmarks.training_matrix_rate import Case, rows_of
from tests.delivery.training.tiny_rows import TINY_MACHINE, tiny_splits
from tests.delivery.weights.tiny import make_tiny_model

_UNTIRING = Patience(fruitless=1000, pause=0.0)


class Killer:
    """Kills what trains when it has reached each of some steps."""

    def __init__(self, steps: list[int]) -> None:
        self._steps = sorted(steps, reverse=True)
        self.kills = 0

    def __call__(self, progress: Progress) -> None:
        if self._steps and progress.done >= self._steps[-1]:
            self._steps.pop()
            self.kills += 1
            for nursery in psutil.Process().children():
                attempts = nursery.children(recursive=True)
                for process in [*([nursery] if self.kills % 10 == 0 else []), *attempts]:
                    process.kill()


def trained(plan: TrainingPlan, base: BaseModel, splits: Splits, steps: list[int]) -> tuple[Adapter, int]:
    """The adapter of a run that was killed at these steps, and how often it was."""
    killer = Killer(steps)
    with tempfile.TemporaryDirectory() as folder:
        job, workdir = Job(plan=plan, base=base, train=splits.train, validation=splits.validation), Workdir(Path(folder))
        workdir.submit(job)
        adapter = supervise(job, workdir, on_progress=killer, patience=_UNTIRING)
    return adapter, killer.kills


def compare(plan: TrainingPlan, base: BaseModel, splits: Splits, kills: int) -> dict[str, object]:
    """Train undisturbed and killed, and compare."""
    started = time.monotonic()
    whole, _ = trained(plan, base, splits, [])
    moments = random.Random(7).sample(range(2, plan.steps - 1), kills)
    killed, count = trained(plan, base, splits, moments)
    same = whole.artifact.files == killed.artifact.files and whole.record.losses == killed.record.losses
    found: dict[str, object] = {
        "kills": count,
        "restarts": killed.record.restarts,
        "steps": plan.steps,
        "dropout": plan.dropout,
        "bitwise": same,
        "seconds": round(time.monotonic() - started, 1),
    }
    sys.stderr.write(f"{base.name}: {found}\n")
    return found


def tiny(kills: int) -> dict[str, object]:
    """A model of two small layers, 48 rows, six steps an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        base, splits = make_tiny_model(Path(folder)), tiny_splits()
        stats = count_tokens(base, splits)
        plan = make_plan(Training(batch_size=8, rank=4), base=base, stats=stats, machine=TINY_MACHINE)
        plan = replace(plan, steps=40 * kills, warmup_steps=9, checkpoint_every=7, dropout=0.1, micro_batch_tokens=40)
        return compare(plan, base, splits, kills)


def real(kills: int) -> dict[str, object]:
    """SmolLM2-135M in the machine's own precision; four micro-batches of two rows in a step."""
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    examples = rows_of(Case(words=160, rows=48, steps=1), warming=0)
    splits = Splits(train=examples[:40], validation=examples[40:], test=())
    stats = count_tokens(base, splits)
    plan = make_plan(Training(method="lora", batch_size=8), base=base, stats=stats, machine=machine.measure(0.2))
    plan = replace(plan, steps=8, warmup_steps=2, checkpoint_every=2, dropout=0.1, micro_batch_tokens=2 * stats.longest)
    return compare(plan, base, splits, kills)


def main() -> int:
    """Measure and write the JSON line; 1 where a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--real", type=int, default=3)
    arguments = parser.parse_args()
    cases = {"tiny": (tiny, arguments.kills), "smollm2": (real, arguments.real)}
    found = {name: case(kills) for name, (case, kills) in cases.items() if kills}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if all(one["bitwise"] for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
