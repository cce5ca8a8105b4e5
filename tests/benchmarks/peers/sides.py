"""One side of a training bench in a process of its own: ``python -m tests.benchmarks.peers.sides SIDE TASK``.

``SIDE`` is ``ours``, ``trl``, ``trl_padding_free``, ``trl_packing`` or ``trainer``. All train the same LoRA on the same
tokens with the same loss (the mean over the answers' tokens), optimizer, schedule and steps; the peers in the way that was
fastest for them here: bfloat16 weights under autocast, no gradient checkpointing, one row at a time (so nothing is padded),
or some flattened into one. The line on stdout has the seconds of every step and the validation loss, which one function
measures for all.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from delivery.artifacts import BaseModel, TokenStats, from_json
from delivery.client_config import Training
from delivery.settings import get_settings
from delivery.training import machine, make_plan
from delivery.training.batches import micro_batches
from delivery.training.hf.adapter import attach_adapter, save_adapter
from delivery.training.hf.rows import Row, Rows, shares, sizes
from delivery.training.hf.trainer import Run, StepTrainer
from delivery.training.job import Tally
from delivery.weights.hf import load_model, load_tokenizer

PEER = "trl==1.16.0"
MICRO = {"trl": 1, "trainer": 1, "trl_padding_free": 4, "trl_packing": 4}
"""Rows of a micro-batch, by side."""
PEER_FOLDER = Path(os.environ.get("DELIVERY_BENCH_TRL") or get_settings().cache / "peers" / PEER.replace("==", "-"))


@dataclass(frozen=True)
class Task:
    """What a side trains: rows (steps x batch of them), then the rows whose loss is measured."""

    base: str
    rows: list[Row]
    validation: list[Row]
    steps: int
    batch: int
    threads: int
    learning_rate: float
    seed: int


def read(path: Path) -> Task:
    """A task that ``write`` wrote."""
    found = json.loads(path.read_text())
    rows, validation = ([Row(*row) for row in found.pop(key)] for key in ("rows", "validation"))
    return Task(rows=rows, validation=validation, **found)


def write(task: Task, path: Path) -> None:
    """A task as a file."""
    path.write_text(json.dumps(asdict(task)))


def ours(task: Task, base: BaseModel, adapter: Path) -> list[float]:
    """Through the real trainer. Which rows make a step is the task's, how a step is cut into micro-batches the plan's."""
    stats = TokenStats(
        rows=len(task.rows),
        tokens=sum(len(row.ids) for row in task.rows),
        supervised_tokens=sum(len(row.ids) - row.answer_start for row in task.rows),
        longest=max(len(row.ids) for row in task.rows),
        longest_answer=max(len(row.ids) - row.answer_start for row in task.rows),
    )
    asked = Training(method="lora", rank=16, alpha=32, batch_size=task.batch, learning_rate=task.learning_rate, seed=task.seed)
    plan = make_plan(asked, base=base, stats=stats, machine=replace(machine.measure(0.3), threads=task.threads))
    plan = replace(plan, steps=task.steps, warmup_steps=1, checkpoint_every=10**6)
    model = attach_adapter(plan, base)
    units = [(row,) for row in task.rows]
    known = sizes(model, units)
    steps = [
        micro_batches(known, range(start, start + task.batch), plan.micro_batch_tokens)
        for start in range(0, task.steps * task.batch, task.batch)
    ]
    ends = [0.0]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            folder=Path(folder), tally=Tally.empty(), watch=lambda tally: ends.append(tally.seconds), stop=threading.Event()
        )
        rows = Rows(units, steps=steps, pad=0, packed=shares(model))
        StepTrainer(model, plan, steps=rows, validation=None, run=run).train()
    save_adapter(model, adapter)
    return [after - before for before, after in pairwise(ends)]


def peer(side: str, task: Task, base: BaseModel, adapter: Path) -> list[float]:
    """TRL's SFTTrainer, or transformers' own Trainer over peft."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

    torch.manual_seed(task.seed)
    tokenizer = load_tokenizer(Path(base.path))
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.bfloat16, local_files_only=True)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
    marks: list[float] = []

    class Watch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            marks.append(-time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks[-1] += time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        arguments: dict[str, Any] = {
            "output_dir": folder,
            "max_steps": task.steps,
            "per_device_train_batch_size": MICRO[side],
            "gradient_accumulation_steps": task.batch // MICRO[side],
            "learning_rate": task.learning_rate,
            "lr_scheduler_type": "linear",
            "warmup_steps": 1,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "optim": "adamw_torch",
            "bf16": True,
            "use_cpu": True,
            "gradient_checkpointing": False,
            "train_sampling_strategy": "sequential",
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "seed": task.seed,
            "dataloader_pin_memory": False,
        }
        if side == "trainer":
            rows = [
                {"input_ids": row.ids, "labels": [-100] * row.answer_start + row.ids[row.answer_start :]} for row in task.rows
            ]
            trainer = Trainer(
                model=get_peft_model(model, lora),
                args=TrainingArguments(**arguments),
                train_dataset=Dataset.from_list(rows),
                data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
                callbacks=[Watch()],
            )
        else:
            trl = importlib.import_module("trl")
            rows = [
                {"input_ids": row.ids, "completion_mask": [int(n >= row.answer_start) for n in range(len(row.ids))]}
                for row in task.rows
            ]
            kinds: dict[str, dict[str, Any]] = {
                "trl": {},
                "trl_padding_free": {"padding_free": True},
                # One packed row holds about the tokens of some rows, so a step still sees ``batch`` rows, about.
                "trl_packing": {"packing": True, "packing_strategy": "bfd", "per_device_train_batch_size": 1},
            }
            longest = max(len(row.ids) for row in task.rows)
            mean = sum(len(row.ids) for row in task.rows) / len(task.rows)
            length = max(longest, round(mean * MICRO[side])) if side == "trl_packing" else None
            config = trl.SFTConfig(**{**arguments, "max_length": length, "completion_only_loss": True, **kinds[side]})
            trainer = trl.SFTTrainer(
                model=model,
                args=config,
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
                peft_config=lora,
                callbacks=[Watch()],
            )
        trainer.train()
    trainer.model.save_pretrained(str(adapter))
    return marks


def validation_loss(task: Task, base: BaseModel, adapter: Path) -> float:
    """Mean over the answers' tokens (nats), of the adapter as anybody would load it, one row at a time."""
    model = load_model(Path(base.path), adapter=adapter, dtype=torch.float32)
    total = count = 0.0
    with torch.no_grad():
        for row in task.validation:
            logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.answer_start - 1 : -1]
            total += float(
                torch.nn.functional.cross_entropy(logits, torch.tensor(row.ids[row.answer_start :]), reduction="sum")
            )
            count += len(row.ids) - row.answer_start
    return total / count


def main(side: str, path: Path) -> None:
    """Train, measure, and say it in one line."""
    task = read(path)
    base = from_json(BaseModel, task.base.encode())
    torch.set_num_threads(task.threads)
    # The peer's libraries stand behind the project's own.
    sys.path.append(str(PEER_FOLDER))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder, "adapter")
        adapter.mkdir()
        seconds = ours(task, base, adapter) if side == "ours" else peer(side, task, base, adapter)
        loss = validation_loss(task, base, adapter) if task.validation else None
    out.write(json.dumps({"seconds": seconds, "loss": loss}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
