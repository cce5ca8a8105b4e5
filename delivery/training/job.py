"""What the training process is given, what it leaves, and how one is told from another."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from delivery.artifacts import (
    Adapter,
    Artifact,
    BaseModel,
    Example,
    TrainingPlan,
    TrainingRecord,
    describe_folder,
    from_json,
    sha256_json,
    to_json,
    write_atomic,
)

TALLY = "tally.json"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

_RECIPE = (
    "method",
    "rank",
    "alpha",
    "learning_rate",
    "batch_size",
    "micro_batch_tokens",
    "steps",
    "warmup_steps",
    "max_length",
    "seed",
    "precision",
    "rslora",
    "targets",
    "dropout",
    "validate_every",
    "validation_rows",
    "patience",
    "beta",
)


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the training process reads."""

    plan: TrainingPlan
    base: BaseModel
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    start: Artifact | None = None
    """The adapter to start from; a fresh one where there is none."""

    @property
    def sha256(self) -> str:
        """Names what decides the weights: recipe, base, start and rows; not the machine's speed, nor where things lie."""
        recipe = {key: getattr(self.plan, key) for key in _RECIPE}
        start = self.start.sha256 if self.start is not None else ""
        # Early stopping chooses weights by the validation rows.
        judging = self.validation if self.plan.patience else ()
        train, validation = (
            [[[m.said for m in e.messages], e.answer, e.rejected, e.weight] for e in rows] for rows in (self.train, judging)
        )
        return sha256_json([recipe, self.plan.machine.device, self.base.sha256, start, train, validation])


@dataclass(frozen=True, slots=True)
class Finished:
    """``record.json``, written last: the training run of this job is done, and these are its files."""

    job: str
    files: dict[str, str]
    record: TrainingRecord


@dataclass(frozen=True, slots=True)
class Workdir:
    """The files of one training run under the folder that the caller gave."""

    root: Path

    @property
    def job(self) -> Path:
        """The job, for the process to read."""
        return self.root / "job.json"

    @property
    def checkpoints(self) -> Path:
        """One folder per checkpoint."""
        return self.root / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The result."""
        return self.root / "adapter"

    @property
    def record(self) -> Path:
        """The record of the finished run."""
        return self.root / "record.json"

    @property
    def reference(self) -> Path:
        """What the starting adapter makes of the pairs."""
        return self.root / "reference.json"

    @property
    def attempts(self) -> Path:
        """When attempts ran."""
        return self.root / "attempts.json"

    @property
    def troubles(self) -> Path:
        """What went wrong so far and how it was answered."""
        return self.root / "troubles.json"

    @property
    def beats(self) -> Path:
        """A file for each process that trains here, touched with every micro-batch."""
        return self.root / "beats"

    @property
    def lock(self) -> Path:
        """Held by the process that trains here."""
        return self.root / ".lock"

    @property
    def log(self) -> Path:
        """What the process wrote to its standard error: traces and warnings."""
        return self.root / "training.log"

    def finished(self, job: Job) -> Adapter | None:
        """The adapter of this very job when it is here, whole and unchanged."""
        try:
            done = from_json(Finished, self.record.read_bytes())
            artifact = describe_folder("adapter", self.adapter, ADAPTER_FILES)
        except (OSError, ValidationError):
            return None
        if done.job != job.sha256 or done.files != artifact.files:
            return None
        return Adapter(artifact=artifact, record=done.record)

    def finish(self, job: Job, record: TrainingRecord) -> None:
        """Record that the adapter is complete, and drop what was only needed to get there."""
        artifact = describe_folder("adapter", self.adapter, ADAPTER_FILES)
        write_atomic(self.record, to_json(Finished(job=job.sha256, files=artifact.files, record=record)))
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        shutil.rmtree(self.beats, ignore_errors=True)
        self.job.unlink(missing_ok=True)

    def submit(self, job: Job) -> None:
        """Write the job for the process to read."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_atomic(self.job, to_json(job))

    def begin(self, job: Job) -> None:
        """Make the folder ready for this job: what another job left in it goes. Only with ``lock`` held."""
        self.record.unlink(missing_ok=True)
        shutil.rmtree(self.adapter, ignore_errors=True)
        marker = self.root / "job.sha256"
        if not marker.is_file() or marker.read_text(encoding="utf-8") != job.sha256:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for stale in (self.attempts, self.troubles, self.reference):
                stale.unlink(missing_ok=True)
            write_atomic(marker, job.sha256.encode())


@dataclass(frozen=True, slots=True)
class Attempts:
    """When this run was at work, kept on disk so that a killed attempt counts too.

    An attempt notes itself from the start of its process; whoever started it adds what the attempt could not see: the time
    it stood still, its end, and the pause before the next.
    """

    path: Path

    def note(self, started: float, ended: float) -> None:
        """There was work from ``started`` to ``ended`` (seconds since the epoch); what is noted already counts once."""
        spans: list[list[float]] = []
        for begin, end in sorted([*self._read(), [started, ended]]):
            if spans and begin <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], end)
            else:
                spans.append([begin, end])
        write_atomic(self.path, json.dumps(spans).encode())

    @property
    def seconds(self) -> float:
        """Wall time of all attempts."""
        return sum(end - begin for begin, end in self._read())

    @property
    def pauses(self) -> int:
        """How often work stopped without anyone here to start it again at once."""
        return max(0, len(self._read()) - 1)

    def _read(self) -> list[list[float]]:
        with contextlib.suppress(OSError, ValueError):
            return [[float(begin), float(end)] for begin, end in json.loads(self.path.read_bytes())]
        return []


@dataclass(slots=True)
class Tally:
    """What counts so far: only what a checkpoint kept survives a resume."""

    seconds: float
    tokens: int
    computed_tokens: int
    supervised_tokens: int
    losses: list[float | None]
    """One for each step; none where its batch was left out."""
    validation: dict[str, float]
    peak_bytes: int = 0

    @classmethod
    def empty(cls) -> Tally:
        """Nothing has been done."""
        return cls(seconds=0.0, tokens=0, computed_tokens=0, supervised_tokens=0, losses=[], validation={})

    @classmethod
    def read(cls, path: Path) -> Tally:
        """The tally inside a checkpoint."""
        return cls(**json.loads(path.read_bytes()))

    def write(self, path: Path) -> None:
        """Into a checkpoint that is being written."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
