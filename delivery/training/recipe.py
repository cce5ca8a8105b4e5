"""How to train, by data size and model size: named recipes, each choice with its reason. Pure.

Sources: every linear layer, a learning rate about ten times that of full fine-tuning which hardly depends on the rank, alpha
32 whatever the rank, and batches under 32 follow Schulman et al., "LoRA Without Regret" (Thinking Machines Lab, 2025), and so
does the capacity of about two bits a parameter. A 4-bit base that loses nothing against 16 bits, with lower rates for the
largest models: Dettmers et al., "QLoRA" (2023). alpha / sqrt(rank): Kalajdzievski, "A Rank Stabilization Scaling Factor for
Fine-Tuning with LoRA" (2023). Pairs: Rafailov et al., "Direct Preference Optimization" (2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

from delivery.artifacts import BaseModel, TokenStats
from delivery.client_config import Training
from delivery.training.memory import adapter_parameters, shape_of

_ALPHA = 32
_RANK = 16
_LARGEST_RANK = 256
_BITS_PER_PARAMETER = 2.0
_WARMUP, _WARMUP_STEPS = 0.05, 100
"""Share of the steps over which the rate rises, and at most how many. LoRA needs little: its update starts at nought."""
_PAIR_RATE = 1 / 20
"""Of the rate for answers. DPO was published with a rate of 1e-6 for all weights of 7 B models: 1e-5 for an adapter's, where
answers take 2e-4."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides how the weights are learned. ``reasons`` gives one sentence for each choice, by its key."""

    method: Literal["lora", "qlora"]
    rank: int
    alpha: int
    rslora: bool
    targets: tuple[str, ...]
    dropout: float
    learning_rate: float
    epochs: float
    batch_size: int
    warmup: float
    reasons: Mapping[str, str]

    @property
    def why(self) -> tuple[str, ...]:
        """The reasons, in the order in which they are read."""
        return tuple(self.reasons.values())

    def warmup_steps(self, steps: int) -> int:
        """Steps over which the learning rate rises."""
        return max(1, min(_WARMUP_STEPS, int(steps * self.warmup)))


@dataclass(frozen=True, slots=True)
class PairRecipe:
    """How pairs of a preferred and a rejected answer are learned from; ``pinned`` names what client.yaml asks for."""

    beta: float
    learning_rate: float
    epochs: float
    batch_size: int
    pinned: tuple[str, ...]


def lora(base: BaseModel, stats: TokenStats) -> Recipe:
    """LoRA on 16-bit base weights."""
    rank = _rank(base, stats)
    size = f"{base.parameters / 1e6:.0f} M parameters"
    rate = next(r for below, r in ((1e9, 1e-3), (4e9, 5e-4), (30e9, 2e-4), (float("inf"), 1e-4)) if base.parameters < below)
    batch = 8 if stats.rows < 500 else 16
    epochs = next(e for least, e in ((50_000, 2.0), (1000, 3.0), (300, 4.0), (0, 6.0)) if stats.rows >= least)
    return Recipe(
        method="lora",
        rank=rank,
        alpha=_ALPHA,
        rslora=False,
        targets=("all",),
        dropout=0.0,
        learning_rate=rate,
        epochs=epochs,
        batch_size=batch,
        warmup=_WARMUP,
        reasons={
            "rank": f"Rank {rank} holds some {_capacity(base, rank) / 1e6:.0f} Mbit, the answers to learn at most "
            f"{stats.supervised_tokens / 1e6:.2g}: capacity to spare.",
            "alpha": f"Alpha {_ALPHA} whatever the rank, so that the best learning rate hardly depends on it.",
            "targets": "An adapter on every linear layer: on attention alone more rank does not make up for the rest.",
            "learning_rate": f"Learning rate {rate:g} for {size}: about ten times that of full fine-tuning.",
            "batch_size": f"Batches of {batch} rows: LoRA loses by large batches.",
            "epochs": f"{epochs:g} passes over {stats.rows} rows: the fewer the rows, the more passes.",
        },
    )


def qlora(base: BaseModel, stats: TokenStats) -> Recipe:
    """LoRA on base weights in NF4 with double quantization; everything else as without, which loses nothing by it."""
    return replace(lora(base, stats), method="qlora")


def rslora(recipe: Recipe) -> Recipe:
    """A recipe with the update scaled by alpha / sqrt(rank): at the usual rank as large as without, steady above it."""
    alpha = round(_ALPHA / sqrt(_RANK))
    said = (
        f"Alpha {alpha} over the root of the rank: as strong as alpha {_ALPHA} at rank {_RANK}, and high ranks go on learning."
    )
    return replace(recipe, rslora=True, alpha=alpha, reasons={**recipe.reasons, "alpha": said})


def warm(recipe: Recipe) -> Recipe:
    """A recipe that starts from a trained adapter: half the passes at half the rate, reached over a longer rise."""
    reasons = {
        **recipe.reasons,
        "learning_rate": f"Learning rate {recipe.learning_rate / 2:g}, half of the usual: what is known is to be kept.",
        "epochs": f"{recipe.epochs / 2:g} passes, half of the usual: most rows were learned before.",
    }
    return replace(
        recipe, learning_rate=recipe.learning_rate / 2, epochs=recipe.epochs / 2, warmup=2 * recipe.warmup, reasons=reasons
    )


def dpo(training: Training, recipe: Recipe, pairs: int) -> PairRecipe:
    """Direct preference optimization on top of the answers that ``recipe`` taught; what ``training`` pins is kept."""
    wish = training.preference
    return PairRecipe(
        beta=wish.beta or 0.1,
        learning_rate=wish.learning_rate or recipe.learning_rate * _PAIR_RATE,
        epochs=wish.epochs if wish.epochs is not None else 1.0 if pairs >= 1000 else 3.0,
        batch_size=recipe.batch_size,
        pinned=tuple(key for key in ("beta", "epochs", "learning_rate") if getattr(wish, key) is not None),
    )


def choose(training: Training, base: BaseModel, stats: TokenStats, *, method: str = "lora", started: bool = False) -> Recipe:
    """The recipe for this data and base; what ``training`` pins is kept. ``started``: from a trained adapter."""
    recipe = qlora(base, stats) if method == "qlora" else lora(base, stats)
    if training.sweep is not None:
        # The plan has to have room for the largest rank.
        swept = {
            key: f"The {key.replace('_', ' ')} comes from the sweep."
            for key in ("learning_rate", "rank")
            if getattr(training.sweep, key)
        }
        recipe = replace(recipe, rank=max(training.sweep.rank, default=recipe.rank), reasons={**recipe.reasons, **swept})
    if training.rslora:
        recipe = rslora(recipe)
    if started:
        recipe = warm(recipe)
    pins: dict[str, object] = {
        key: getattr(training, key)
        for key in ("rank", "alpha", "dropout", "learning_rate", "batch_size", "epochs")
        if getattr(training, key) is not None
    }
    if training.targets != recipe.targets:
        pins["targets"] = training.targets
    reasons = dict(recipe.reasons)
    for key, value in pins.items():
        shown = ", ".join(value) if isinstance(value, tuple) else value
        reasons[key] = f"{key[0].upper()}{key[1:].replace('_', ' ')} {shown} as client.yaml asks."
    return replace(recipe, **pins, reasons=reasons)  # type: ignore[arg-type]


def _rank(base: BaseModel, stats: TokenStats) -> int:
    """The usual rank, doubled until the adapter holds what the answers say at one bit a token."""
    rank = _RANK
    while rank < _LARGEST_RANK and _capacity(base, rank) < stats.supervised_tokens:
        rank *= 2
    return rank


def _capacity(base: BaseModel, rank: int) -> float:
    return _BITS_PER_PARAMETER * adapter_parameters(shape_of(base), rank)
