"""Chats of mixed lengths without a shared prompt, beside the same peers: ``python -m tests.benchmarks.training_chat``.

Prompts and recorded answers from ``../shared/data``: instructions with GPT-4's responses (IFEval), exam questions with the
letter of the answer (MMLU-Pro), instructions with the better of two outputs (LLMBar). Model, LoRA, precision, batches and
threads are those of ``training_prefix``; so is the line that comes last, with the losses after the timed steps. What rows
share is the 25 tokens of the system prompt that the chat template writes where there is none.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from typing import Any

from delivery.artifacts import Example, Message
from delivery.settings import get_settings
from delivery.weights import resolve
from tests.benchmarks.peers.training import DATA, beside, find_peer, make_task

LONGEST = 6_000
"""Characters of a row."""


def read(*path: str) -> list[dict[str, Any]]:
    """A file of JSON lines."""
    return [json.loads(line) for line in DATA.joinpath(*path).read_text(encoding="utf-8").splitlines()]


def question(row: dict[str, Any]) -> str:
    """An exam question with its options."""
    return "\n".join([row["question"], *(f"{a}. {text}" for a, text in zip("ABCDEFGHIJ", row["options"], strict=False))])


def chats(count: int) -> list[Example]:
    """Rows in a fixed random order, as many of one source as of another."""
    sources = [
        [(row["prompt"], row["response"]) for row in read("ifeval", "outputs.gpt-4.jsonl")],
        [(question(row), row["answer"]) for row in read("mmlu_pro", "sample.jsonl")],
        [(row["instruction"], row[f"output_{row['gold']}"]) for row in read("llmbar", "pairs.jsonl")],
    ]
    draw = random.Random(7)
    fitting = [[pair for pair in source if sum(map(len, pair)) <= LONGEST] for source in sources]
    chosen = [pair for source in fitting for pair in draw.sample(source, count // 3 + 1)]
    draw.shuffle(chosen)
    return [Example(str(n), (Message("user", asked),), answer) for n, (asked, answer) in enumerate(chosen[:count])]


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", default="trl,trainer", help="of trl, trl_padding_free, trl_packing and trainer")
    parser.add_argument("--steps", type=int, default=3, help="of every side, the first not counted")
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write(f"training_chat: no shared data at {DATA}; not measured\n")
        return
    find_peer()
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    rows = chats(16 * asked.steps + 16)
    task = make_task(base, rows[16:], rows[:16], steps=asked.steps)
    found = beside(task, None, sides=asked.sides.split(","), peer_steps=asked.steps)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
