"""What went wrong in a training run, as far as it decides how the run goes on. Pure but for its file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from delivery.artifacts import TrainingPlan, from_json, to_json, write_atomic
from delivery.errors import ConfigError, DeliveryError

APART = 100
"""Steps. A second batch within so many steps of one that was left out is no accident: the run has diverged."""


class NotFiniteError(ArithmeticError):
    """Loss or gradient of a step is not a finite number. ``step`` counts from 0."""

    def __init__(self, step: int) -> None:
        super().__init__(f"loss or gradient of step {step + 1} is not a finite number")
        self.step = step


@dataclass(frozen=True, slots=True)
class Troubles:
    """Kept beside the checkpoints, so that a run which is stopped and resumed goes on as one that was not.

    ``skipped`` are the steps (from 0) whose batch is left out; ``micro_batch_tokens`` is what the plan's were cut to.
    """

    skipped: tuple[int, ...] = ()
    micro_batch_tokens: int | None = None
    restarts: int = 0
    notes: tuple[str, ...] = ()
    """One sentence for each thing that changed the weights; for the report."""

    @classmethod
    def read(cls, path: Path) -> Troubles:
        """What an earlier attempt left; none where there is no such file."""
        with suppress(OSError, ValidationError):
            return from_json(cls, path.read_bytes())
        return cls()

    def write(self, path: Path) -> None:
        """Keep it, for good, before the next attempt starts."""
        write_atomic(path, to_json(self))

    def changed(self, plan: TrainingPlan) -> TrainingPlan:
        """The plan as the next attempt carries it out: the same rows in the same steps, perhaps in smaller micro-batches."""
        return plan if self.micro_batch_tokens is None else replace(plan, micro_batch_tokens=self.micro_batch_tokens)

    def leave_out(self, step: int, plan: TrainingPlan) -> Troubles:
        """Go on without the batch of a step (from 0) that gave no finite loss or gradient.

        Raises:
            ConfigError: it was left out already, or another one shortly before or after it.
        """
        near = next((earlier for earlier in self.skipped if abs(earlier - step) <= APART), None)
        if near is not None:
            raise ConfigError(
                f"training: the loss is no longer finite at step {step + 1}, after the batch of step {near + 1} had been left "
                f"out for the same reason; set training.learning_rate below {plan.learning_rate:g}"
            )
        note = f"The batch of step {step + 1} was left out: its loss or gradient was not a finite number."
        return replace(self, skipped=tuple(sorted({*self.skipped, step})), notes=(*self.notes, note))

    def halve(self, plan: TrainingPlan, *, killed: bool) -> Troubles:
        """Go on with half the tokens in a micro-batch, but never less than the longest row; the same rows make a step.

        Raises:
            ConfigError, DeliveryError: a micro-batch is a single row of the greatest length already.
        """
        before = self.changed(plan).micro_batch_tokens
        after = max(before // 2, plan.stats.longest)
        if after < before:
            note = f"Micro-batches were cut from {before} to {after} tokens when memory ran out; each step has the same rows."
            return replace(self, micro_batch_tokens=after, notes=(*self.notes, note))
        if killed:
            raise DeliveryError(
                "training: its process was killed again and again, most often because memory ran out; close other programs or "
                "choose a smaller base_model, then 'delivery resume' goes on from the last checkpoint"
            )
        other = "set training.method qlora" if plan.method == "lora" else "choose a smaller base_model"
        raise ConfigError(f"training: memory is full even with micro-batches of one row ({before} tokens); {other}")
