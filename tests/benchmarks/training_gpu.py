"""LoRA and QLoRA of an 8B Llama-shaped model with random weights: ``python -m tests.benchmarks.training_gpu [--tiny]``.

For an accelerator with 100 GB and more; nothing is downloaded. Rows of about 4,096 tokens through the real trainer, and
through plain peft with transformers' Trainer (loss on the answers alone, as here), each in a process of its own. Shares are
of the rate of a 2048-cubed product measured after every step in the same process, peaks are those of the tensors and stand
beside the plan's. Neither side recomputes activations. ``--tiny`` is the same with a model that a CPU trains in seconds.
The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from delivery.artifacts import BaseModel
from delivery.weights.hf import load_model, load_tokenizer, native_dtype, render
from tests.benchmarks.training_matrix_rate import Case, measure, rows_of
from tests.delivery.weights.tiny import save_tiny_tokenizer

LLAMA_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_theta": 500_000.0,
}
TINY = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_WORDS = tuple(f"w{n}" for n in range(50))
Method = Literal["lora", "qlora"]


def make_model(folder: Path, *, tiny: bool) -> BaseModel:
    """A folder with a random model of the shape, its tokenizer of whole words, in bf16."""
    save_tiny_tokenizer(folder)
    config = LlamaConfig(
        **(TINY if tiny else LLAMA_8B), tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=2
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    parameters = sum(p.numel() for p in model.parameters())
    del model
    torch.cuda.empty_cache()
    # Weights of random numbers need no hash, which would take as long as writing them.
    return BaseModel(
        name="random",
        path=str(folder),
        source="benchmark",
        sha256="0" * 64,
        licence="unknown",
        parameters=parameters,
        context_length=config.max_position_embeddings,
    )


def case(method: Method, *, tiny: bool, steps: int) -> Case:
    """Two rows a step, which the tokenizer splits into words."""
    return Case(words=200 if tiny else 4080, rows=2, steps=steps, method=method, vocabulary=_WORDS, answer="w1 w2")


def ours(base: BaseModel, asked: Case) -> dict[str, Any]:
    """The real trainer's figures, its peak beside the plan's."""
    found = asdict(measure(base, asked, warming=2))
    return {**found, "peak_bytes": _peak_bytes()}


def plain(base: BaseModel, asked: Case) -> dict[str, Any]:
    """Figures of peft and Trainer as they come: one micro-batch of two rows, loss on the answers."""
    tokenizer = load_tokenizer(Path(base.path))
    made = [render(tokenizer, row.messages, row.answer) for row in rows_of(asked, warming=2)]
    model = load_model(Path(base.path), attention="sdpa", nf4=asked.method == "qlora")
    model.config.use_cache = False
    model = get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
    )
    width = max(len(row.ids) for row in made)
    ids = torch.full((len(made), width), tokenizer.pad_token_id)
    labels = torch.full_like(ids, -100)
    for line, row in enumerate(made):
        ids[line, : len(row.ids)] = torch.tensor(row.ids)
        labels[line, row.answer_start : len(row.ids)] = torch.tensor(row.ids[row.answer_start :])
    there = (ids != tokenizer.pad_token_id).long()
    items = [{"input_ids": i, "attention_mask": m, "labels": t} for i, m, t in zip(ids, there, labels, strict=True)]
    paces = _Paces()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=asked.steps + 2,
            per_device_train_batch_size=asked.rows,
            bf16=native_dtype() == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            learning_rate=2e-4,
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            report_to="none",
        )
        Trainer(model=model, args=arguments, train_dataset=items, callbacks=[paces]).train()
    tokens = sum(len(row.ids) for row in made) / len(paces.seconds)
    return {"tokens_per_second": round(tokens / statistics.median(paces.seconds[2:]), 1), "peak_bytes": _peak_bytes()}


class _Paces(TrainerCallback):
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._since = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._since = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._since)


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


SIDES: dict[str, tuple[Method, Callable[[BaseModel, Case], dict[str, Any]]]] = {
    "lora": ("lora", ours),
    "qlora": ("qlora", ours),
    "plain_lora": ("lora", plain),
    "plain_qlora": ("qlora", plain),
}


def compare(*, tiny: bool, steps: int) -> dict[str, Any]:
    """Every side in a process of its own, and how they stand to each other."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = make_model(Path(folder), tiny=tiny)
        for side in SIDES:
            more = ["--side", side, "--base", json.dumps(asdict(base)), "--steps", str(steps), *(["--tiny"] if tiny else [])]
            command = [sys.executable, "-m", "tests.benchmarks.training_gpu", *more]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
            lines = done.stdout.splitlines()
            # A side that does not fit into memory is a finding, not the end of the others.
            found[side] = json.loads(lines[-1]) if done.returncode == 0 and lines else {"failed": done.returncode}
    for side in ("lora", "qlora"):
        mine, theirs = found[side], found[f"plain_{side}"]
        if "failed" in mine or "failed" in theirs:
            continue
        mine["speed_ratio"] = round(mine["tokens_per_second"] / theirs["tokens_per_second"], 3)
        mine["peak_ratio"] = round(mine["peak_bytes"] / theirs["peak_bytes"], 3)
        mine["peak_error"] = round(mine["predicted_peak_bytes"] / mine["peak_bytes"] - 1, 3)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": device, "tiny": tiny, "parameters": base.parameters, **found}


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a model for a CPU")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--side", choices=sorted(SIDES), help="measure this one, in this process")
    parser.add_argument("--base", help="the model of --side, as JSON")
    asked = parser.parse_args()
    if asked.side:
        method, run = SIDES[asked.side]
        found = run(BaseModel(**json.loads(asked.base)), case(method, tiny=asked.tiny, steps=asked.steps))
        sys.stdout.write(json.dumps(found) + "\n")
        return
    if not asked.tiny and not torch.cuda.is_available():
        sys.stderr.write("training_gpu: no accelerator here; not measured (--tiny runs the same with a small model)\n")
        return
    sys.stdout.write(json.dumps(compare(tiny=asked.tiny, steps=asked.steps)) + "\n")


if __name__ == "__main__":
    main()
