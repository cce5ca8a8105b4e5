"""Training beside its peers: each side in a process of its own, on the same rows in the same steps."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from delivery.artifacts import BaseModel, Example
from delivery.training.hf.rows import tokenize
from delivery.weights.hf import load_tokenizer
from tests.benchmarks.peers.sides import PEER, PEER_FOLDER, Task, write

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"


class Side(NamedTuple):
    """Seconds of every step, and the validation loss afterwards (nats; None without validation rows)."""

    seconds: list[float]
    loss: float | None


def find_peer() -> None:
    """Put TRL where the sides look for it: without torch, transformers and peft, which are the project's own."""
    if (PEER_FOLDER / "trl").is_dir() or importlib.util.find_spec("trl") is not None:
        return
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("torch")]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pins))
        constraints.flush()
        pip = [sys.executable, "-m", "pip", "install", "--target", str(PEER_FOLDER), "--constraint", constraints.name]
        subprocess.run([*pip, "--no-deps", PEER], check=True, stdout=sys.stderr)
        subprocess.run([*pip, "datasets>=4.7"], check=True, stdout=sys.stderr)


def make_task(base: BaseModel, rows: Sequence[Example], held: Sequence[Example], *, steps: int, **asked: Any) -> Task:
    """``steps`` batches of the rows, and the held-out rows, as tokens."""
    tokenizer = load_tokenizer(Path(base.path))
    trained, validation = ([unit[-1] for unit in tokenize(tokenizer, some)] for some in (rows, held))
    settings = {"batch": 16, "micro": 4, "threads": 2, "learning_rate": 5e-4, "seed": 7, **asked}
    return Task(json.dumps(asdict(base)), trained[: steps * settings["batch"]], validation, steps=steps, **settings)


def run(side: str, task: Task) -> Side:
    """One side to its end."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["OMP_NUM_THREADS"] = str(task.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "task.json")
        write(task, path)
        command = [sys.executable, "-m", "tests.benchmarks.peers.sides", side, str(path)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    found = Side(**json.loads(done.stdout))
    sys.stderr.write(f"{side}: {[round(s, 2) for s in found.seconds]} s, loss {found.loss}\n")
    return found


def beside(speed: Task, learning: Task | None, *, sides: Sequence[str], peer_steps: int) -> dict[str, Any]:
    """Both sides' examples per second (by the median of the steps that both took, the first left out) and losses.

    The fastest of the peers' ways is the peer. The losses come from ``learning``, its seed's noise from ours with another.
    """
    short = replace(speed, steps=peer_steps, rows=speed.rows[: peer_steps * speed.batch], validation=[])
    mine = run("ours", replace(speed, validation=[])).seconds[1:]
    theirs = {side: run(side, short).seconds[1:] for side in sides}
    rates = {side: speed.batch / statistics.median(seconds) for side, seconds in theirs.items()}
    best = max(rates, key=rates.__getitem__)
    ratio = {side: statistics.median(seconds) / statistics.median(mine[: len(seconds)]) for side, seconds in theirs.items()}
    found = {
        "examples_per_second": round(speed.batch / statistics.median(mine), 3),
        "peer": f"{PEER} {best}",
        "peer_examples_per_second": round(rates[best], 4),
        "ratio": round(ratio[best], 2),
        "ratios": {side: round(value, 2) for side, value in ratio.items()},
        "tokens_per_row": round(statistics.mean(len(row.ids) for row in speed.rows), 1),
        "steps": [len(mine), peer_steps - 1],
    }
    if learning is not None:
        found |= {
            "loss": round(run("ours", learning).loss or 0.0, 4),
            "loss_other_seed": round(run("ours", replace(learning, seed=learning.seed + 1)).loss or 0.0, 4),
            "peer_loss": round(run(best, learning).loss or 0.0, 4),
        }
    return found
