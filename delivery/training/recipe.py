"""How to train, by data size and model size: each choice with its reason. Pure.

Sources: LoRA on every linear layer, a learning rate about ten times that of full fine-tuning, and small batches follow
Schulman et al., "LoRA Without Regret" (Thinking Machines Lab, 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

from delivery.artifacts import BaseModel, TokenStats
from delivery.client_config import Training


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides how the weights are learned, and one sentence for each choice."""

    rank: int
    alpha: int
    learning_rate: float
    epochs: float
    batch_size: int
    why: tuple[str, ...]


def choose(training: Training, base: BaseModel, stats: TokenStats) -> Recipe:
    """The recipe for this data and base; what ``training`` pins is kept."""
    rank = training.rank or 16
    alpha = training.alpha or 2 * rank
    rate = 1e-3 if base.parameters < 1e9 else 5e-4 if base.parameters < 4e9 else 2e-4
    batch = 8 if stats.rows < 500 else 16
    epochs = next(e for least, e in ((5000, 2.0), (1000, 3.0), (300, 4.0), (0, 6.0)) if stats.rows >= least)
    size = f"{base.parameters / 1e6:.0f} M parameters"

    def reason(pinned: object, key: str, default: str) -> str:
        return f"{key[0].upper()}{key[1:].replace('_', ' ')} {pinned} as client.yaml asks." if pinned is not None else default

    return Recipe(
        rank=rank,
        alpha=alpha,
        learning_rate=training.learning_rate or rate,
        epochs=training.epochs or epochs,
        batch_size=training.batch_size or batch,
        why=(
            reason(training.rank, "rank", "Rank 16 on every linear layer: far more capacity than a set of this size fills."),
            reason(training.alpha, "alpha", f"Alpha {alpha}: twice the rank."),
            reason(
                training.learning_rate,
                "learning_rate",
                f"Learning rate {rate:g} for {size}: about ten times that of full fine-tuning.",
            ),
            reason(training.batch_size, "batch_size", f"Batches of {batch} rows: LoRA loses by large batches."),
            reason(
                training.epochs, "epochs", f"{epochs:g} passes over {stats.rows} rows: the fewer the rows, the more passes."
            ),
        ),
    )
