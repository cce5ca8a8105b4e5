"""Try a few combinations briefly, choose by the loss on validation rows, and train the best one to the end.

Every point sees the same rows in the same order and lets its learning rate fall to zero over its own few steps, so the points
are whole small runs that compare like with like. The test rows have no part in it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from delivery.artifacts import SweepPoint, TokenStats, TrainingPlan
from delivery.client_config import Training
from delivery.errors import ConfigError
from delivery.training.recipe import Recipe

_VALIDATION_ROWS = 256
_FEWEST_STEPS = 10


def plan_points(
    training: Training, recipe: Recipe, stats: TokenStats, *, steps: int, step_seconds: float, start_seconds: float
) -> tuple[SweepPoint, ...]:
    """The points that ``training.sweep`` asks for, none where it asks for none; ``steps`` are those of the run that is kept.

    Raises:
        ConfigError: there is no validation row to choose by.
    """
    wish = training.sweep
    if wish is None:
        return ()
    if not stats.validation_rows:
        raise ConfigError("training.sweep: there are no validation rows to choose by; raise data.splits.validation")
    share = min(steps, max(_FEWEST_STEPS, round(wish.share * steps)))
    seconds = start_seconds + share * step_seconds
    return tuple(
        SweepPoint(learning_rate=rate, rank=rank, steps=share, predicted_seconds=round(seconds, 1))
        for rate, rank in product(wish.learning_rate or (recipe.learning_rate,), wish.rank or (recipe.rank,))
    )


def point_plan(plan: TrainingPlan, point: SweepPoint) -> TrainingPlan:
    """The short run of one point: the plan's own, with one look at the validation loss, at its end."""
    return replace(
        plan,
        rank=point.rank,
        learning_rate=point.learning_rate,
        steps=point.steps,
        epochs=round(plan.epochs * point.steps / plan.steps, 4),
        warmup_steps=max(1, plan.warmup_steps * point.steps // plan.steps),
        validate_every=point.steps,
        validation_rows=_VALIDATION_ROWS,
        patience=0,
        pairs=None,
        sweep=(),
    )


def choose_point(plan: TrainingPlan, tried: Sequence[SweepPoint]) -> TrainingPlan:
    """The plan with the best of the points that were tried; of equals the first."""
    best = min(tried, key=lambda point: (point.validation is None, point.validation))
    shown = "; ".join(
        f"{point.learning_rate:g} at rank {point.rank}: {point.validation:.4f}"
        for point in tried
        if point.validation is not None
    )
    seconds = sum(point.seconds or 0.0 for point in tried)
    return replace(
        plan,
        learning_rate=best.learning_rate,
        rank=best.rank,
        sweep=tuple(tried),
        why=(
            *plan.why,
            f"The sweep chose learning rate {best.learning_rate:g} at rank {best.rank} by the loss on validation rows after "
            f"{best.steps} steps ({shown}); it took {seconds:.0f} s.",
        ),
    )
