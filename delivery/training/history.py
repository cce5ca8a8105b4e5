"""What earlier training runs say about a plan's predictions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median

from delivery.artifacts import Learned, TrainingPlan, TrainingRecord

_NEWEST = 9
"""Runs that count: the code and the machine change."""
_DOUBT = 2
"""Runs that say nothing was off, which every history begins with."""
_FEWEST_STEPS = 5
"""A run of fewer steps is mostly its first ones, which warm up."""
_SECONDS_WITHIN, _MEMORY_WITHIN = (0.25, 4.0), (0.8, 1.5)


@dataclass(frozen=True, slots=True)
class Past:
    """A training run that is over: what it was, and by how much its plan, before any correction, was off."""

    device: str
    threads: int
    base: str
    method: str
    precision: str
    seconds: float
    """A step's seconds over those predicted."""
    memory: float

    @classmethod
    def of(cls, plan: TrainingPlan, record: TrainingRecord, *, base: str) -> Past | None:
        """The past of a plan and its record; None where they say too little."""
        if not plan.predicted_step_seconds or record.steps < _FEWEST_STEPS or not record.peak_memory_bytes:
            return None
        # Processes on one CPU take each other's time, which no plan counts with.
        if plan.processes > 1:
            return None
        return cls(
            device=plan.machine.device,
            threads=plan.machine.threads,
            base=base,
            method=plan.method,
            precision=plan.precision,
            seconds=record.seconds / record.steps / (plan.predicted_step_seconds / plan.learned.seconds),
            memory=record.peak_memory_bytes / (plan.predicted_peak_bytes / plan.learned.memory),
        )


@dataclass(frozen=True, slots=True)
class Like:
    """Which runs count: those on the same device with the same method, of the same base where there are any."""

    device: str
    threads: int
    base: str
    method: str
    precision: str


def learn(history: Sequence[Past], like: Like) -> Learned:
    """Factors for a prediction from the newest runs that are alike; ``history`` is oldest first."""
    same = [
        past
        for past in history
        if (past.device, past.threads, past.method, past.precision) == (like.device, like.threads, like.method, like.precision)
    ]
    counted = ([past for past in same if past.base == like.base] or same)[-_NEWEST:]
    return Learned(
        runs=len(counted),
        seconds=_factor([past.seconds for past in counted], *_SECONDS_WITHIN),
        memory=_factor([past.memory for past in counted], *_MEMORY_WITHIN),
    )


def _factor(ratios: Sequence[float], low: float, high: float) -> float:
    """The median ratio, drawn towards 1 where runs are few, within bounds that no honest run leaves."""
    if not ratios:
        return 1.0
    weight = len(ratios) / (len(ratios) + _DOUBT)
    return round(min(high, max(low, exp(weight * log(median(ratios))))), 4)
