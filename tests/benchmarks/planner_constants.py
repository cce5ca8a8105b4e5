"""What a token keeps for the backward pass, counted in the engine: ``python -m tests.benchmarks.planner_constants``.

Small random models of many shapes make one step each through the real layers. Every tensor that autograd saves is counted,
each storage once and no parameter; per layer and token the count is linear in the sizes of ``Shape``, so least squares
gives whole numbers. The last line is what stands in ``delivery/training/memory.py`` as ``SAVED``: to be copied there
whenever the engine keeps more or less than before. About 20 s, nothing is trained.
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from delivery.artifacts import BaseModel, Machine, Shape, TokenStats
from delivery.client_config import Training
from delivery.training import make_plan
from delivery.training.hf.adapter import attach_adapter
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.rows import Rows
from delivery.training.memory import PLAIN_ATTENTION_UP_TO, Saved
from delivery.weights.folder import shape_of
from delivery.weights.hf import Rendered

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
SHORT, LONG = (32, 64), PLAIN_ATTENTION_UP_TO + 8


@dataclass(frozen=True, slots=True)
class Case:
    """A way to train."""

    method: str
    precision: str
    rank: int


def model_of(shape: Shape, case: Case, *, layers: int) -> Any:
    """A random model of this shape with an adapter, loaded as training loads it."""
    config = LlamaConfig(
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
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
        base = BaseModel("random", folder, "", "", "", 1_000_000, 8192, shape_of(config.to_dict()))
        plan = make_plan(
            Training(method=case.method, rank=case.rank),  # type: ignore[arg-type]
            base=base,
            stats=TokenStats(rows=10, tokens=1000, supervised_tokens=100, longest=100, longest_answer=10),
            machine=Machine("cpu", 1, 2**36, case.precision == "bf16", 1e11),
        )
        return attach_adapter(plan, base).train()


def saved_bytes(model: Any, loss: AnswerLoss, *, rows: int, length: int) -> int:
    """Bytes that one micro-batch keeps for its backward pass."""
    draw = random.Random(3)
    made = [Rendered([draw.randrange(VOCABULARY) for _ in range(length)], length - 2) for _ in range(rows)]
    batch = Rows(made, [1.0] * rows, steps=[[list(range(rows))]], pad=0)[0]["micro_batches"][0]
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


class Pair:
    """Models of a shape with two and with three layers."""

    def __init__(self, case: Case, shape: Shape) -> None:
        self._models = [model_of(shape, case, layers=layers) for layers in (2, 3)]
        self._losses = [AnswerLoss(model, precision=case.precision) for model in self._models]

    def kept_per_token(self, length: int) -> float:
        """Bytes that one more layer keeps for a token, in rows of this length."""

        def of_a_layer(rows: int) -> int:
            few, more = (
                saved_bytes(model, loss, rows=rows, length=length)
                for model, loss in zip(self._models, self._losses, strict=True)
            )
            return more - few

        # What is no token's (copies of the adapter) is the same for one row and for three.
        return (of_a_layer(3) - of_a_layer(1)) / (2 * length)


def kept_per_token(case: Case, shape: Shape, *, length: int) -> float:
    """Bytes that one more layer of this shape keeps for a token, in rows of this length."""
    return Pair(case, shape).kept_per_token(length)


class Observation(NamedTuple):
    """Sizes that a token's bytes may depend on, and the bytes that one more layer keeps for it."""

    sizes: tuple[float, ...]
    bytes: float


def observe(method: str, precision: str, *, lengths: tuple[int, ...]) -> dict[int, list[Observation]]:
    """By length of the rows, what every shape keeps."""
    found: dict[int, list[Observation]] = {length: [] for length in lengths}
    for shape, rank in [*((shape, 8) for shape in SHAPES), (SHAPES[0], 32)]:
        pair = Pair(Case(method, precision, rank), shape)
        for length in lengths:
            context = shape.heads * length if length <= PLAIN_ATTENTION_UP_TO else 0
            sizes = (shape.hidden, shape.intermediate, shape.query, shape.key, context, shape.heads, rank)
            found[length].append(Observation(sizes, pair.kept_per_token(length)))
    return found


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
    for method in ("lora", "qlora"):
        for precision in ("bf16", "fp32"):
            found = observe(method, precision, lengths=(*SHORT, LONG))
            for plain, seen in ((True, [one for length in SHORT for one in found[length]]), (False, found[LONG])):
                lines.append(f'    ("{method}", "{precision}", {plain}): {fit(seen)},')
    sys.stdout.write("\n".join([*lines, "}", ""]))


if __name__ == "__main__":
    main()
