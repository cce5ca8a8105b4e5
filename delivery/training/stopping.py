"""When the validation loss is looked at, which look's weights ship, and when looking further is in vain. Pure.

Everything is decided by the losses that the tally holds, so a run that was killed decides as one that was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from delivery.artifacts import TrainingPlan
from delivery.errors import ConfigError
from delivery.training.batches import validation_rows, validation_steps

_LOOKS = 10
_FEWEST_LOOKS = 5
_FEWEST_ROWS = 50
_MOST_ROWS = 256
_PATIENCE = 3
_SHARE = 0.1
"""Of the training time that the looks may take together."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Steps between two looks (0: after each third), rows per look, looks to wait for a better one (0: no stopping)."""

    every: int
    rows: int
    patience: int
    why: str


class Kept(NamedTuple):
    """The step whose weights ship, and a sentence on why."""

    step: int
    why: str


def plan_looks(wish: bool | None, *, rows: int, steps: int, batch_size: int) -> Looks:
    """The looks for this many validation rows; ``wish`` None stops early where rows and time suffice to judge by.

    Raises:
        ConfigError: stopping early is asked for, and there is no validation row.
    """
    if wish and not rows:
        raise ConfigError("training.early_stopping: there are no validation rows to stop by; raise data.splits.validation")
    # A forward pass is half of what training on a row costs.
    affordable = int(_SHARE / 0.5 * steps * batch_size)
    seen = min(rows, _MOST_ROWS, max(_FEWEST_ROWS, affordable // _LOOKS))
    looks = min(_LOOKS, steps, affordable // seen if seen else 0)
    enough = rows >= _FEWEST_ROWS and looks >= _FEWEST_LOOKS
    if wish is False or not (wish or enough):
        why = (
            "client.yaml asks for it"
            if wish is False
            else f"{rows} validation rows are too few to judge by"
            if rows < _FEWEST_ROWS
            else "the run is too short to look at the validation loss often"
        )
        return Looks(0, min(rows, validation_rows(steps, batch_size)), 0, f"No early stopping, the last weights ship: {why}.")
    looks = max(looks, min(_FEWEST_LOOKS, steps))
    every = -(-steps // looks)
    asked = " as client.yaml asks" if wish else ""
    return Looks(
        every,
        seen,
        _PATIENCE,
        f"Early stopping{asked}: the loss on {seen} validation rows every {every} steps; the best look's weights ship, "
        f"and {_PATIENCE} looks without a better one end training.",
    )


def looks_of(plan: TrainingPlan) -> tuple[int, ...]:
    """After which steps the validation loss is looked at, the last step included."""
    if not plan.validate_every:
        return validation_steps(plan.steps)
    return (*range(plan.validate_every, plan.steps, plan.validate_every), plan.steps)


def rows_of(plan: TrainingPlan) -> int:
    """How many validation rows a look takes at most."""
    return plan.validation_rows or validation_rows(plan.steps, plan.batch_size)


def best_step(validation: Mapping[str, float]) -> int:
    """The step with the lowest loss, the earliest of equals; 0 where none was looked at."""
    return int(min(validation, key=lambda step: (validation[step], int(step)), default="0"))


def is_spent(validation: Mapping[str, float], patience: int) -> bool:
    """Whether ``patience`` looks in a row, the newest included, were no better than the best before them."""
    after = sum(int(step) > best_step(validation) for step in validation)
    return 0 < patience <= after


def what_was_kept(plan: TrainingPlan, validation: Mapping[str, float], steps: int) -> Kept:
    """The step whose weights ship, and a sentence on why."""
    if not plan.patience:
        return Kept(steps, f"The weights after the last step ({steps}) ship.")
    best = best_step(validation)
    loss = f"the lowest validation loss ({validation[str(best)]:.3f})"
    if steps < plan.steps:
        return Kept(
            best,
            f"Stopped after step {steps} of {plan.steps}: {plan.patience} looks brought no better validation loss. "
            f"The weights of step {best} ship, with {loss}.",
        )
    return Kept(best, f"Ran to the last step ({steps}); the weights of step {best} ship, with {loss}.")
