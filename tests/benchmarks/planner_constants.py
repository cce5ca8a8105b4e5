"""What a token keeps for the backward pass, counted in the engine: ``python -m tests.benchmarks.planner_constants``.

Small random models of many shapes make one step each through the real layers. Every tensor that autograd saves is counted,
each storage once and no parameter; per layer and token the count is linear in the sizes of ``Shape``, so least squares
gives whole numbers. The last lines are what stands in ``delivery/training/memory.py`` as ``SAVED``: to be copied there
whenever the engine keeps more or less than before. About 20 s, nothing is trained.
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from delivery.artifacts import BaseModel, Machine, Shape, TokenStats
from delivery.client_config import Training
from delivery.training import make_plan
from delivery.training.hf.adapter import attach_adapter
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.rows import MicroBatch, Row, Rows, shares
from delivery.training.memory import PLAIN_ATTENTION_UP_TO, PLAIN_QUERIES, Saved
from delivery.training.packing import blocks
from delivery.weights.folder import shape_of

VOCABULARY = 64
SHAPES = tuple(
    Shape(hidden, intermediate, 2, heads, kv, width, VOCABULARY)
    for hidden, intermediate, heads, kv, width in (
        (64, 192, 4, 2, 16),
        (128, 192, 4, 2, 16),
        (64, 384, 4, 2, 16),
        (64, 192, 8, 2, 16),
        (64, 192, 4, 4, 16),
        (64, 192, 4, 2, 32),
        (192, 320, 6, 3, 32),
        (96, 256, 2, 1, 64),
    )
)
LENGTHS = (32, 200, 700)
CONFIGURATIONS = {"llama": LlamaConfig, "mistral": MistralConfig}
"""Of rows that are packed, and of rows that are not."""


@dataclass(frozen=True, slots=True)
class Case:
    """A way to train."""

    precision: str
    rank: int
    architecture: str = "llama"
    method: str = "lora"


def model_of(shape: Shape, case: Case, *, layers: int) -> Any:
    """A random model of this shape with an adapter, loaded as training loads it."""
    config = CONFIGURATIONS[case.architecture](
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
        base = BaseModel("random", folder, "", "", "", 1_000_000, 8192, shape_of(config.to_dict()))
        plan = make_plan(
            Training(method=case.method, rank=case.rank),
            base=base,
            stats=TokenStats(rows=10, tokens=1000, supervised_tokens=100, longest=100, longest_answer=10),
            machine=Machine("cpu", 1, 2**36, case.precision == "bf16", 1e11),
        )
        return attach_adapter(plan, base).train()


def micro_batch(model: Any, *, rows: int, length: int) -> MicroBatch:
    """Rows of this length that share nothing."""
    draw = random.Random(3)
    # The last token is learned, not read.
    made = [(Row([draw.randrange(VOCABULARY) for _ in range(length + 1)], length - 1),) for _ in range(rows)]
    batch: MicroBatch = Rows(made, steps=[[list(range(rows))]], pad=0, packed=shares(model))[0]["micro_batches"][0]
    return batch


def saved_bytes(model: Any, loss: AnswerLoss, batch: MicroBatch) -> int:
    """Bytes that one micro-batch keeps for its backward pass."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and storage.data_ptr() not in sizes:
            sizes[storage.data_ptr()] = storage.nbytes()
            # Alive, so that no other tensor can take its place in memory.
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(batch)
    return sum(sizes.values())


def kept_scores(batch: MicroBatch) -> float:
    """Scores that are kept for a head, per token."""
    if "layout" not in batch:
        return 0.0
    found = [
        (block.end - block.start) * keys
        for block in blocks(batch["layout"], tokens=PLAIN_QUERIES, cut=True)
        if (keys := block.end - block.own) <= PLAIN_ATTENTION_UP_TO
    ]
    return float(sum(found)) / batch["layout"].tokens


class Observation(NamedTuple):
    """Sizes that a token's bytes may depend on, and the bytes that one more layer keeps for it."""

    sizes: tuple[float, ...]
    bytes: float


class Observer:
    """Models of a shape with two and with three layers."""

    def __init__(self, case: Case, shape: Shape) -> None:
        self._case, self._shape = case, shape
        self._models = [model_of(shape, case, layers=layers) for layers in (2, 3)]
        self._losses = [AnswerLoss(model, precision=case.precision) for model in self._models]

    def observe(self, length: int, *, rows: int = 3) -> Observation:
        """What one more layer keeps for a token, in rows of this length."""
        batch = micro_batch(self._models[0], rows=rows, length=length)
        few, more = (saved_bytes(m, loss, batch) for m, loss in zip(self._models, self._losses, strict=True))
        shape = self._shape
        scores = shape.heads * kept_scores(batch)
        sizes = (shape.hidden, shape.intermediate, shape.query, shape.key, scores, shape.heads, self._case.rank)
        return Observation(sizes, (more - few) / batch["input_ids"].numel())


def observe(case: Case) -> list[Observation]:
    """What every shape keeps, in rows of every length."""
    observers = [Observer(case, shape) for shape in SHAPES]
    observers.append(Observer(replace(case, rank=4 * case.rank), SHAPES[0]))
    return [observer.observe(length) for observer in observers for length in LENGTHS]


def fit(seen: list[Observation]) -> Saved:
    """The constants that explain what was seen, to a quarter of a byte."""
    sizes, kept = np.array([one.sizes for one in seen], dtype=float), np.array([one.bytes for one in seen])
    solved, *_ = np.linalg.lstsq(sizes, kept, rcond=None)
    sys.stderr.write(f"worst error {np.max(np.abs(sizes @ solved - kept) / kept):.2%}\n")
    return Saved(*(round(float(value) * 4) / 4 for value in solved))


def main() -> None:
    """Count and print."""
    torch.set_num_threads(1)
    lines = ["SAVED = {"]
    for precision in ("bf16", "fp32"):
        for architecture in CONFIGURATIONS:
            found = fit(observe(Case(precision, rank=8, architecture=architecture)))
            lines.append(f'    ("{precision}", {architecture == "llama"}): {found},')
    sys.stdout.write("\n".join([*lines, "}", ""]))


if __name__ == "__main__":
    main()
