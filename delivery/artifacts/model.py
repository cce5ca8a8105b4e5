"""Base model, plan, training and the files that come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from delivery.artifacts.storing import sha256_file, sha256_json
from delivery.client_config import Format
from delivery.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder model that decide its memory and its work, from its ``config.json``."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    architecture: str = "llama"
    """The configuration's ``model_type``."""

    @property
    def query(self) -> int:
        """Numbers of a token's query over all heads."""
        return self.heads * self.head_width

    @property
    def key(self) -> int:
        """Numbers of a token's key over all heads, and of its value."""
        return self.key_value_heads * self.head_width


@dataclass(frozen=True, slots=True)
class BaseModel:
    """An open model as a local folder of safetensors, config and tokenizer."""

    name: str
    path: str
    source: str
    sha256: str
    licence: str
    parameters: int
    context_length: int
    shape: Shape | None = None
    """None where ``config.json`` does not name its sizes in a known way."""


@dataclass(frozen=True, slots=True)
class Band:
    """Training rows of nearly one length: tokens of the longest, answer tokens of the mean row."""

    tokens: int
    answer: float


@dataclass(frozen=True, slots=True)
class Opening:
    """``tokens`` that ``rows`` rows begin with alike, beyond a shorter opening that they share with more."""

    tokens: int
    rows: int


@dataclass(frozen=True, slots=True)
class TokenStats:
    """Token counts of the training rows under the base model's tokenizer and chat template."""

    rows: int
    tokens: int
    supervised_tokens: int
    longest: int
    longest_answer: int
    """Tokens of the longest answer in training and validation: bounds how much any system may generate."""
    shared_prefix: int = 0
    """Opening tokens that all training rows share and that training computes once per micro-batch."""
    openings: tuple[Opening, ...] = ()
    """All that random batches of the training rows are likely to share, that of all rows included."""
    validation_rows: int = 0
    pairs: int = 0
    """Training rows with a rejected answer."""
    pair_tokens: int = 0
    """Tokens of these rows with the preferred and with the rejected answer."""
    longest_pair: int = 0
    """Twice the longer of the two, at most over all pairs: what a pair takes in a micro-batch."""
    bands: tuple[Band, ...] = ()
    """The training rows by length in at most 64 equal parts, the shortest first."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the plan counts with, measured on this machine."""

    device: str
    threads: int
    memory_bytes: int
    bf16: bool
    matrix_flops: float
    """Floating-point operations per second of a large matrix product in the training precision."""
    devices: int = 1
    """Alike, each with this memory and this rate."""


@dataclass(frozen=True, slots=True)
class Learned:
    """By how much earlier training runs on this device were off their plans; 1 where there were none."""

    runs: int = 0
    seconds: float = 1.0
    """What a step took over what it was predicted to take, shrunk to 1 where runs are few."""
    memory: float = 1.0


@dataclass(frozen=True, slots=True)
class PairPlan:
    """How an adapter goes on from answers to pairs of a preferred and a rejected one, and what that is expected to cost."""

    beta: float
    learning_rate: float
    epochs: float
    batch_size: int
    steps: int
    warmup_steps: int
    pairs: int
    predicted_seconds: float


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One combination that a sweep tries: planned, and with its loss and seconds where it was tried."""

    learning_rate: float
    rank: int
    steps: int
    predicted_seconds: float
    validation: float | None = None
    """Mean loss over the validation rows' answer tokens after its last step (nats)."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Everything that decides the weights, and what it is expected to cost. Fixed before training starts."""

    method: Literal["lora", "qlora"]
    rank: int
    alpha: int
    learning_rate: float
    epochs: float
    batch_size: int
    micro_batch_tokens: int
    steps: int
    warmup_steps: int
    checkpoint_every: int
    max_length: int
    seed: int
    precision: Literal["bf16", "fp32"]
    max_new_tokens: int
    stats: TokenStats
    machine: Machine
    predicted_seconds: float
    predicted_peak_bytes: int
    why: tuple[str, ...] = ()
    """One sentence for each choice."""
    processes: int = 1
    """In all, one for each device. They divide the micro-batches of a step; the step stays the same."""
    sharded: bool = False
    """Whether the base's weights are divided over the processes as well, each gathering a layer when it needs it."""
    rslora: bool = False
    """Scale the update by alpha / sqrt(rank) rather than alpha / rank."""
    targets: tuple[str, ...] = ("all",)
    """Linear layers with an adapter: ``all``, ``attention``, ``mlp``, or layers by name."""
    dropout: float = 0.0
    validate_every: int = 0
    """Steps between two looks at the validation loss; 0: after each third."""
    validation_rows: int = 0
    """How many rows such a look takes at most; 0: by the length of the run."""
    patience: int = 0
    """Looks without a better validation loss after which training stops; the best look's weights ship. 0: the last ones."""
    start: str = ""
    """SHA-256 of the adapter that training starts from; empty: a fresh one."""
    beta: float = 0.0
    """Strength of the pull towards the starting adapter where pairs are learned from (DPO); 0: answers are learned."""
    pairs: PairPlan | None = None
    sweep: tuple[SweepPoint, ...] = ()
    predicted_step_seconds: float = 0.0
    """Of one optimizer step; 0 in plans from before that was kept."""
    learned: Learned = Learned()
    """Already in the predictions."""

    @property
    def all_seconds(self) -> float:
        """Predicted for every training run of the plan: the sweep's, that of the answers, and that of the pairs."""
        pairs = self.pairs.predicted_seconds if self.pairs is not None else 0.0
        return self.predicted_seconds + pairs + sum(point.predicted_seconds for point in self.sweep)


@dataclass(frozen=True, slots=True)
class LossPoint:
    """Training loss (mean over supervised tokens) at a step; ``validation`` where it was measured."""

    step: int
    loss: float
    validation: float | None = None


@dataclass(frozen=True, slots=True)
class PairRecord:
    """What learning from pairs took and brought, measured on pairs that were not trained on where there are any."""

    steps: int
    seconds: float
    pairs: int
    measured_on: int
    """Pairs behind ``accuracy`` and ``margin``; ``held_out`` says whether they were kept from training."""
    held_out: bool
    accuracy: float
    """Share of pairs where preferring the preferred answer grew, against the adapter it started from."""
    margin: float
    """Mean of beta times the growth of log p(preferred) - log p(rejected); 0 at the start."""
    losses: tuple[LossPoint, ...]


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training really took."""

    method: str
    rank: int
    alpha: int
    epochs: float
    steps: int
    supervised_tokens: int
    tokens: int
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    device: str
    effective_training_time: float
    """Share of the wall time of all attempts that went into steps that count (1.0 = nothing lost)."""
    matrix_rate_share: float
    """4 x parameters x computed tokens per second (opening tokens that rows share count once per micro-batch), over the
    matrix rate measured in the same process."""
    losses: tuple[LossPoint, ...]
    processes: int = 1
    restarts: int = 0
    """Attempts after the first that failures made necessary."""
    skipped_steps: tuple[int, ...] = ()
    """Steps (from 1) whose batch was left out, since its loss or gradient was not a finite number."""
    incidents: tuple[str, ...] = ()
    """One sentence for each failure that had an effect on the weights."""
    kept_step: int = 0
    """The step whose weights ship; 0 in records from before that was chosen."""
    notes: tuple[str, ...] = ()
    """What was decided while training, one sentence each."""
    pairs: PairRecord | None = None

    @property
    def wall_seconds(self) -> float:
        """Wall time of all attempts: start, validation, checkpoints and lost steps included."""
        return self.seconds / self.effective_training_time


@dataclass(frozen=True, slots=True)
class Artifact:
    """A set of files that can be shipped. ``path`` is a folder; ``files`` maps names in it to their SHA-256."""

    format: Format
    path: str
    bytes: int
    sha256: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Adapter:
    """The trained adapter and the record of its training."""

    artifact: Artifact
    record: TrainingRecord


def describe_folder(format: Format, folder: Path, names: Iterable[str] | None = None) -> Artifact:
    """An ``Artifact`` for the files of a folder (all of them, or those named), hashed now."""
    chosen = (
        sorted(names)
        if names is not None
        else sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    )
    files = {name: sha256_file(folder / name) for name in chosen}
    size = sum((folder / name).stat().st_size for name in chosen)
    return Artifact(format=format, path=str(folder), bytes=size, sha256=sha256_json(files), files=files)


def verify_artifact(artifact: Artifact) -> None:
    """Check every file of an artifact against its recorded hash.

    Raises:
        IntegrityError: a file is missing or is not the one that was recorded.
    """
    remedy = "delete its folder and run 'delivery resume' to make it again"
    for name, expected in artifact.files.items():
        path = Path(artifact.path, name)
        if not path.is_file():
            raise IntegrityError(f"{path}: missing; {remedy}")
        if sha256_file(path) != expected:
            raise IntegrityError(
                f"{path}: is not the file that was recorded; delete its folder and run 'delivery resume' to make it again"
            )
