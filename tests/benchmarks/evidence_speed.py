"""10,000 recorded answers of two systems: scored, summarised and compared with 10,000 bootstrap draws.

``python -m tests.benchmarks.evidence_speed``. A classification of 77 labels (accuracy by the exact test, macro-F1 by the
bootstrap), an extraction of four fields (F1 by the bootstrap), and the same extraction in clusters of ten. ``seconds`` is
the slowest of the three, ``cpu_seconds`` what it took of a processor, which a busy machine changes less; target 5.
Answers are simulated, with 80 and 75 % right. Libraries are imported before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from delivery.artifacts import Answer, Example, Message, Suite, SystemName
from delivery.client_config import ClientConfig, Gates
from delivery.evaluation import System, score, use_case_suite
from delivery.evaluation.scoring.metrics import summarise
from delivery.evaluation.statistics.bootstrap import DRAWS
from delivery.evaluation.statistics.comparison import compare

N, TARGET = 10_000, 5.0
LABELS = [f"intent_{number:02}" for number in range(77)]
SCHEMA = {"type": "object", "properties": {name: {"type": "string"} for name in "abcd"}, "required": list("abcd")}


def suite_of(use_case: dict[str, Any], expected: list[str]) -> Suite:
    config = ClientConfig.model_validate(
        {
            "folder": Path("clients/bench"),
            "client": "bench",
            "vertical": "other",
            "use_case": {"name": "bench", "system_prompt": "Answer.", **use_case},
            "data": {"path": "rows.jsonl"},
        }
    )
    rows = [
        Example(f"row-{row}", (Message("user", f"text {row}"),), text, source="rows.jsonl", line=row + 1)
        for row, text in enumerate(expected)
    ]
    return use_case_suite(config, rows)


def classification(generator: np.random.Generator) -> tuple[Suite, list[list[str]]]:
    expected = generator.integers(0, 77, N)
    said = [np.where(generator.random(N) < right, expected, generator.integers(0, 77, N)) for right in (0.8, 0.75)]
    suite = suite_of({"type": "classification", "labels": LABELS}, [LABELS[one] for one in expected])
    return replace(suite, samples=tuple(replace(sample, slices={}) for sample in suite.samples)), [
        [LABELS[one] for one in answers] for answers in said
    ]


def extraction(generator: np.random.Generator, cluster: int) -> tuple[Suite, list[list[str]]]:
    fields = [[json.dumps({name: f"{name}{row}" for name in "abcd"})] for row in range(N)]
    suite = suite_of({"type": "extraction", "schema": SCHEMA, "parse": "json"}, [one[0] for one in fields])
    samples = [replace(sample, cluster=str(row // cluster) if cluster > 1 else "") for row, sample in enumerate(suite.samples)]
    said = [
        [
            json.dumps({n: f"{n}{row}" if hit else "-" for n, hit in zip("abcd", hits, strict=True)})
            for row, hits in enumerate(rows)
        ]
        for rows in (generator.random((N, 4)) < right for right in (0.8, 0.75))
    ]
    return replace(suite, samples=tuple(samples)), said


class Taken(NamedTuple):
    """Seconds on the clock and of a processor."""

    wall: float
    cpu: float


def seconds(suite: Suite, said: list[list[str]]) -> Taken:
    """Score both systems, summarise both, compare them."""
    names: tuple[SystemName, ...] = ("candidate", "baseline")
    given = [[Answer(s.id, text) for s, text in zip(suite.samples, texts, strict=True)] for texts in said]
    wall, cpu = time.perf_counter(), time.process_time()
    results = []
    for name, answers in zip(names, given, strict=True):
        clusters = {sample.id: sample.cluster for sample in suite.samples}
        scored = [replace(one, cluster=clusters[one.sample_id]) for one in score(suite, answers)]
        results.append(summarise(suite, scored, system=System(name, "m"), answers=answers))
    compare(suite, results, gates=Gates())
    return Taken(time.perf_counter() - wall, time.process_time() - cpu)


def main() -> None:
    """Measure and write the JSON line."""
    generator = np.random.default_rng(7)
    found = {
        "classification": seconds(*classification(generator)),
        "extraction": seconds(*extraction(generator, 1)),
        "extraction_clustered": seconds(*extraction(generator, 10)),
    }
    figures = {
        "samples": N,
        "draws": DRAWS,
        "seconds": max(one.wall for one in found.values()),
        "cpu_seconds": max(one.cpu for one in found.values()),
        "target": TARGET,
        **{name: one.wall for name, one in found.items()},
    }
    sys.stdout.write(json.dumps({name: round(value, 2) for name, value in figures.items()}) + "\n")


if __name__ == "__main__":
    main()
