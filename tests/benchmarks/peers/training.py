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
    settings = {"batch": 16, "threads": 2, "learning_rate": 5e-4, "seed": 7, **asked}
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

    The fastest of the peers' ways is the peer. The losses are those after ``learning``, or where it is None after ``speed``;
    ``loss_other_seed`` is ours with an adapter that begins elsewhere.
    """
    validation = speed.validation if learning is None else []
    mine = run("ours", replace(speed, validation=validation))
    short = replace(speed, steps=peer_steps, rows=speed.rows[: peer_steps * speed.batch], validation=validation)
    theirs = {side: run(side, short) for side in sides}
    best = min(theirs, key=lambda side: statistics.median(theirs[side].seconds[1:]))
    if learning is None:
        losses = {"loss": mine.loss, "peer_loss": theirs[best].loss}
    else:
        losses = {"loss": run("ours", learning).loss, "peer_loss": run(best, learning).loss}
    again = learning or speed
    losses["loss_other_seed"] = run("ours", replace(again, seed=again.seed + 1)).loss
    common = statistics.median(mine.seconds[1:peer_steps])
    ratios = {side: statistics.median(found.seconds[1:]) / common for side, found in theirs.items()}
    return {
        "examples_per_second": round(speed.batch / common, 3),
        "peer": f"{PEER} {best}" if best != "trainer" else "transformers Trainer and peft",
        "peer_examples_per_second": round(speed.batch / statistics.median(theirs[best].seconds[1:]), 4),
        "ratio": round(ratios[best], 2),
        "ratios": {side: round(ratio, 2) for side, ratio in ratios.items()},
        **{key: round(loss, 4) for key, loss in losses.items() if loss is not None},
        "tokens_per_row": round(statistics.mean(len(row.ids) for row in speed.rows), 1),
        "seconds": {"ours": mine.seconds, **{side: found.seconds for side, found in theirs.items()}},
    }
