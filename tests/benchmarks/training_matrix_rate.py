"""How much of the machine's matrix rate training reaches: ``python -m tests.benchmarks.training_matrix_rate [--steps N]``.

Trains SmolLM2-135M on rows of about 192 tokens through the real trainer. After every optimizer step the rate of a
2048-cubed product in the same precision is measured in the same process. Medians over the steps; training is counted as
4 x parameters x computed tokens (padding excluded) per second. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

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
from delivery.weights.hf import load_tokenizer, native_dtype

SENTENCE = (
    "the van hit my parked car on the corner this morning and now its rear door will not close so please tell me which "
    "garage I may use and whether the policy covers a hire car until it is repaired because I work far from home"
)


def rows(count: int) -> tuple[Example, ...]:
    """Rows of 180 to 200 tokens whose answers are small JSON documents."""
    draw = random.Random(7)
    words = SENTENCE.split()
    made = []
    for number in range(count):
        text = " ".join(draw.choice(words) for _ in range(draw.randint(145, 160)))
        messages = (Message("system", "Read the claim and answer in JSON."), Message("user", text))
        made.append(Example(id=str(number), messages=messages, answer='{"line": "motor", "urgency": "normal"}'))
    return tuple(made)


def measure(base: BaseModel, steps: int) -> dict[str, float]:
    """Median rates over ``steps`` optimizer steps, the first two left out as warming up."""
    examples = rows(16 * (steps + 2))
    here = machine.measure()
    stats = count_tokens(base, Splits(train=examples, validation=(), test=()))
    plan = make_plan(Training(method="lora", batch_size=16, epochs=1), base=base, stats=stats, machine=here)
    plan = replace(plan, steps=steps + 2, checkpoint_every=10**6)
    torch.set_num_threads(here.threads)
    tokenizer = load_tokenizer(Path(base.path))
    model = attach_adapter(plan, base)
    data = training_rows(model, tokenize(tokenizer, examples), plan=plan, pad=tokenizer.eos_token_id)
    training: list[float] = []
    matrix: list[float] = []
    before = Tally.empty()

    def watch(tally: Tally) -> None:
        nonlocal before
        training.append(
            4.0 * base.parameters * (tally.computed_tokens - before.computed_tokens) / (tally.seconds - before.seconds)
        )
        before = replace(tally)
        matrix.append(machine.matrix_rate(native_dtype(), device=here.device, seconds=0.4))
        sys.stderr.write(f"step {len(training)}: {training[-1] / 1e9:.0f} of {matrix[-1] / 1e9:.0f} GFLOP/s\n")

    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder=Path(folder), tally=Tally.empty(), watch=watch, stop=threading.Event())
        StepTrainer(model, plan, steps=data, validation=None, run=run).train()
    reached, rate = statistics.median(training[2:]), statistics.median(matrix[2:])
    return {
        "matrix_gflops": round(rate / 1e9, 1),
        "training_gflops": round(reached / 1e9, 1),
        "share": round(reached / rate, 3),
        "tokens_per_row": round(stats.tokens / stats.rows, 1),
        "steps": steps,
    }


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    steps = parser.parse_args().steps
    base = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    sys.stdout.write(json.dumps(measure(base, steps)) + "\n")


if __name__ == "__main__":
    main()
