"""Memory and speed of QLoRA beside LoRA's: ``python -m tests.benchmarks.training_qlora [--steps N]``.

SmolLM2-135M, the same rows, each method in a process of its own; the fused layers and, for comparison, peft's own. Bytes are
the process's peak, those before the model is loaded, and those of the frozen weights. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, Literal
from unittest.mock import patch

import psutil

from delivery.settings import get_settings
from delivery.training.hf import fused
from delivery.weights import resolve
from tests.benchmarks.training_matrix_rate import Case, measure

KINDS: dict[str, tuple[Literal["lora", "qlora"], bool]] = {
    "lora": ("lora", True),
    "qlora": ("qlora", True),
    "qlora_of_peft": ("qlora", False),
}


def _untouched(_: Any) -> fused.Fused:
    return fused.Fused(0, 0, 0)


def one(kind: str, *, steps: int, words: int) -> dict[str, Any]:
    """One kind's figures, measured in this process."""
    method, fuses = KINDS[kind]
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    before = psutil.Process().memory_info().rss
    case = Case(words=words, rows=max(2, 1700 // words), steps=steps, method=method)
    with nullcontext() if fuses else patch("delivery.training.hf.adapter.fuse", _untouched):
        found = asdict(measure(base, case))
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**found, "peak_rss_mib": peak >> 20, "rss_before_mib": before >> 20}


def main() -> None:
    """Measure every kind and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--words", type=int, default=150, help="of a row")
    parser.add_argument("--kind", choices=sorted(KINDS), help="measure this one, in this process")
    asked = parser.parse_args()
    if asked.kind:
        sys.stdout.write(json.dumps(one(asked.kind, steps=asked.steps, words=asked.words)) + "\n")
        return
    found = {}
    for kind in KINDS:
        more = ("--kind", kind, "--steps", str(asked.steps), "--words", str(asked.words))
        command = [sys.executable, "-m", "tests.benchmarks.training_qlora", *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found[kind] = json.loads(done.stdout.splitlines()[-1])
    lora, qlora = found["lora"], found["qlora"]
    ratios = {
        "peak_ratio": round(qlora["peak_rss_mib"] / lora["peak_rss_mib"], 3),
        "speed_ratio": round(qlora["tokens_per_second"] / lora["tokens_per_second"], 3),
    }
    sys.stdout.write(json.dumps({**found, **ratios}) + "\n")


if __name__ == "__main__":
    main()
