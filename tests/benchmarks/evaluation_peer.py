"""Multiple choice by log-likelihood beside lm-evaluation-harness: ``python -m tests.benchmarks.evaluation_peer``.

SmolLM2-135M on Banking77's test rows (the 77 labels in the prompt and as choices) and on 1,000 rows of MMLU-Pro (letters;
with five examples of the question's category, the benchmark's own protocol, and with none), from ``../shared/data``.

Both sides use one model object in one process: same weights, precision, threads and batch size. The peer is handed our
rendered prompts, and only its ``loglikelihood`` call is timed, not its reading and scoring. Ours is timed for ``answer``
(``ratio``; its search leaves out choices that cannot win any more) and for the log-likelihoods of all choices
(``ratio_all_choices``), which is what the peer computes. The peer reads a prompt of 77 labels anew for each of them, minutes
a sample, so it gets the first rows of a random order, and speeds are those on the same rows. Ratios of processor time stand
beside those of time, for a machine that others use, too. Then our side alone answers all rows.

Of ``n_pairs`` further rows of Banking77 the peer is asked for the two choices that are likeliest on our side, and
``same_of_two`` counts where it prefers the same one. ``largest_difference`` is between log-likelihoods of the two sides
(nats); ``close`` counts the rows on which our two likeliest choices lie within twice that: only there could predictions differ.

lm-eval is no dependency of the project: it is looked for on ``sys.path``, in ``DELIVERY_BENCH_PEER`` and in the cache,
where pip puts it when it is missing (``pip install --target``). The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from delivery.artifacts import Message
from delivery.evaluation import Request
from delivery.evaluation.endpoints.hf import HFEndpoint
from delivery.settings import get_settings
from delivery.weights import resolve
from delivery.weights.hf import load_tokenizer

PEER = "lm-eval==0.4.13"
ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SLICE = 20
LETTERS = "ABCDEFGHIJ"
SHOT_CHARACTERS = 600


@dataclass
class Suite:
    """Requests and how many of them the peer answers, too."""

    name: str
    requests: list[Request]
    peer: int
    pairs: int


@dataclass
class Tally:
    """What a side needed and said."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    said: dict[str, Any] = field(default_factory=dict)

    def add(self, answer: Callable[[], dict[str, Any]]) -> Tally:
        """Run and count."""
        started, cpu = time.perf_counter(), time.process_time()
        self.said |= answer()
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += time.process_time() - cpu
        return self


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


def mmlu_pro(count: int, *, shots: int) -> list[Request]:
    """The question with its options, after short ones of its category that are not among the ``count``."""
    shuffled = rows(DATA / "mmlu_pro" / "sample.jsonl", 10**6)
    system = Message("system", "Answer with the letter of the right option alone.")
    asked = []
    for row in shuffled[:count]:
        letters = tuple(LETTERS[: len(row["options"])])
        alike = [r for r in shuffled[1000:] if r["category"] == row["category"] and len(question(r)) <= SHOT_CHARACTERS]
        turns = [m for r in alike[:shots] for m in (Message("user", question(r)), Message("assistant", r["answer"]))]
        asked.append(Request(row["id"], (system, *turns, Message("user", question(row))), letters, "likelihood"))
    return asked


def question(row: dict[str, Any]) -> str:
    """A row of MMLU-Pro as it is asked."""
    return "\n".join(
        [row["question"], *(f"{letter}. {option}" for letter, option in zip(LETTERS, row["options"], strict=False))]
    )


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


def answers(endpoint: HFEndpoint, requests: Sequence[Request]) -> dict[str, Any]:
    """What our side says, as the number of the choice."""
    choices = {request.sample_id: request.choices for request in requests}
    said: dict[str, Any] = {}
    endpoint.answer(
        requests, max_new_tokens=1, on_answer=lambda a: said.update({a.sample_id: choices[a.sample_id].index(a.output or "")})
    )
    return said


def beside(peer: Peer, requests: Sequence[Request], name: str) -> Tally:
    """The peer on some rows; counted is its ``loglikelihood`` alone."""
    inside = Tally()
    whole = peer.lm.loglikelihood

    def timed(*args: Any, **kwargs: Any) -> Any:
        kept: list[Any] = []

        def call() -> dict[str, Any]:
            kept.append(whole(*args, **kwargs))
            return {}

        inside.add(call)
        return kept[0]

    peer.lm.loglikelihood = timed
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(requests), SLICE):
            inside.said |= peer.log_likelihoods(requests[start : start + SLICE], Path(folder))
            sys.stderr.write(f"{name}: {len(inside.said)} of {len(requests)} by the peer\n")
    peer.lm.loglikelihood = whole
    return inside


def compare(suite: Suite, endpoint: HFEndpoint, peer: Peer) -> dict[str, Any]:
    """Both sides on the peer's rows, then the two likeliest choices of more rows, then ours on all."""
    both = suite.requests[: suite.peer]
    ours = Tally().add(lambda: answers(endpoint, both))
    every = Tally().add(lambda: endpoint.log_likelihoods(both))
    theirs = beside(peer, both, suite.name)
    pairs, mine = two_likeliest(endpoint, suite.requests[suite.peer : suite.peer + suite.pairs])
    of_two = beside(peer, pairs, f"{suite.name}, pairs").said if pairs else {}
    gaps = [abs(a - b) for i, said in theirs.said.items() for a, b in zip(every.said[i], said, strict=True)]
    gaps += [abs(a - b) for i, said in of_two.items() for a, b in zip(mine[i], said, strict=True)]
    margins = [max(said) - sorted(said)[-2] for said in (*every.said.values(), *mine.values())]
    whole = ours if len(suite.requests) == suite.peer else Tally().add(lambda: answers(endpoint, suite.requests))
    return {
        "suite": suite.name,
        "samples_per_second": round(suite.peer / ours.seconds, 3),
        "peer": PEER,
        "peer_samples_per_second": round(suite.peer / theirs.seconds, 4),
        "ratio": round(theirs.seconds / ours.seconds, 2),
        "same_predictions": round(sum(ours.said[i] == best(said) for i, said in theirs.said.items()) / suite.peer, 4),
        "n": suite.peer,
        "ratio_processor_time": round(theirs.cpu_seconds / ours.cpu_seconds, 2),
        "ratio_all_choices": round(theirs.seconds / every.seconds, 2),
        "ratio_all_choices_processor_time": round(theirs.cpu_seconds / every.cpu_seconds, 2),
        "same_of_two": sum(best(mine[i]) == best(said) for i, said in of_two.items()),
        "n_pairs": len(pairs),
        "largest_difference": round(max(gaps), 6),
        "smallest_margin": round(min(margins), 6),
        "close": sum(margin <= 2 * max(gaps) for margin in margins),
        "full_samples_per_second": round(len(whole.said) / whole.seconds, 3),
        "n_full": len(whole.said),
    }


def two_likeliest(endpoint: HFEndpoint, requests: Sequence[Request]) -> tuple[list[Request], dict[str, tuple[float, ...]]]:
    """The requests with their two likeliest choices alone, and the log-likelihoods of these."""
    every = endpoint.log_likelihoods(requests)
    pairs, values = [], {}
    for request in requests:
        said = every[request.sample_id]
        two = sorted(sorted(range(len(said)), key=said.__getitem__)[-2:])
        pairs.append(replace(request, choices=tuple(request.choices[c] for c in two)))
        values[request.sample_id] = tuple(said[c] for c in two)
    return pairs, values


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", default="banking77,mmlu_pro,mmlu_pro_zero_shot")
    parser.add_argument("--peer-banking77", type=int, default=4)
    parser.add_argument("--peer-mmlu-pro", type=int, default=200)
    parser.add_argument("--rows", type=int, default=10**6, help="at most so many rows of each suite by our side alone")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write(f"evaluation_peer: no shared data at {DATA}; not measured\n")
        return
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    find_peer()
    torch.set_num_threads(asked.threads)
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    path = Path(base.path)
    endpoint = HFEndpoint(path, name="ours", batch_size=asked.batch, dtype=getattr(torch, asked.dtype))
    endpoint.log_likelihoods([Request("warm", (Message("user", "up"),), ("A", "B"))])
    peer = Peer(endpoint._model, load_tokenizer(path), asked.batch)
    thousand = min(asked.rows, 1000)
    suites = [
        Suite("banking77", banking77(asked.rows), asked.peer_banking77, asked.pairs),
        Suite("mmlu_pro", mmlu_pro(thousand, shots=5), asked.peer_mmlu_pro, 0),
        Suite("mmlu_pro_zero_shot", mmlu_pro(thousand, shots=0), asked.peer_mmlu_pro, 0),
    ]
    found = [compare(suite, endpoint, peer) for suite in suites if suite.name in asked.suites.split(",")]
    setting = {"dtype": asked.dtype, "batch": asked.batch, "threads": asked.threads}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sys.stdout.write(json.dumps({"suites": found, **setting, "peak_rss_mib": peak}) + "\n")


if __name__ == "__main__":
    main()
