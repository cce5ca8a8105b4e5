"""Peak memory of a training run, predicted from the model's shape and the lengths of its rows. Pure.

Most of it is what autograd keeps for the backward pass. That is counted, not guessed: ``SAVED`` holds, for each way to
train, how many bytes a token keeps per layer for each of the layer's sizes. ``tests/benchmarks/planner_constants.py``
counts them in the engine, ``tests/benchmarks/planner_error.py`` holds predictions against training processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from delivery.artifacts import Band, BaseModel, Shape, TokenStats, TrainingPlan
from delivery.training.batches import micro_batches

PLAIN_ATTENTION_UP_TO = 512
"""Tokens of the longest row. On a CPU the backward pass of fused attention in bfloat16 is slower than the plain one up to
about here."""


class Saved(NamedTuple):
    """Bytes that a token keeps per layer and per unit of each size; ``score`` counts head times tokens it attends to."""

    hidden: float
    intermediate: float
    query: float
    key: float
    score: float
    head: float
    rank: float

    def per_token(self, shape: Shape, *, context: float, rank: int) -> float:
        """Bytes of a token that attends to ``context`` tokens, in one layer."""
        sizes = (shape.hidden, shape.intermediate, shape.query, shape.key, shape.heads * context, shape.heads, rank)
        return sum(each * size for each, size in zip(self, sizes, strict=True))


SAVED = {
    ("lora", "bf16", True): Saved(hidden=12.0, intermediate=8.0, query=4.0, key=4.0, score=6.0, head=0.75, rank=14.0),
    ("lora", "bf16", False): Saved(hidden=12.0, intermediate=8.0, query=4.0, key=4.0, score=0.0, head=4.75, rank=14.0),
    ("lora", "fp32", True): Saved(hidden=16.0, intermediate=16.0, query=8.0, key=8.0, score=4.0, head=0.75, rank=28.0),
    ("lora", "fp32", False): Saved(hidden=16.0, intermediate=16.0, query=8.0, key=8.0, score=0.0, head=4.75, rank=28.0),
    ("qlora", "bf16", True): Saved(hidden=12.0, intermediate=8.0, query=4.0, key=4.0, score=6.0, head=0.75, rank=14.0),
    ("qlora", "bf16", False): Saved(hidden=12.0, intermediate=8.0, query=4.0, key=4.0, score=0.0, head=4.75, rank=14.0),
    ("qlora", "fp32", True): Saved(hidden=16.0, intermediate=16.0, query=8.0, key=8.0, score=4.0, head=0.75, rank=28.0),
    ("qlora", "fp32", False): Saved(hidden=16.0, intermediate=16.0, query=8.0, key=8.0, score=0.0, head=4.75, rank=28.0),
}
"""By method, precision, and whether attention is the plain one."""

PROCESS_BYTES = {"cpu": 600_000_000, "cuda": 0}
"""Interpreter, libraries and tokenizer; an accelerator's own count begins after them."""
ROUGHNESS = {"cpu": 1.0, "cuda": 1.05}
"""What the allocator takes over what is asked of it."""
_NF4_BYTES = 0.516
"""Of a 4-bit number with its share of doubly quantized scales (Dettmers et al., "QLoRA", 2023)."""
_LOGIT_BYTES = 12
"""Of a logit while its gradient is made: log-probability, its gradient and the logit's, in float32."""
_MOMENTS_BYTES = 16
"""Of an adapter's number: itself, its gradient and AdamW's two moments, in float32."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What of a plan decides its memory."""

    method: str
    rank: int
    precision: str
    batch_size: int
    micro_batch_tokens: int
    device: str = "cpu"

    @classmethod
    def of(cls, plan: TrainingPlan) -> Setup:
        """The setup of a plan."""
        return cls(
            method=plan.method,
            rank=plan.rank,
            precision=plan.precision,
            batch_size=plan.batch_size,
            micro_batch_tokens=plan.micro_batch_tokens,
            device=plan.machine.device,
        )

    @property
    def width(self) -> int:
        """Bytes of a number in the training precision."""
        return 2 if self.precision == "bf16" else 4


class Memory(NamedTuple):
    """Where the bytes go at the peak."""

    process: int
    weights: int
    adapter: int
    activations: int
    gradients: int
    """Of what is under way: the logits, or a layer."""

    @property
    def total(self) -> int:
        """The peak."""
        return sum(self)


def predict(base: BaseModel, stats: TokenStats, setup: Setup) -> Memory:
    """Memory at the start of the backward pass of the largest micro-batch: what everything before it has kept."""
    shape = shape_of(base)
    largest = max((_micro_batch(band, shape, stats=stats, setup=setup) for band in bands_of(stats)), key=lambda each: sum(each))
    rough = ROUGHNESS[setup.device]
    return Memory(
        process=PROCESS_BYTES[setup.device],
        weights=_weights(base, shape, setup),
        adapter=adapter_parameters(shape, setup.rank) * (_MOMENTS_BYTES + (2 if setup.precision == "bf16" else 0)),
        activations=int(largest.activations * rough),
        gradients=int(largest.gradients * rough),
    )


def peak_bytes(base: BaseModel, stats: TokenStats, setup: Setup) -> int:
    """Peak memory of training in bytes: of the process on a CPU, of its tensors on an accelerator."""
    return predict(base, stats, setup).total


def shape_of(base: BaseModel) -> Shape:
    """The model's shape, or where its configuration names none that of a common model with as many parameters."""
    if base.shape is not None:
        return base.shape
    # Decoder models of a billion parameters and less are some 30 layers deep, and 12.5 squares of their width a layer.
    layers = 30
    hidden = max(64, round((base.parameters / (12.5 * layers)) ** 0.5 / 64) * 64)
    return Shape(hidden, 8 * hidden // 3, layers, hidden // 64, max(1, hidden // 192), 64, 131_072)


def linear_parameters(shape: Shape) -> int:
    """Parameters of the layers' matrices: attention's four and a gated feed-forward network's three."""
    return shape.layers * sum(a * b for a, b in _matrices(shape))


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Parameters of LoRA of this rank on every linear layer."""
    return shape.layers * rank * sum(a + b for a, b in _matrices(shape))


def bands_of(stats: TokenStats) -> Sequence[Band]:
    """The rows by length; the mean and the longest row where that was not counted."""
    mean = Band(ceil(stats.tokens / stats.rows), stats.supervised_tokens / stats.rows)
    return stats.bands or (mean, Band(stats.longest, min(float(stats.longest_answer), 2 * mean.answer)))


def rows_at_once(stats: TokenStats, micro_batch_tokens: int) -> float:
    """How many rows of the mean length a micro-batch holds beside the tokens that they share."""
    return max(1.0, (micro_batch_tokens - stats.shared_prefix) / (stats.tokens / stats.rows - stats.shared_prefix))


class _MicroBatch(NamedTuple):
    activations: float
    gradients: float


def _micro_batch(band: Band, shape: Shape, *, stats: TokenStats, setup: Setup) -> _MicroBatch:
    """Bytes of the largest micro-batch that a batch of rows of this length is cut into."""
    prefix, rows = stats.shared_prefix, min(setup.batch_size, stats.rows)
    own = max(1, band.tokens - prefix)
    at_once = max(map(len, micro_batches([own] * rows, range(rows), setup.micro_batch_tokens - prefix)))
    plain = setup.device == "cpu" and band.tokens <= PLAIN_ATTENTION_UP_TO
    saved = SAVED[setup.method, setup.precision, plain]
    after, before = (saved.per_token(shape, context=length, rank=setup.rank) for length in (band.tokens, prefix))
    layer = at_once * own * after + prefix * before
    logits = at_once * band.answer * shape.vocabulary * _LOGIT_BYTES
    # While a layer's gradients are made, about as much again as it kept; logits are gone by then.
    return _MicroBatch(activations=shape.layers * layer, gradients=max(logits, layer))


def _weights(base: BaseModel, shape: Shape, setup: Setup) -> int:
    if setup.method != "qlora":
        return base.parameters * setup.width
    linear = min(base.parameters, linear_parameters(shape))
    return int(linear * _NF4_BYTES + (base.parameters - linear) * setup.width)


def _matrices(shape: Shape) -> tuple[tuple[int, int], ...]:
    attention = ((shape.hidden, shape.query), (shape.hidden, shape.key), (shape.hidden, shape.key), (shape.query, shape.hidden))
    return (*attention, *3 * ((shape.hidden, shape.intermediate),))
