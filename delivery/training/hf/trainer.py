"""Optimizer steps by transformers' Trainer, with checkpoints that are whole or not there."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from delivery.artifacts import TrainingPlan
from delivery.errors import ConfigError, DeliveryInterrupted
from delivery.training import checkpoints
from delivery.training.hf.kept import KeptWeights
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.pairs import PairLoss
from delivery.training.hf.rows import MicroBatch, Rows
from delivery.training.job import TALLY, Tally
from delivery.training.stopping import best_step, is_spent, looks_of


class EnoughError(Exception):
    """Looking further at the validation loss is in vain: training is over, before its last step."""


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
        answer_loss = AnswerLoss(model, precision=plan.precision)
        self._loss = PairLoss(answer_loss, plan.beta) if plan.beta else answer_loss
        self._step = StepCount(0.0, 0, 0, 0)
        self._validate_at = frozenset(looks_of(plan))
        self.kept = KeptWeights(model)

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
            part = self._loss(self._prepare_inputs(batch)) / inputs["total"]
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

    def is_spent(self) -> bool:
        """Whether the validation loss has stopped falling for as long as the plan waits."""
        return is_spent(self.tally.validation, self._plan.patience)

    def wants_validation(self) -> bool:
        """Whether the validation loss is due at the present step and not known."""
        return self.state.global_step in self._validate_at and str(self.state.global_step) not in self.tally.validation

    def wants_checkpoint(self) -> bool:
        """Whether the present step is one to save."""
        step = self.state.global_step
        return step % self._plan.checkpoint_every == 0 or step == self._plan.steps

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Mean loss over the validation rows' weighted answer tokens (or pairs), noted in the tally.

        Raises:
            EnoughError: it has stopped falling for as long as the plan waits.
        """
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
                    total += float(self._loss(self._prepare_inputs(batch)))
        self.tally.validation[str(self.state.global_step)] = total / weight
        if self._plan.patience and best_step(self.tally.validation) == self.state.global_step:
            self.kept.keep()
        if self.is_spent():
            raise EnoughError
        return {"eval_loss": total / weight}

    def margins(self, batch: MicroBatch) -> torch.Tensor:
        """By how much the model prefers the preferred answers of a micro-batch of pairs (see ``PairLoss.margins``)."""
        if not isinstance(self._loss, PairLoss):
            raise TypeError("this run learns answers, not pairs")
        self._leave_if_asked()
        self.model.eval()
        return self._loss.margins(self._prepare_inputs(batch))

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
            self.kept.write(partial / name)
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
        if self._trainer.is_spent():
            raise EnoughError
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
