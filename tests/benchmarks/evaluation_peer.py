"""Multiple choice by log-likelihood beside lm-evaluation-harness: ``python -m tests.benchmarks.evaluation_peer``.

SmolLM2-135M on Banking77's test rows (the 77 labels in the prompt and as choices) and on 1,000 rows of MMLU-Pro (letters),
from ``../shared/data``. Both sides use the same model object in one process: same weights, precision, threads and batch size;
the peer is handed our rendered prompts, and only its ``loglikelihood`` call is timed, not its reading and scoring. They
take turns, slice by slice, so that a busy machine slows both. The peer computes the 77-label prompt anew for every label,
minutes a sample, so it gets the first rows of a shuffled order and speeds are samples per second on those same rows.
Our side alone then answers ``--full-banking77`` and ``--full-mmlu-pro`` rows; ``close`` counts those whose two likeliest choices lie nearer
to each other than twice the largest difference seen between the two sides: no others could be predicted otherwise.

lm-eval 0.4.13 is no dependency of the project: it is looked for on ``sys.path``, in ``DELIVERY_BENCH_PEER`` and in the
cache, where pip puts it when it is missing (``pip install --target``). The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from delivery.artifacts import Message
from delivery.evaluation import Request
from delivery.evaluation.endpoints.hf import HFEndpoint
from delivery.settings import get_settings
from delivery.weights import resolve
from delivery.weights.hf import load_tokenizer, render

PEER = "lm-eval==0.4.13"
ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SLICE = {"banking77": 2, "mmlu_pro": 20}


@dataclass
class Suite:
    """Requests and how many of them the peer answers, too."""

    name: str
    requests: list[Request]
    peer: int


@dataclass
class Tally:
    """What a side needed and said."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    said: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def add(self, answer: Callable[[], dict[str, tuple[float, ...]]]) -> None:
        """Run and count one slice."""
        started, cpu = time.perf_counter(), time.process_time()
        self.said |= answer()
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += time.process_time() - cpu


def rows(path: Path, count: int) -> list[dict[str, Any]]:
    """``count`` rows of a JSON-lines file in a fixed random order."""
    read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return random.Random(7).sample(read, min(count, len(read)))


def banking77(count: int) -> list[Request]:
    """The customer's message under a prompt with all labels."""
    path = DATA / "banking77" / "test.jsonl"
    labels = tuple(sorted({json.loads(line)["label"] for line in path.read_text(encoding="utf-8").splitlines()}))
    system = Message("system", "\n".join(["Which of these is the intent of the message? Answer with it alone.", *labels]))
    return [Request(r["id"], (system, Message("user", r["text"])), labels, "likelihood") for r in rows(path, count)]


def mmlu_pro(count: int) -> list[Request]:
    """The question with its options, zero-shot."""
    system = Message("system", "Answer with the letter of the right option alone.")
    asked = []
    for row in rows(DATA / "mmlu_pro" / "sample.jsonl", count):
        letters = tuple("ABCDEFGHIJ"[: len(row["options"])])
        options = [f"{letter}. {option}" for letter, option in zip(letters, row["options"], strict=True)]
        user = Message("user", "\n".join([row["question"], *options]))
        asked.append(Request(row["id"], (system, user), letters, "likelihood"))
    return asked


def find_peer() -> None:
    """Make ``lm_eval`` importable, behind everything that the project has itself."""
    folder = Path(os.environ.get("DELIVERY_BENCH_PEER") or get_settings().cache / "peers" / PEER.replace("==", "-"))
    sys.path.append(str(folder))
    if importlib.util.find_spec("lm_eval") is None:
        # The +cpu builds of torch are on no index, and the peer needs no torch of its own.
        pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("torch")]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
            constraints.write("\n".join(pins))
            constraints.flush()
            pip = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--constraint", constraints.name, PEER]
            subprocess.run(pip, check=True, stdout=sys.stderr)
        importlib.invalidate_caches()


class Peer:
    """lm-evaluation-harness over a model that is already loaded."""

    def __init__(self, model: Any, tokenizer: Any, batch: int) -> None:
        from lm_eval.models.huggingface import HFLM

        self.lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=model.config.max_position_embeddings)
        self.tokenizer = tokenizer

    def log_likelihoods(self, requests: Sequence[Request], folder: Path) -> dict[str, tuple[float, ...]]:
        """Through a task of its own, as a user would run it."""
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.evaluator import evaluate

        turns = [[{"role": m.role, "content": m.content} for m in request.messages] for request in requests]
        prompts = [self.tokenizer.apply_chat_template(t, tokenize=False, add_generation_prompt=True) for t in turns]
        file = folder / f"{requests[0].sample_id}.jsonl"
        docs = [
            json.dumps({"id": r.sample_id, "prompt": p, "choices": r.choices}) for r, p in zip(requests, prompts, strict=True)
        ]
        file.write_text("\n".join(docs), encoding="utf-8")
        task = ConfigurableTask(
            config={
                "task": "beside",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(folder / "cache")},
                "test_split": "test",
                "output_type": "multiple_choice",
                "doc_to_text": "prompt",
                "doc_to_choice": "choices",
                "doc_to_target": 0,
                "target_delimiter": "",
            }
        )
        result = evaluate(lm=self.lm, task_dict={"beside": task}, bootstrap_iters=0, log_samples=True)
        samples = result["samples"]["beside"]
        return {s["doc"]["id"]: tuple(float(said[0]) for said in s["filtered_resps"]) for s in samples}


def best(values: Sequence[float]) -> int:
    """The first of the highest."""
    return max(range(len(values)), key=values.__getitem__)


def compare(suite: Suite, endpoint: HFEndpoint, peer: Peer) -> dict[str, Any]:
    """Both sides on the peer's rows, in turns, then ours on all."""
    ours, theirs = Tally(), Tally()
    inside = Tally()
    answer = peer.lm.loglikelihood

    def timed(*args: Any, **kwargs: Any) -> Any:
        kept: list[Any] = []
        inside.add(lambda: kept.append(answer(*args, **kwargs)) or {})
        return kept[0]

    peer.lm.loglikelihood = timed
    # What is shared counts for all rows of a call: our side is not cut into the peer's slices.
    ours.add(lambda: endpoint.log_likelihoods(suite.requests[: suite.peer]))
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, suite.peer, SLICE[suite.name]):
            part = suite.requests[start : min(suite.peer, start + SLICE[suite.name])]
            theirs.add(lambda part=part: peer.log_likelihoods(part, Path(folder)))  # type: ignore[misc]
            sys.stderr.write(f"{suite.name}: {len(theirs.said)} of {suite.peer} by the peer\n")
    same = sum(best(ours.said[i]) == best(said) for i, said in theirs.said.items())
    gap = max(abs(a - b) for i, said in theirs.said.items() for a, b in zip(ours.said[i], said, strict=True))
    whole = Tally()
    whole.add(lambda: endpoint.log_likelihoods(suite.requests))
    ordered = [sorted(said)[-2:] for said in whole.said.values()]
    return {
        "suite": suite.name,
        "samples_per_second": round(suite.peer / ours.seconds, 3),
        "peer": PEER,
        "peer_samples_per_second": round(suite.peer / inside.seconds, 4),
        "ratio": round(inside.seconds / ours.seconds, 2),
        "ratio_of_cpu_time": round(inside.cpu_seconds / ours.cpu_seconds, 2),
        "same_predictions": round(same / suite.peer, 4),
        "n": suite.peer,
        "largest_difference": gap,
        "n_full": len(whole.said),
        "full_samples_per_second": round(len(whole.said) / whole.seconds, 3),
        "close": sum(second > first - 2 * gap for second, first in ordered),
    }


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", default="banking77,mmlu_pro")
    parser.add_argument("--peer-banking77", type=int, default=4)
    parser.add_argument("--peer-mmlu-pro", type=int, default=200)
    parser.add_argument("--full-banking77", type=int, default=3080)
    parser.add_argument("--full-mmlu-pro", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    find_peer()
    torch.set_num_threads(asked.threads)
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    path = Path(base.path)
    endpoint = HFEndpoint(path, name="ours", batch_size=asked.batch, dtype=getattr(torch, asked.dtype))
    endpoint.log_likelihoods([Request("warm", (Message("user", "up"),), ("A", "B"))])
    peer = Peer(endpoint._model, load_tokenizer(path), asked.batch)
    suites = [
        Suite("banking77", banking77(asked.full_banking77), asked.peer_banking77),
        Suite("mmlu_pro", mmlu_pro(asked.full_mmlu_pro), asked.peer_mmlu_pro),
    ]
    found = [compare(suite, endpoint, peer) for suite in suites if suite.name in asked.suites.split(",")]
    peak = psutil.Process().memory_info().rss if sys.platform == "win32" else _peak()
    sys.stdout.write(json.dumps({"suites": found, "dtype": asked.dtype, "batch": asked.batch, "peak_rss_mib": peak}) + "\n")


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
