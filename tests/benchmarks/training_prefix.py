"""Rows that share a long system prompt, beside TRL and transformers' Trainer: ``python -m tests.benchmarks.training_prefix``.

Banking77 from ``../shared/data`` with its 77 labels in the system prompt: SmolLM2-135M, LoRA of rank 16 on all linear layers,
bfloat16, batches of 16, 2 threads. ``--sides`` names the ways of the peers that are tried; the fastest is the peer. Losses
are those after the same ``--learning-steps`` on rows with a short system prompt, where the peers take seconds a step. TRL
is no dependency: pip puts it into the cache where it is missing. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import sys

from delivery.artifacts import Example, Message
from delivery.settings import get_settings
from delivery.weights import resolve
from tests.benchmarks.peers.training import DATA, beside, find_peer, make_task

SHORT = "Name the intent of the customer's message."


def banking77(count: int, *, labels: bool) -> list[Example]:
    """Training rows in a fixed random order, under a prompt with all labels or without them."""
    read = [json.loads(line) for line in (DATA / "banking77" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    known = sorted({row["label"] for row in read})
    asked = "\n".join([SHORT, "Answer with one of these and nothing else:", *known]) if labels else SHORT
    chosen = random.Random(7).sample(read, count)
    return [Example(r["id"], (Message("system", asked), Message("user", r["text"])), r["label"]) for r in chosen]


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", default="trl,trainer", help="of trl, trl_padding_free, trl_packing and trainer")
    parser.add_argument("--steps", type=int, default=4, help="of our side, the first not counted")
    parser.add_argument("--peer-steps", type=int, default=2, help="the same of each peer")
    parser.add_argument("--learning-steps", type=int, default=10)
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write(f"training_prefix: no shared data at {DATA}; not measured\n")
        return
    find_peer()
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    speed = make_task(base, banking77(16 * asked.steps, labels=True), [], steps=asked.steps)
    rows = banking77(16 * asked.learning_steps + 64, labels=False)
    learning = make_task(base, rows[64:], rows[:64], steps=asked.learning_steps)
    found = beside(speed, learning, sides=asked.sides.split(","), peer_steps=asked.peer_steps)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
