"""Engine on transformers' Trainer and peft: LoRA on every linear layer, loss on the answers' tokens alone.

What makes it fast on a CPU, each measured on SmolLM2-135M: the frozen base computes in bfloat16 under autocast while the
adapter stays in float32 and peft does not copy inputs to float32; only the positions that predict an answer token reach
the output layer, as a two-dimensional tensor (a batched product would copy the output matrix once per row); opening
tokens that all rows share are computed once per micro-batch; micro-batches hold rows of nearly one length.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from peft.helpers import disable_input_dtype_casting
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from delivery.artifacts import BaseModel, Example, TrainingPlan
from delivery.errors import ConfigError, DeliveryInterrupted
from delivery.training import checkpoints, shared_prefix
from delivery.training.batches import Step, micro_batches, schedule, shared_length, validation_steps
from delivery.training.fused import fuse_updates
from delivery.training.job import TALLY, Tally
from delivery.training.shared_prefix import Layout
from delivery.weights.hf import Rendered, load_config, load_model, render

MicroBatch = dict[str, Any]


def attach_adapter(plan: TrainingPlan, base: BaseModel) -> Any:
    """The frozen base with a fresh adapter, drawn from the plan's seed."""
    dtype = torch.bfloat16 if plan.precision == "bf16" else torch.float32
    shares = shared_prefix.supports(load_config(Path(base.path)))
    shared_prefix.register()
    attention = shared_prefix.NAME if shares else "sdpa"
    model = load_model(Path(base.path), dtype=dtype, attention=attention, nf4=plan.method == "qlora")
    model.config.use_cache = False
    torch.manual_seed(plan.seed)
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        target_modules="all-linear",
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    # Where the base lies on this machine is nobody's business; its name is.
    model.peft_config["default"].base_model_name_or_path = base.name
    fuse_updates(model)
    return model


def save_adapter(model: Any, folder: Path) -> None:
    """The adapter's weights and configuration as two files, the same bytes for the same weights."""
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # A set, which is written in another order by every process.
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def tokenize(tokenizer: Any, examples: Sequence[Example]) -> list[Rendered]:
    """Every example under the chat template, with the start of its answer."""
    return [render(tokenizer, example.messages, example.answer) for example in examples]


class StepCount(NamedTuple):
    """What one optimizer step saw: mean loss over its weighted answer tokens, tokens, those computed, answer tokens."""

    loss: float
    tokens: int
    computed: int
    supervised: int


@dataclass(frozen=True, slots=True)
class Run:
    """Where a training run keeps its checkpoints, what counts so far, who is told, and whether it is to stop."""

    folder: Path
    tally: Tally
    watch: Callable[[Tally], None]
    stop: threading.Event


class Rows(Dataset[dict[str, Any]]):
    """Optimizer steps over tokenized rows; an item is all of a step's micro-batches and its weighted answer tokens.

    ``prefix`` opening tokens are the same in every row, and stand once in a micro-batch (see ``shared_prefix``).
    """

    def __init__(
        self, rows: Sequence[Rendered], weights: Sequence[float], *, steps: Sequence[Step], pad: int, prefix: int = 0
    ) -> None:
        self._rows, self._weights, self._steps = rows, weights, steps
        self._pad, self._prefix = pad, prefix

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> dict[str, Any]:
        batches = [self._collate(rows) for rows in self._steps[index]]
        total = sum(float(batch["weights"].sum()) for batch in batches)
        # Rows of weight nought alone would divide by nothing.
        return {"micro_batches": batches, "total": max(total, 1e-9)}

    def _collate(self, numbers: Sequence[int]) -> MicroBatch:
        prefix, rows = self._prefix, [self._rows[n] for n in numbers]
        width = max(len(row.ids) for row in rows) - prefix
        ids = torch.full((len(rows), width), self._pad)
        positions: list[torch.Tensor] = []
        for line, row in enumerate(rows):
            ids[line, : len(row.ids) - prefix] = torch.tensor(row.ids[prefix:])
            # The position before a token predicts it.
            positions.append(torch.arange(row.answer_start - 1, len(row.ids) - 1) + line * width)
        shared = torch.tensor(rows[0].ids[:prefix], dtype=torch.long)
        tokens = sum(len(row.ids) for row in rows)
        return {
            "input_ids": torch.cat([shared, ids.flatten()])[None],
            "position_ids": torch.cat([torch.arange(prefix), torch.arange(prefix, prefix + width).repeat(len(rows))])[None],
            "layout": Layout(prefix, len(rows), width),
            "positions": torch.cat(positions),
            "targets": torch.tensor([token for row in rows for token in row.ids[row.answer_start :]]),
            "weights": torch.cat(
                [
                    torch.full((len(row.ids) - row.answer_start,), float(self._weights[n]))
                    for n, row in zip(numbers, rows, strict=True)
                ]
            ),
            "tokens": tokens,
            "computed": tokens - prefix * (len(rows) - 1),
        }


def training_rows(model: Any, rows: Sequence[Rendered], weights: Sequence[float], *, plan: TrainingPlan, pad: int) -> Rows:
    """The plan's steps over its training rows."""
    prefix = _prefix_of(model, rows)
    steps = schedule(
        [len(row.ids) - prefix for row in rows],
        batch_size=plan.batch_size,
        micro_batch_tokens=plan.micro_batch_tokens - prefix,
        steps=plan.steps,
        seed=plan.seed,
    )
    return Rows(rows, weights, steps=steps, pad=pad, prefix=prefix)


def validation_rows(model: Any, rows: Sequence[Rendered], weights: Sequence[float], *, plan: TrainingPlan, pad: int) -> Rows:
    """All rows as one step, for their loss."""
    prefix = _prefix_of(model, rows)
    groups = micro_batches([len(row.ids) - prefix for row in rows], range(len(rows)), plan.micro_batch_tokens - prefix)
    return Rows(rows, weights, steps=[groups], pad=pad, prefix=prefix)


def _prefix_of(model: Any, rows: Sequence[Rendered]) -> int:
    if not _shares(model):
        return 0
    return shared_length([row.ids for row in rows], [row.answer_start for row in rows])


def _shares(model: Any) -> bool:
    return bool(model.config._attn_implementation == shared_prefix.NAME)


class AnswerLoss:
    """Sum over a micro-batch's answer tokens of their weighted negative log-likelihood (nats, in float32)."""

    def __init__(self, model: Any, *, precision: str) -> None:
        head = model.get_output_embeddings()
        if head is None:
            raise ConfigError("base_model: this architecture has no output layer to learn answers through; use another base")
        head.register_forward_pre_hook(self._keep_answers)
        self._model = model
        self._shared = _shares(model)
        self._bf16 = precision == "bf16"
        self._positions = torch.empty(0, dtype=torch.long)

    def _keep_answers(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (inputs[0].flatten(0, -2).index_select(0, self._positions),)

    def __call__(self, batch: MicroBatch) -> torch.Tensor:
        """A scalar with gradient; ``batch`` is one that ``Rows`` made."""
        self._positions = batch["positions"]
        ids, layout = batch["input_ids"], batch["layout"]
        inputs: dict[str, Any] = (
            {"input_ids": ids.view(layout.rows, layout.width)}
            if not self._shared
            else {"input_ids": ids, "position_ids": batch["position_ids"], "layout": layout}
        )
        # Autocast already gives the adapter bfloat16 inputs; peft would copy each to float32 and back.
        with disable_input_dtype_casting(self._model, self._bf16), torch.autocast(ids.device.type, torch.bfloat16, self._bf16):
            logits = self._model(**inputs, use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(logits.float(), batch["targets"], reduction="none")
        return torch.dot(losses, batch["weights"])


class StepTrainer(Trainer):
    """transformers' Trainer where an item of the data set is a whole optimizer step.

    Trainer wants micro-batches of one number of rows, the same number in each step, and scales their losses alike. Here
    they follow the rows' lengths, and each token of a step counts alike. What is its own otherwise (optimizer, schedule,
    clipping, skipping to the step of a checkpoint) is left as it is. Checkpoints appear whole or not at all.
    """

    def __init__(self, model: Any, plan: TrainingPlan, *, steps: Rows, validation: Rows | None, run: Run) -> None:
        super().__init__(model=model, args=_arguments(plan, run.folder), train_dataset=steps)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Pace(self))
        self.tally = run.tally
        self._plan, self._validation, self._run = plan, validation, run
        self._answer_loss = AnswerLoss(model, precision=plan.precision)
        self._step = StepCount(0.0, 0, 0, 0)
        self._validate_at = frozenset(validation_steps(plan.steps))

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Steps in the order in which they were planned."""
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=itemgetter(0))

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Gradients of one whole step: the mean loss over its weighted answer tokens."""
        model.train()
        loss = torch.zeros((), device=self.args.device)
        tokens = computed = supervised = 0
        for batch in inputs["micro_batches"]:
            self._leave_if_asked()
            part = self._answer_loss(self._prepare_inputs(batch)) / inputs["total"]
            self.accelerator.backward(part)
            loss += part.detach()
            tokens += batch["tokens"]
            computed += batch["computed"]
            supervised += len(batch["targets"])
        self._step = StepCount(loss.item(), tokens, computed, supervised)
        if not math.isfinite(self._step.loss):
            raise ConfigError(
                f"training: the loss is no longer finite at step {self.state.global_step + 1}; "
                f"set training.learning_rate below {self._plan.learning_rate:g}"
            )
        return loss

    def count_step(self, seconds: float) -> None:
        """Add the step that has just ended, and took this long, to the tally; a step that was left does not count."""
        self.tally.seconds += seconds
        self.tally.tokens += self._step.tokens
        self.tally.computed_tokens += self._step.computed
        self.tally.supervised_tokens += self._step.supervised
        self.tally.losses.append(self._step.loss)
        self._run.watch(self.tally)

    def resume_tally(self, tally: Tally) -> None:
        """Go on counting from a checkpoint's tally."""
        self.tally = tally

    def wants_validation(self) -> bool:
        """Whether the validation loss is due at the present step and not known."""
        return self.state.global_step in self._validate_at and str(self.state.global_step) not in self.tally.validation

    def wants_checkpoint(self) -> bool:
        """Whether the present step is one to save."""
        step = self.state.global_step
        return step % self._plan.checkpoint_every == 0 or step == self._plan.steps

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Mean loss over the validation rows' weighted answer tokens, noted in the tally."""
        if self._validation is None:
            return {}
        self.model.eval()
        total = weight = 0.0
        with torch.no_grad():
            for index in range(len(self._validation)):
                item = self._validation[index]
                weight += item["total"]
                for batch in item["micro_batches"]:
                    self._leave_if_asked()
                    total += float(self._answer_loss(self._prepare_inputs(batch)))
        self.tally.validation[str(self.state.global_step)] = total / weight
        return {"eval_loss": total / weight}

    def save_now(self) -> None:
        """A checkpoint of the last whole step, unless that one has been saved."""
        if self.state.global_step and not (self._run.folder / f"checkpoint-{self.state.global_step}").is_dir():
            self._save_checkpoint(self.model, None)

    def floating_point_ops(self, _: Any) -> int:
        """Not Trainer's count, which knows neither frozen weights nor steps of several micro-batches."""
        return 0

    def _leave_if_asked(self) -> None:
        if self._run.stop.is_set():
            raise DeliveryInterrupted(f"training was stopped after step {self.state.global_step}; 'delivery resume' goes on")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # Without Trainer's copy of its arguments, which is a pickle, and without peft's look at the hub.
        self.model.save_pretrained(output_dir or self.args.output_dir, safe_serialization=True, save_embedding_layers=False)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        name = f"checkpoint-{self.state.global_step}"
        partial = self._run.folder / ".partial"
        self.args.output_dir = str(partial)
        try:
            super()._save_checkpoint(model, trial)
            self.tally.write(partial / name / TALLY)
            checkpoints.commit(partial / name, self._run.folder / name)
        except BaseException:
            # On a full disk, half a checkpoint would take the room that the next attempt needs.
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            self.args.output_dir = str(self._run.folder)


class _Pace(TrainerCallback):
    """When to validate and to save, and how long each step took."""

    def __init__(self, trainer: StepTrainer) -> None:
        self._trainer = trainer
        self._started = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        # An attempt may have been stopped between the checkpoint of a step and its validation.
        if self._trainer.wants_validation():
            self._trainer.evaluate()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.count_step(time.perf_counter() - self._started)
        control.should_evaluate = self._trainer.wants_validation()
        control.should_save = self._trainer.wants_checkpoint()


def _arguments(plan: TrainingPlan, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=plan.steps,
        per_device_train_batch_size=1,
        learning_rate=plan.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=plan.warmup_steps,
        optim="adamw_torch",
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=plan.seed,
        use_cpu=plan.machine.device == "cpu",
        dataloader_pin_memory=plan.machine.device != "cpu",
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
    )
