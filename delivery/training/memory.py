"""Peak memory of a training run, predicted from the model's shape and the lengths of its rows. Pure.

Most of it is what autograd keeps for the backward pass. That is counted, not guessed: ``SAVED`` holds, for each way to
train, how many bytes a token keeps per layer for each of the layer's sizes. ``tests/benchmarks/planner_constants.py``
counts them in the engine, ``tests/benchmarks/planner_error.py`` holds predictions against training processes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist
from typing import NamedTuple

from delivery.artifacts import Band, BaseModel, Opening, Shape, TokenStats, TrainingPlan
from delivery.training.packing import GRID, expected_tokens
from delivery.weights.folder import PLAIN_ATTENTION

PLAIN_ATTENTION_UP_TO = 2048
"""Tokens that a query sees. On a CPU attention keeps the scores of up to so many for the backward pass, and computes those of
more again."""
PLAIN_QUERIES = 128
"""Queries of a block whose scores are computed together on a CPU: each counts with the keys of the last one."""
LOGITS_AT_ONCE = 2**25
"""Numbers, of those architectures that are packed: with the steps between them some 300 MB."""


class Saved(NamedTuple):
    """Bytes that a token keeps per layer and per unit of each size; ``score`` counts head times keys whose score is kept."""

    hidden: float
    intermediate: float
    query: float
    key: float
    score: float
    head: float
    rank: float

    def per_token(self, shape: Shape, *, context: float, rank: int) -> float:
        """Bytes of a token of which ``context`` scores are kept for each head, in one layer."""
        sizes = (shape.hidden, shape.intermediate, shape.query, shape.key, shape.heads * context, shape.heads, rank)
        return sum(each * size for each, size in zip(self, sizes, strict=True))


SAVED = {
    ("bf16", True): Saved(hidden=8.0, intermediate=4.0, query=4.0, key=4.0, score=2.0, head=0.75, rank=14.0),
    ("bf16", False): Saved(hidden=12.0, intermediate=8.0, query=4.0, key=4.0, score=0.0, head=4.75, rank=14.0),
    ("fp32", True): Saved(hidden=16.0, intermediate=8.0, query=8.0, key=8.0, score=4.0, head=0.75, rank=28.0),
    ("fp32", False): Saved(hidden=16.0, intermediate=16.0, query=8.0, key=8.0, score=0.0, head=4.75, rank=28.0),
}
"""By precision, and whether rows are packed. A 4-bit base keeps nothing more."""

PROCESS_BYTES = {"bf16": 630_000_000, "fp32": 710_000_000}
"""On a CPU: interpreter, libraries, tokenizer and the kernels that torch makes for each shape of a product."""
ROUGHNESS = {"cpu": 1.08, "cuda": 1.05}
"""What the allocator takes over what is asked of it."""
ROUGHNESS_OF_PARTS = {"cpu": 1.2, "cuda": 1.05}
"""The same where a step has several micro-batches: the first one's gradients then lie among the memory that it freed."""
_NF4_BYTES = 0.516
"""Of a 4-bit number with its share of doubly quantized scales (Dettmers et al., "QLoRA", 2023)."""
_LOGIT_BYTES = {True: 8, False: 16}
"""Of a logit while the answers' loss is made: itself and its exponential in float32; its gradients too where all are held."""
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
    targets: tuple[str, ...] = ("all",)
    shards: int = 1
    """Processes that the base's weights are divided over."""

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
            targets=plan.targets,
            shards=plan.processes if plan.sharded else 1,
        )

    @property
    def width(self) -> int:
        """Bytes of a number in the training precision."""
        return 2 if self.precision == "bf16" else 4


class Memory(NamedTuple):
    """Where the bytes go at the peak."""

    process: int
    weights: int
    file: int
    """Pages of the base's file that stay mapped beside its 4-bit weights; they go where memory is short."""
    adapter: int
    activations: int
    gradients: int
    """Of what is under way: the logits, or a layer."""

    @property
    def total(self) -> int:
        """The peak."""
        return sum(self)

    @property
    def needed(self) -> int:
        """What there has to be."""
        return self.total - self.file


class MicroBatch(NamedTuple):
    """What a micro-batch computes: tokens, tokens of answers, and per token the scores that are kept for a head."""

    tokens: float
    answers: float
    context: float
    parts: int = 1
    """Micro-batches of its step."""


def predict(base: BaseModel, stats: TokenStats, setup: Setup) -> Memory:
    """Memory around the backward pass of the largest micro-batch: what everything before it has kept, and what is under way.

    Looks at the validation loss keep nothing, and pairs are cut into micro-batches of the same size.
    """
    shape = shape_of(base)
    cpu = setup.device == "cpu"
    found = [_activations(each, shape, setup) for each in largest_micro_batches(stats, setup)]
    kept, under_way = max(found, key=lambda each: sum(each))
    return Memory(
        process=PROCESS_BYTES[setup.precision] if cpu else 0,
        weights=_weights(base, shape, setup),
        # In the precision of the file weights are not copied, and those that are not quantized keep it mapped.
        file=2 * base.parameters if cpu and setup.method == "qlora" and setup.precision == "bf16" else 0,
        adapter=adapter_parameters(shape, setup.rank, setup.targets) * _MOMENTS_BYTES,
        activations=int(kept),
        gradients=int(under_way),
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
    return shape.layers * sum(a * b for a, b in _matrices(shape).values())


def adapter_parameters(shape: Shape, rank: int, targets: Sequence[str] = ("all",)) -> int:
    """Parameters of LoRA of this rank on the linear layers that are targeted; a name that is not a usual one counts nothing."""
    wanted = {name for target in targets for name in _GROUPS.get(target, (target.rsplit(".", 1)[-1],))}
    return shape.layers * rank * sum(a + b for name, (a, b) in _matrices(shape).items() if name in wanted)


def bands_of(stats: TokenStats) -> Sequence[Band]:
    """The rows by length; the mean and the longest row where that was not counted."""
    mean = Band(ceil(stats.tokens / stats.rows), stats.supervised_tokens / stats.rows)
    return stats.bands or (mean, Band(stats.longest, min(float(stats.longest_answer), 2 * mean.answer)))


def rows_at_once(stats: TokenStats, micro_batch_tokens: int) -> float:
    """How many rows of the mean length a micro-batch holds beside the tokens that they share."""
    fits = bisect_left(range(1, stats.rows + 1), True, key=lambda rows: expected_tokens(stats, rows) > micro_batch_tokens)
    return max(1.0, float(fits))


def largest_micro_batches(stats: TokenStats, setup: Setup) -> tuple[MicroBatch, ...]:
    """Those that may take most memory: the largest part of a random batch, and the longest row or pair alone."""
    bands, answer = bands_of(stats), stats.supervised_tokens / stats.rows
    before = _shared_by_a_row(stats)
    tokens, parts = _largest_part(stats, setup)
    rows = min(setup.batch_size, stats.rows) / parts
    alone = max(0.0, stats.tokens / stats.rows - before) * rows
    context = sum(_kept_context(before, band.tokens) for band in bands) / len(bands)
    shared = max(0.0, tokens - alone)
    mixed = (context * (tokens - shared) + _kept_context(0.0, before) * shared) / tokens
    longest = bands[-1]
    pair = (MicroBatch(stats.longest_pair, longest.answer * 2, _kept_context(0.0, stats.longest_pair / 2)),)
    return (
        MicroBatch(tokens, rows * answer, mixed, parts),
        MicroBatch(longest.tokens, longest.answer, _kept_context(0.0, longest.tokens)),
        *(pair if stats.longest_pair else ()),
    )


class _Part(NamedTuple):
    tokens: float
    parts: int


def _largest_part(stats: TokenStats, setup: Setup) -> _Part:
    """The largest micro-batch among the parts that the batches of an epoch are cut into."""
    rows, budget = min(setup.batch_size, stats.rows), setup.micro_batch_tokens
    own = [band.tokens for band in bands_of(stats)]
    mean = sum(own) / len(own)
    deviation = sqrt(sum((each - mean) ** 2 for each in own) / len(own))
    # The largest of as many normal numbers as an epoch has batches (Blom, 1958).
    batches = ceil(stats.rows / rows)
    far = NormalDist().inv_cdf((batches - 0.375) / (batches + 0.25)) * deviation * sqrt(rows)
    half = 0.5 * (stats.tokens / stats.rows - _shared_by_a_row(stats))

    def part(parts: int, beyond: float) -> float:
        # Rows are not cut: what makes parts uneven. The last token of a row is not read.
        uneven = half if rows % parts else min(half, 2 * deviation)
        return expected_tokens(stats, rows / parts) + beyond / parts + (uneven if parts > 1 else 0.0) - rows / parts

    def fewest(beyond: float) -> int:
        return next((parts for parts in range(1, rows) if part(parts, beyond) <= budget), rows)

    few, many = fewest(-far), fewest(far)
    # Between the smallest and the largest batch there is one that just fits.
    tokens = float(budget) if few < many < rows else part(many, far)
    return _Part(GRID * ceil(tokens / GRID), few if few < many < rows else many)


def _shared_by_a_row(stats: TokenStats) -> float:
    found = stats.openings or (Opening(stats.shared_prefix, stats.rows),)
    return sum(opening.tokens * opening.rows for opening in found) / stats.rows


def _kept_context(start: float, end: float) -> float:
    """Scores that a token keeps for each head, the mean over tokens ``start`` to ``end`` of a row."""
    until = min(end, PLAIN_ATTENTION_UP_TO - PLAIN_QUERIES)
    if until <= start:
        return 0.0
    return ((until**2 - start**2) / 2 + PLAIN_QUERIES * (until - start)) / (end - start)


class _Activations(NamedTuple):
    kept: float
    under_way: float


def _activations(batch: MicroBatch, shape: Shape, setup: Setup) -> _Activations:
    packed = shape.architecture in PLAIN_ATTENTION
    context = batch.context if setup.device == "cpu" else 0.0
    saved = SAVED[setup.precision, packed].per_token(shape, context=context, rank=setup.rank)
    logits = batch.answers * shape.vocabulary
    # While a layer's gradients are made, some of its inner products' size are there at once; logits are gone by then.
    layer = batch.tokens * setup.width * (4 * shape.intermediate + 4 * shape.hidden)
    head = _LOGIT_BYTES[packed] * (min(logits, LOGITS_AT_ONCE) if packed else logits)
    rough = (ROUGHNESS if batch.parts == 1 else ROUGHNESS_OF_PARTS)[setup.device]
    return _Activations(kept=rough * shape.layers * batch.tokens * saved, under_way=rough * max(head, layer))


def _weights(base: BaseModel, shape: Shape, setup: Setup) -> int:
    linear = min(base.parameters, linear_parameters(shape))
    others = base.parameters - linear
    if setup.method == "qlora":
        return int(linear * _NF4_BYTES + others * setup.width)
    # A layer is gathered while the next one comes.
    gathered = 2 * linear // shape.layers if setup.shards > 1 else 0
    return (base.parameters // setup.shards + gathered) * setup.width


_GROUPS = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
_GROUPS["all"] = _GROUPS["attention"] + _GROUPS["mlp"]


def _matrices(shape: Shape) -> Mapping[str, tuple[int, int]]:
    return {
        "q_proj": (shape.hidden, shape.query),
        "k_proj": (shape.hidden, shape.key),
        "v_proj": (shape.hidden, shape.key),
        "o_proj": (shape.query, shape.hidden),
        "gate_proj": (shape.hidden, shape.intermediate),
        "up_proj": (shape.hidden, shape.intermediate),
        "down_proj": (shape.intermediate, shape.hidden),
    }
