"""How far off the plan's memory is: ``python -m tests.benchmarks.planner_error [--only NAME …]``.

Every configuration is trained for a few steps by the real training process, alone, and the peak of its resident memory is
held against what the plan says. The constants of ``delivery/training/memory.py`` that are not counted in the engine (what
the process takes, what the allocator adds) were chosen with a look at all configurations but those marked ``fresh``, which
were written afterwards. Errors are relative to the measured peak, those of time to the measured seconds of a step: for these
the machine has to have nothing else to do. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from delivery.artifacts import BaseModel, Example, Machine, Message, Splits
from delivery.client_config import Training
from delivery.settings import get_settings
from delivery.training import count_tokens, make_plan, train
from delivery.training.machine import available_threads, matrix_rate
from delivery.training.memory import Setup, predict
from delivery.training.work import step_seconds
from delivery.weights import resolve
from delivery.weights.folder import describe_base
from tests.benchmarks.training_matrix_rate import SENTENCE

STEPS = 4
"""With several micro-batches each: the heap takes some to settle."""
HELD = 32
"""Rows whose validation loss is measured in between."""


@dataclass(frozen=True)
class Configuration:
    """What is trained. ``words`` and ``answer`` are a row's, ``prefix`` those of the system prompt that rows share."""

    name: str
    model: str = "smollm2"
    method: str = "lora"
    precision: str = "bf16"
    rank: int = 16
    tokens: int = 1536
    words: int = 150
    answer: int = 10
    prefix: int = 0
    batch: int = 16
    fresh: bool = False


CONFIGURATIONS = (
    Configuration("plain", tokens=1024, batch=10),
    Configuration("long", rank=64, tokens=1200, words=1000, batch=1),
    Configuration("qlora", method="qlora", tokens=1024, batch=10),
    Configuration("fp32", precision="fp32", tokens=512, words=80, batch=8),
    Configuration("short", rank=8, tokens=512, words=30, answer=3),
    Configuration("prefix", words=40, prefix=330),
    Configuration("qlora-long", method="qlora", rank=64, tokens=1500, words=1200, batch=1),
    Configuration("fp32-long", precision="fp32", rank=8, tokens=700, words=560, batch=1),
    Configuration("answers", words=60, answer=90, batch=8),
    Configuration("qlora-fp32", method="qlora", precision="fp32", tokens=512, batch=4),
    Configuration("large", tokens=4096, words=330, batch=8),
    Configuration("two-rows", rank=64, tokens=512, words=170, batch=4),
    Configuration("wide", model="wide", tokens=1024, batch=10),
    Configuration("deep", model="deep", rank=64, tokens=2048, batch=20),
    Configuration("untied", model="untied", precision="fp32", rank=8, tokens=1024, words=80),
    Configuration("padded", model="padded", tokens=1024, words=80),
    Configuration("shots", rank=32, tokens=2048, words=120, answer=25, prefix=800, fresh=True),
    Configuration("wide-fp32", model="wide", precision="fp32", rank=32, tokens=768, words=90, fresh=True),
    Configuration("qlora-prefix", method="qlora", rank=8, tokens=2048, words=60, prefix=200, fresh=True),
    Configuration("untied-bf16", model="untied", rank=32, tokens=2048, words=200, batch=12, fresh=True),
    Configuration("two-long", tokens=2600, words=1000, batch=2, fresh=True),
)


def rows(wanted: Configuration) -> tuple[Example, ...]:
    """Rows that share a system prompt, or whose system prompts differ from the first word."""
    draw, words = random.Random(7), SENTENCE.split()

    def text(count: int) -> str:
        return " ".join(draw.choice(words) for _ in range(count))

    shared = text(wanted.prefix)
    return tuple(
        Example(
            id=str(number),
            messages=(
                Message("system", shared if wanted.prefix else f"{number} {draw.choice(words)}"),
                Message("user", text(round(wanted.words * draw.uniform(0.9, 1.1)))),
            ),
            answer=text(wanted.answer),
        )
        for number in range(wanted.batch * STEPS + HELD)
    )


def random_model(name: str, smollm2: BaseModel, folder: Path) -> BaseModel:
    """A model of another shape, with random weights and SmolLM2's tokenizer."""
    common = {"vocab_size": 49152, "max_position_embeddings": 8192, "bos_token_id": 1, "eos_token_id": 2}
    made: dict[str, tuple[type[PreTrainedModel], PretrainedConfig]] = {
        "wide": (
            LlamaForCausalLM,
            LlamaConfig(
                hidden_size=1024,
                intermediate_size=2816,
                num_hidden_layers=6,
                num_attention_heads=16,
                num_key_value_heads=4,
                tie_word_embeddings=True,
                **common,
            ),
        ),
        "deep": (
            LlamaForCausalLM,
            LlamaConfig(
                hidden_size=256,
                intermediate_size=1024,
                num_hidden_layers=32,
                num_attention_heads=8,
                num_key_value_heads=8,
                tie_word_embeddings=True,
                **common,
            ),
        ),
        "untied": (
            Qwen2ForCausalLM,
            Qwen2Config(
                hidden_size=640,
                intermediate_size=1792,
                num_hidden_layers=8,
                num_attention_heads=10,
                num_key_value_heads=2,
                tie_word_embeddings=False,
                **common,
            ),
        ),
        "padded": (
            MistralForCausalLM,
            MistralConfig(
                hidden_size=512,
                intermediate_size=1536,
                num_hidden_layers=12,
                num_attention_heads=8,
                num_key_value_heads=4,
                sliding_window=None,
                tie_word_embeddings=True,
                **common,
            ),
        ),
    }
    kind, config = made[name]
    torch.manual_seed(0)
    kind(config).to(torch.bfloat16).save_pretrained(folder)
    for path in Path(smollm2.path).iterdir():
        if path.suffix != ".safetensors" and path.name not in ("config.json", "generation_config.json"):
            shutil.copy(path, folder)
    return describe_base(folder, name=name, source="random")


@dataclass(frozen=True)
class Seen:
    """A configuration's peak in bytes and seconds of a step, each predicted and measured."""

    name: str
    fresh: bool
    predicted: int
    measured: int
    predicted_seconds: float
    measured_seconds: float
    parts: dict[str, int]

    @property
    def error(self) -> float:
        """Of the peak, relative to what was measured."""
        return self.predicted / self.measured - 1.0

    @property
    def time_error(self) -> float:
        """Of a step's seconds, relative to what was measured."""
        return self.predicted_seconds / self.measured_seconds - 1.0


def measure(wanted: Configuration, base: BaseModel, folder: Path) -> Seen:
    """Train some steps in a process of its own."""
    made = rows(wanted)
    splits = Splits(train=made[HELD:], validation=made[:HELD], test=())
    bf16 = wanted.precision == "bf16"
    flops = matrix_rate(torch.bfloat16 if bf16 else torch.float32, device="cpu", seconds=0.3)
    machine = Machine(device="cpu", threads=torch.get_num_threads(), memory_bytes=2**37, bf16=bf16, matrix_flops=flops)
    training = Training(method=wanted.method, rank=wanted.rank, batch_size=wanted.batch, epochs=1)
    plan = make_plan(training, base=base, stats=count_tokens(base, splits), machine=machine)
    plan = replace(plan, steps=STEPS, warmup_steps=1, checkpoint_every=10**6, micro_batch_tokens=wanted.tokens)
    setup = Setup.of(plan)
    parts = predict(base, plan.stats, setup)
    record = train(plan, base=base, splits=splits, workdir=folder).record
    seen = Seen(
        wanted.name,
        wanted.fresh,
        parts.total,
        record.peak_memory_bytes,
        step_seconds(base, plan.stats, setup=setup, machine=machine),
        record.seconds / record.steps,
        parts._asdict(),
    )
    mib = ", ".join(f"{name} {size >> 20}" for name, size in seen.parts.items())
    sys.stderr.write(
        f"{seen.name:12} {seen.predicted >> 20:6} MiB predicted, {seen.measured >> 20:6} measured, {seen.error:+.1%} ({mib}); "
        f"{seen.predicted_seconds:.1f} s a step predicted, {seen.measured_seconds:.1f} measured, {seen.time_error:+.1%}\n"
    )
    return seen


def main() -> None:
    """Measure all of them and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    only = parser.parse_args().only
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", available_threads())))
    smollm2 = resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)
    seen = []
    for wanted in CONFIGURATIONS:
        if only and wanted.name not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            base = smollm2 if wanted.model == "smollm2" else random_model(wanted.model, smollm2, Path(folder, "model"))
            seen.append(measure(wanted, base, Path(folder, "run")))
    errors, times = [abs(one.error) for one in seen], [abs(one.time_error) for one in seen]
    fresh = [abs(one.error) for one in seen if one.fresh]
    document = {
        "configurations": len(seen),
        "median_error": round(statistics.median(errors), 4),
        "max_error": round(max(errors), 4),
        "fresh": len(fresh),
        "median_error_fresh": round(statistics.median(fresh), 4) if fresh else None,
        "max_error_fresh": round(max(fresh), 4) if fresh else None,
        "median_time_error": round(statistics.median(times), 4),
        "max_time_error": round(max(times), 4),
        "each": {one.name: round(one.error, 4) for one in seen},
        "each_time": {one.name: round(one.time_error, 4) for one in seen},
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
