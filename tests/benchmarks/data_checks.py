"""Checks of 10,000, 100,000 and 1,000,000 chat rows of about 600 bytes, and the near-duplicate job done by datasketch.

Each size runs in a process of its own, for its peak memory. All checks run up to 100,000 rows; on a million those that have
to scale: schema, exact and near duplicates, leakage. ``DATA_CHECKS_ROWS`` names other sizes, such as ``10000,100000``.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from delivery import dataset, weights
from delivery.artifacts import Example
from delivery.client_config import SplitRule, UseCase
from delivery.settings import get_settings

SIZES = (10_000, 100_000, 1_000_000)
ALL_CHECKS_UP_TO = 100_000
PEER_UP_TO = 100_000
LABELS = tuple(f"intent_{n:02d}" for n in range(77))
USE_CASE = UseCase(name="intents", type="classification", system_prompt="Name the intent of the message.", labels=LABELS)
_SYLLABLES = [a + b for a in "bcdfghklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "ing", "or", "al")]


def write_rows(path: Path, rows: int) -> None:
    """Rows of words with Zipf's frequencies, topical by label: 3 % near copies, 1 % exact ones, 1 % wrong labels."""
    chance = random.Random(7)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(40_000)]
    frequency = [1 / (rank + 10) for rank in range(len(words))]
    pool = chance.choices(words, frequency, k=2_000_000)
    topics = {label: chance.sample(words[2_000:], 40) for label in LABELS}
    earlier: list[tuple[str, str]] = []
    with path.open("wb") as stream:
        for number in range(rows):
            label = chance.choice(LABELS)
            start = chance.randrange(len(pool) - 100)
            said = [*pool[start : start + chance.randint(35, 75)], *chance.choices(topics[label], k=8)]
            chance.shuffle(said)
            text, kind = " ".join(said), chance.random()
            if earlier and kind < 0.04:
                text, label = chance.choice(earlier)
                text = f"{text} thanks" if kind < 0.03 else text
            elif number % 50 == 0:
                earlier.append((text, label))
            given = chance.choice(LABELS) if 0.04 < kind < 0.05 else label
            turns = [{"role": "user", "content": text}, {"role": "assistant", "content": given}]
            stream.write(orjson.dumps({"id": f"row-{number}", "messages": turns}) + b"\n")


class _Clock:
    """Seconds by part."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._part, self._since = "profile", time.perf_counter()

    def mark(self, name: str) -> None:
        """What ran until now was this."""
        self._part = name
        self.begin("profile")

    def begin(self, name: str) -> None:
        """From now on it is this."""
        now = time.perf_counter()
        self.parts[self._part] = self.parts.get(self._part, 0.0) + now - self._since
        self._part, self._since = name, now


def measure(path: Path, rows: int) -> dict[str, Any]:
    """Seconds by part and peak memory of this process."""
    context = dataset.Context(use_case=USE_CASE)
    if rows <= ALL_CHECKS_UP_TO:
        model = weights.resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
        lengths = dataset.Lengths(weights.token_counter(model), model.context_length)
        context = dataset.Context(use_case=USE_CASE, lengths=lengths)
    clock = _Clock()
    loaded = dataset.load([str(path)], use_case=USE_CASE)
    clock.mark("read")
    if rows <= ALL_CHECKS_UP_TO:
        guarded = dataset.guard(loaded, mode="redact", redactor=dataset.Redactor(b"0" * 32), use_case=USE_CASE)
        loaded, context = guarded.dataset, replace(context, intake=guarded.intake)
        clock.mark("identifiers")
    splits = dataset.split(loaded, SplitRule())
    clock.mark("near duplicates and sides")
    only = None if rows <= ALL_CHECKS_UP_TO else dataset.SCALING
    report = dataset.check(loaded, splits, context, only=only, on_progress=lambda progress: clock.begin(progress.note))
    clock.begin("")
    return {
        "rows": rows,
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "seconds": round(sum(clock.parts.values()), 2),
        "parts": {name: round(seconds, 2) for name, seconds in clock.parts.items() if seconds >= 0.05},
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "near_pairs": len(splits.near),
        "findings": {check.name: check.count for check in report.checks if check.count},
    }


def near_duplicates(path: Path) -> dict[str, Any]:
    """The near-duplicate job alone, by us and by datasketch: pairs with a Jaccard similarity of 5-grams of at least 0.7."""
    from delivery.dataset.near import near_pairs
    from delivery.dataset.shingles import folded

    examples: Sequence[Example] = dataset.load([str(path)], use_case=USE_CASE).examples
    texts = list(dict.fromkeys(folded(example.asked) for example in examples))
    start = time.perf_counter()
    ours = {(int(a), int(b)) for a, b in near_pairs(texts)}
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    theirs = datasketch_pairs(texts)
    return {
        "near_seconds": round(seconds, 2),
        "near_pairs": len(ours),
        "peer_seconds": round(time.perf_counter() - start, 2),
        "peer_pairs": len(theirs),
        "both": len(ours & theirs),
    }


def datasketch_pairs(texts: Sequence[str]) -> set[tuple[int, int]]:
    """As its documentation shows: 128 permutations, an LSH index at 0.7, candidates confirmed by the signatures."""
    from datasketch import MinHash, MinHashLSH

    index, found, signed = MinHashLSH(threshold=0.7, num_perm=128), set(), list[MinHash]()
    for place, text in enumerate(texts):
        signature = MinHash(num_perm=128, seed=7)
        signature.update_batch([text[n : n + 5].encode() for n in range(len(text) - 4)])
        found |= {(other, place) for other in index.query(signature) if signature.jaccard(signed[other]) >= 0.7}
        index.insert(place, signature)
        signed.append(signature)
    return found


def main() -> int:
    """Run one size in this process, or all sizes in processes of their own."""
    if len(sys.argv) == 4:
        kind, rows, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
        sys.stdout.write(json.dumps(measure(path, rows) if kind == "checks" else near_duplicates(path)) + "\n")
        return 0
    sizes = [int(size) for size in os.environ.get("DATA_CHECKS_ROWS", ",".join(map(str, SIZES))).split(",")]
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            path = Path(folder) / f"{rows}.jsonl"
            write_rows(path, rows)
            found = _in_process("checks", rows, path)
            if rows <= PEER_UP_TO:
                found |= _in_process("near", rows, path)
            path.unlink()
            results.append(found)
            sys.stderr.write(json.dumps(found) + "\n")
    chosen = next((found for found in results if found["rows"] == ALL_CHECKS_UP_TO), results[-1])
    sys.stdout.write(json.dumps({**chosen, "peer": "datasketch", "by_rows": results}) + "\n")
    return 0


def _in_process(kind: str, rows: int, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.data_checks", kind, str(rows), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
