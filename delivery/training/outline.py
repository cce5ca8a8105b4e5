"""What a plan holds beside its steps: looks at the validation loss, the run over pairs, the sweep, where it starts. Pure."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from delivery.artifacts import TokenStats, TrainingPlan
from delivery.client_config import Training
from delivery.training import pairs, sweep
from delivery.training.recipe import Recipe
from delivery.training.stopping import plan_looks


def seconds_for_answers(training: Training, recipe: Recipe, stats: TokenStats, *, start_seconds: float) -> float | None:
    """What ``training.max_minutes`` leaves for learning the answers; the sweep and the pairs have their parts of it."""
    if training.max_minutes is None:
        return None
    others, starts = 0.0, 0
    if training.sweep is not None:
        starts = max(1, len(training.sweep.learning_rate)) * max(1, len(training.sweep.rank))
        others = training.sweep.share * starts
    wanted = pairs.wanted(training, recipe, stats)
    if wanted is not None:
        starts += 1
        others += pairs.passes(wanted) * stats.pair_tokens / (recipe.epochs * stats.tokens)
    return max(0.0, training.max_minutes * 60 - starts * start_seconds) / (1.0 + others)


def extend(
    plan: TrainingPlan, training: Training, recipe: Recipe, *, step_seconds: float, start_seconds: float, asked: int
) -> TrainingPlan:
    """A plan whose steps stand, with all that follows from the recipe; ``asked`` steps were wanted without a time bound.

    Raises:
        ConfigError: early stopping or a sweep is asked for, and there is no validation row.
    """
    stats = plan.stats
    looks = plan_looks(training.early_stopping, rows=stats.validation_rows, steps=plan.steps, batch_size=plan.batch_size)
    wanted = pairs.wanted(training, recipe, stats)
    token_seconds = step_seconds * ceil(stats.rows / plan.batch_size) / stats.tokens
    points = sweep.plan_points(
        training, recipe, stats, steps=plan.steps, step_seconds=step_seconds, start_seconds=start_seconds
    )
    why, pair_plan = [looks.why], None
    if wanted is not None:
        pair_plan = pairs.plan_pairs(
            wanted, recipe, stats, token_seconds=token_seconds, start_seconds=start_seconds, share=plan.steps / asked
        )
        why.append(pairs.said(pair_plan, wanted))
    if points:
        seconds = sum(point.predicted_seconds for point in points)
        why.append(
            f"Before that, a sweep of {len(points)} combinations for {points[0].steps} steps each, chosen by the loss on "
            f"validation rows: about {seconds:.0f} s in all."
        )
    return replace(
        plan,
        rslora=recipe.rslora,
        targets=recipe.targets,
        dropout=recipe.dropout,
        validate_every=looks.every,
        validation_rows=looks.rows,
        patience=looks.patience,
        pairs=pair_plan,
        sweep=points,
        why=(*plan.why, *why),
    )


def from_start(plan: TrainingPlan, sha256: str, why: str) -> TrainingPlan:
    """The plan, starting from the adapter with this hash (a fresh one where it is empty), and the reason."""
    return replace(plan, start=sha256, why=(*plan.why, why))
