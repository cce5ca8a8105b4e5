"""Optimizer steps by transformers' Trainer, with checkpoints that are whole or not there."""

from __future__ import annotations

import hashlib
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from delivery.artifacts import TrainingPlan
from delivery.errors import DeliveryInterrupted
from delivery.training import checkpoints
from delivery.training.hf.kept import KeptWeights
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.pairs import PairLoss
from delivery.training.hf.rows import MicroBatch, Rows
from delivery.training.hf.world import ALONE, World
from delivery.training.job import TALLY, Tally
from delivery.training.pace import Pace
from delivery.training.stopping import best_step, is_spent, looks_of
from delivery.training.troubles import NotFiniteError


class EnoughError(Exception):
    """Looking further at the validation loss is in vain: training is over, before its last step."""


class StepCount(NamedTuple):
    """What one optimizer step saw: mean loss over its weighted answer tokens, tokens, those computed, answer tokens."""

    loss: float | None
    tokens: int
    computed: int
    supervised: int


@dataclass(frozen=True, slots=True)
class Run:
    """Where a training run keeps its checkpoints, what counts so far, who is told, and whether it is to stop.

    ``world`` are the processes that share the work, ``beat`` is called with every micro-batch, ``skipped`` are steps (from
    0) whose batch is left out, and ``pace`` says when a checkpoint is due.
    """

    folder: Path
    tally: Tally
    watch: Callable[[Tally], None]
    stop: threading.Event
    world: World = ALONE
    beat: Callable[[], None] = lambda: None
    skipped: frozenset[int] = frozenset()
    pace: Pace = field(default_factory=Pace)


class StepTrainer(Trainer):
    """transformers' Trainer where an item of the data set is a whole optimizer step.

    Trainer wants micro-batches of one number of rows, the same number in each step, and scales their losses alike. Here
    they follow the rows' lengths, and each token of a step counts alike. What is its own otherwise (optimizer, schedule,
    clipping, skipping to the step of a checkpoint) is left as it is. Checkpoints appear whole or not at all.
    """

    def __init__(self, model: Any, plan: TrainingPlan, *, steps: Rows, validation: Rows | None, run: Run) -> None:
        super().__init__(model=model, args=_arguments(plan, run.folder), train_dataset=steps)
        # Accelerate places the model and wraps it in nothing: gradients are summed here, once a step, so processes may
        # compute as many micro-batches as fall to them.
        self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Clock(self))
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
        """Gradients of one whole step: the mean loss over its weighted answer tokens.

        Raises:
            NotFiniteError: the loss is no finite number.
            DeliveryInterrupted: it was asked to stop.
        """
        model.train()
        loss = torch.zeros((), device=self.args.device)
        step, counts = self.state.global_step, [0, 0, 0]
        if step in self._run.skipped:
            # Without gradients AdamW leaves weights and moments as they are; the schedule goes on.
            self._step = StepCount(None, *counts)
            return loss
        for number, batch in self._passes(inputs["micro_batches"]):
            # Dropout hangs on the seed, the step and the micro-batch alone: not on what was drawn before, nor by whom.
            torch.manual_seed(_seed(self._plan.seed, step, batch["number"]))
            part = self._loss(self._prepare_inputs(batch)) / inputs["total"]
            self.accelerator.backward(part if number is not None else part * 0.0)
            if number is not None:
                loss += part.detach()
                counts = [
                    a + b for a, b in zip(counts, (batch["tokens"], batch["computed"], len(batch["targets"])), strict=True)
                ]
        self._run.world.sum_gradients(model.parameters())
        whole, *sums = self._sum([loss.item(), *counts])
        self._step = StepCount(whole, *(int(count) for count in sums))
        if not math.isfinite(whole):
            raise NotFiniteError(step)
        return loss

    def _passes(self, batches: Sequence[MicroBatch]) -> Iterator[tuple[int | None, MicroBatch]]:
        """What this process has to compute, each with its number; None for a pass whose result does not count."""
        for number in self._run.world.share([batch["computed"] for batch in batches]):
            # Processes that gather weights together stop together, at the end of the step.
            if self._run.stop.is_set() and not self._run.world.sharded:
                break
            self._run.beat()
            yield number, {**batches[number or 0], "number": number or 0}

    def _sum(self, counts: list[float]) -> list[float]:
        """Counts summed over all processes, who thereby also learn that one of them was asked to stop."""
        *sums, stopped = self._run.world.sum([*counts, float(self._run.stop.is_set())], self.args.device)
        if stopped:
            raise DeliveryInterrupted(f"training was stopped after step {self.state.global_step}; 'delivery resume' goes on")
        return sums

    def _clip_grad_norm(self, model: Any) -> torch.Tensor:
        norm: torch.Tensor = super()._clip_grad_norm(model)
        if not bool(torch.isfinite(norm)):
            raise NotFiniteError(self.state.global_step)
        return norm

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
        return step % self._plan.checkpoint_every == 0 or step == self._plan.steps or self._run.pace.due()

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
                for number, batch in self._passes(item["micro_batches"]):
                    loss = float(self._loss(self._prepare_inputs(batch)))
                    total += loss if number is not None else 0.0
        (total,) = self._sum([total])
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
        if self._run.stop.is_set() and not self._run.world.sharded:
            raise DeliveryInterrupted("training was stopped between steps; 'delivery resume' goes on")
        self._run.beat()
        self.model.eval()
        return self._loss.margins(self._prepare_inputs(batch))

    def save_now(self) -> None:
        """A checkpoint of the last whole step, unless that one has been saved."""
        if self.state.global_step and not (self._run.folder / f"checkpoint-{self.state.global_step}").is_dir():
            self._save_checkpoint(self.model, None)

    def floating_point_ops(self, _: Any) -> int:
        """Not Trainer's count, which knows neither frozen weights nor steps of several micro-batches."""
        return 0

    def store_flos(self) -> None:
        """Nothing to store; Trainer would ask all processes, and only the first one saves."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # Without Trainer's copy of its arguments, which is a pickle, and without peft's look at the hub.
        self.model.save_pretrained(output_dir or self.args.output_dir, safe_serialization=True, save_embedding_layers=False)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self._run.world.first:
            # All have the same adapter, optimizer and tally, and draw nothing that outlives a micro-batch.
            self._run.pace.saved(0.0)
            return
        started = time.perf_counter()
        self._run.beat()
        name = f"checkpoint-{self.state.global_step}"
        half = self._run.folder / ".partial"
        self.args.output_dir = str(half)
        try:
            super()._save_checkpoint(model, trial)
            self.tally.write(half / name / TALLY)
            self.kept.write(half / name)
            checkpoints.commit(half / name, self._run.folder / name)
        finally:
            # On a full disk, half a checkpoint would take the room that the next attempt needs.
            shutil.rmtree(half, ignore_errors=True)
            self.args.output_dir = str(self._run.folder)
        self._run.beat()
        self._run.pace.saved(time.perf_counter() - started)


def _seed(seed: int, step: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{number}".encode()).digest()[:8])


class _Clock(TrainerCallback):
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
