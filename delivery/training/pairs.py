"""Learning from pairs: what the run that follows the answers is. Pure.

The preferred answers are learned first, as any answers are. Then direct preference optimization (Rafailov et al., 2023) makes
each preferred answer likelier against its rejected one, measured from the adapter that the first run left, which is both where
it starts and what it is held to.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from delivery.artifacts import Example, PairPlan, Splits, TokenStats, TrainingPlan
from delivery.client_config import Training
from delivery.training.recipe import PairRecipe, Recipe, dpo

_FEWEST_STEPS = 10
_REFERENCE_PASSES = 0.5
"""The starting adapter's own probabilities of all pairs, once: a forward pass is half of what training on them costs."""


def wanted(training: Training, recipe: Recipe, stats: TokenStats) -> PairRecipe | None:
    """The recipe for pairs where there are any and they are not to be left alone."""
    if not stats.pairs or training.preference.epochs == 0:
        return None
    return dpo(training, recipe, stats.pairs)


def passes(recipe: PairRecipe) -> float:
    """Passes over the tokens of all pairs, in units of what training on them once costs."""
    return recipe.epochs + _REFERENCE_PASSES


def plan_pairs(
    recipe: PairRecipe, answers: Recipe, stats: TokenStats, *, token_seconds: float, start_seconds: float, share: float
) -> PairPlan:
    """The run over pairs; ``share`` of its steps where a time bound shortens the run over answers alike."""
    per_epoch = ceil(stats.pairs / recipe.batch_size)
    asked = max(1, round(recipe.epochs * per_epoch))
    steps = min(asked, max(_FEWEST_STEPS, round(share * asked)))
    epochs = steps / per_epoch
    return PairPlan(
        beta=recipe.beta,
        learning_rate=recipe.learning_rate,
        epochs=round(epochs, 4),
        batch_size=recipe.batch_size,
        steps=steps,
        warmup_steps=answers.warmup_steps(steps),
        pairs=stats.pairs,
        predicted_seconds=round(start_seconds + token_seconds * stats.pair_tokens * (epochs + _REFERENCE_PASSES), 1),
    )


def said(plan: PairPlan, recipe: PairRecipe) -> str:
    """What is planned, and why, in a sentence."""
    pinned = f" ({', '.join(recipe.pinned)} as client.yaml asks)" if recipe.pinned else ""
    return (
        f"Then {plan.steps} steps over {plan.pairs} pairs by DPO, beta {plan.beta:g}, learning rate {plan.learning_rate:g}"
        f"{pinned}: the preferred answer is to become likelier than the rejected one, measured from the adapter that learned "
        "the preferred answers."
    )


def pair_run(plan: TrainingPlan) -> TrainingPlan:
    """The plan of the run over pairs."""
    pairs = plan.pairs
    if pairs is None:
        raise ValueError("the plan has no pairs")
    return replace(
        plan,
        beta=pairs.beta,
        learning_rate=pairs.learning_rate,
        epochs=pairs.epochs,
        batch_size=pairs.batch_size,
        steps=pairs.steps,
        warmup_steps=pairs.warmup_steps,
        checkpoint_every=min(pairs.steps, plan.checkpoint_every),
        predicted_seconds=pairs.predicted_seconds,
        dropout=0.0,
        validate_every=0,
        validation_rows=0,
        patience=0,
        pairs=None,
        sweep=(),
    )


def pairs_of(splits: Splits) -> Splits:
    """The sides with the pairs alone."""
    train, validation = (tuple(row for row in rows if row.rejected) for rows in (splits.train, splits.validation))
    return replace(splits, train=train, validation=validation)


def as_rows(examples: tuple[Example, ...]) -> tuple[Example, ...]:
    """Each pair as two rows, the preferred answer and then the rejected one."""
    return tuple(row for one in examples for row in (one, replace(one, answer=one.rejected)))
