"""What stages store that is more than one artifact."""

from __future__ import annotations

from dataclasses import dataclass

from delivery.artifacts import Answer, Artifact, Latency, RoundGain, TrainingPlan
from delivery.evaluation import System
from delivery.evaluation.judging import Calibration, Dialogue
from flows.line import Line


@dataclass(frozen=True)
class Artifacts:
    """Everything that was made from one adapter."""

    made: tuple[Artifact, ...]
    shipped: Artifact


@dataclass(frozen=True)
class Heard:
    """What a system said to a suite that a judge decides: answers, and of a role play the dialogues that they are."""

    system: System
    answers: tuple[Answer, ...]
    dialogues: tuple[Dialogue, ...] = ()
    simulated: tuple[Dialogue, ...] = ()
    pack_sha256: str = ""


@dataclass(frozen=True)
class Measured:
    """What a judge is worth on labeled pairs, or why that is not known."""

    calibration: Calibration | None
    why_not: str = ""


@dataclass(frozen=True)
class Load:
    """The load measurement of the shipped artifact."""

    latency: tuple[Latency, ...]


@dataclass(frozen=True)
class Registered:
    """The version that the registry gave."""

    number: int


@dataclass(frozen=True)
class Written:
    """Where the report lies, and the hash of its ``report.json``."""

    folder: str
    sha256: str


@dataclass(frozen=True)
class Rounds:
    """What labeling rounds bought, round by round; empty where the data came in one piece."""

    gains: tuple[RoundGain, ...]


@dataclass(frozen=True)
class Frozen:
    """The baseline packs that a live model's answers were frozen as, the strongest prompt's first."""

    packs: tuple[str, ...]


def plan_of(line: Line) -> TrainingPlan:
    """The plan that a delivery trained by: with what its sweep chose, where one was ordered."""
    return line.read(TrainingPlan, line.finished("sweep" if line.config.training.sweep else "plan_training"))
