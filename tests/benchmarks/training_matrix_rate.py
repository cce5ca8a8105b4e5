"""How much of the machine's matrix rate training reaches: ``python -m tests.benchmarks.training_matrix_rate [--steps N]``.

Trains SmolLM2-135M through the real trainer on long rows, which the figures of the last line are of, and on shorter ones.
After every optimizer step the rate of a 2048-cubed product in the same precision is measured in the same process; medians
over the steps. Training is counted as 4 x parameters x computed tokens (padding excluded) plus the products of causal
attention, forward and twice that backward. ``products_share`` counts what is really multiplied: no embedding, the output
layer where an answer is predicted, and the adapter. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from delivery.artifacts import BaseModel, Example, Message, Splits
from delivery.client_config import Training
from delivery.settings import get_settings
from delivery.training import count_tokens, machine, make_plan
from delivery.training.hf.adapter import attach_adapter
from delivery.training.hf.rows import tokenize, training_rows
from delivery.training.hf.trainer import Run, StepTrainer
from delivery.training.job import Tally
from delivery.weights import resolve
from delivery.weights.hf import load_config, load_tokenizer, native_dtype

SENTENCE = (
    "the van hit my parked car on the corner this morning and now its rear door will not close so please tell me which "
    "garage I may use and whether the policy covers a hire car until it is repaired because I work far from home"
)
ANSWER = '{"line": "motor", "urgency": "normal"}'


@dataclass(frozen=True, slots=True)
class Case:
    """What to train on: rows of about so many words, so many a step."""

    words: int
    rows: int
    steps: int
    method: Literal["lora", "qlora"] = "lora"
    vocabulary: Sequence[str] = tuple(SENTENCE.split())
    answer: str = ANSWER


@dataclass(frozen=True, slots=True)
class Measured:
    """Rates in operations per second, shares of the matrix rate, bytes."""

    tokens_per_row: float
    matrix_gflops: float
    training_gflops: float
    share: float
    products_share: float
    tokens_per_second: float
    predicted_peak_bytes: int


def rows_of(case: Case, *, warming: int) -> tuple[Example, ...]:
    """The rows of all steps: random words, of nearly one length, with one short answer."""
    draw = random.Random(7)
    made = []
    for number in range(case.rows * (case.steps + warming)):
        text = " ".join(draw.choice(case.vocabulary) for _ in range(draw.randint(case.words * 95 // 100, case.words)))
        made.append(Example(id=str(number), messages=(Message("user", text),), answer=case.answer))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class _Work:
    """Operations of training one token, of one answer token more, and per token and token of its row."""

    counted: float
    products: float
    answer: float
    attended: float

    @classmethod
    def of(cls, base: BaseModel, model: Any) -> _Work:
        config = load_config(Path(base.path))
        head = config.vocab_size * config.hidden_size
        embeddings = head if config.tie_word_embeddings else 2 * head
        adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
        width = config.num_attention_heads * (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        return cls(
            counted=4.0 * base.parameters,
            products=4.0 * (base.parameters - embeddings) + 6.0 * adapter,
            answer=4.0 * head,
            attended=6.0 * width * config.num_hidden_layers,
        )


def measure(base: BaseModel, case: Case, *, warming: int = 1) -> Measured:
    """Median rates over a case's optimizer steps, the first ones left out as warming up."""
    examples = rows_of(case, warming=warming)
    here = machine.measure()
    stats = count_tokens(base, Splits(train=examples, validation=(), test=()))
    plan = make_plan(Training(method=case.method, batch_size=case.rows, epochs=1), base=base, stats=stats, machine=here)
    plan = replace(plan, steps=case.steps + warming, checkpoint_every=10**6)
    torch.set_num_threads(here.threads)
    tokenizer = load_tokenizer(Path(base.path))
    model = attach_adapter(plan, base)
    work = _Work.of(base, model)
    data = training_rows(model, tokenize(tokenizer, examples), plan=plan, pad=tokenizer.eos_token_id)
    rates: list[tuple[float, float, float, float]] = []
    before = Tally.empty()

    def watch(tally: Tally) -> None:
        nonlocal before
        tokens, seconds = tally.computed_tokens - before.computed_tokens, tally.seconds - before.seconds
        answers = tally.supervised_tokens - before.supervised_tokens
        # Each token attends to half its row on average, in two products forward and four backward.
        attention = work.attended * tokens * (stats.tokens / stats.rows + 1)
        done = work.products * tokens + work.answer * answers + attention
        before = replace(tally)
        matrix = machine.matrix_rate(native_dtype(), device=here.device, seconds=0.4)
        rates.append((matrix, (work.counted * tokens + attention) / seconds, done / seconds, tokens / seconds))
        sys.stderr.write(f"step {len(rates)}: {rates[-1][1] / 1e9:.0f} of {matrix / 1e9:.0f} GFLOP/s\n")

    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder=Path(folder), tally=Tally.empty(), watch=watch, stop=threading.Event())
        StepTrainer(model, plan, steps=data, validation=None, run=run).train()
    counted = rates[warming:]
    return Measured(
        tokens_per_row=round(stats.tokens / stats.rows, 1),
        matrix_gflops=round(statistics.median(rate[0] for rate in counted) / 1e9, 1),
        training_gflops=round(statistics.median(rate[1] for rate in counted) / 1e9, 1),
        share=round(statistics.median(rate[1] / rate[0] for rate in counted), 3),
        products_share=round(statistics.median(rate[2] / rate[0] for rate in counted), 3),
        tokens_per_second=round(statistics.median(rate[3] for rate in counted), 1),
        predicted_peak_bytes=plan.predicted_peak_bytes,
    )


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--words", type=int, nargs="+", default=[1800, 900, 150], help="of a row, the headline's first")
    asked = parser.parse_args()
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    found = []
    for words in asked.words:
        # About 4,000 tokens a step, however long the rows are.
        found.append(measure(base, Case(words=words, rows=max(2, 3400 // words), steps=asked.steps)))
    sys.stdout.write(json.dumps({**asdict(found[0]), "steps": asked.steps, "others": [asdict(m) for m in found[1:]]}) + "\n")


if __name__ == "__main__":
    main()
