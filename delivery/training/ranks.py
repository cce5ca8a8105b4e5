"""How the work of a step is divided over processes. Pure, and the same in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from delivery.artifacts import BaseModel, TrainingPlan
from delivery.training.memory import Setup, peak_bytes
from delivery.training.work import step_seconds


def divide(costs: Sequence[int], ranks: int) -> list[list[int]]:
    """Numbers of the micro-batches that each rank computes: the dearest first, each to the rank with the least so far.

    ``costs`` are computed tokens. Longest processing time first is at most a third longer than the best division
    (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969).
    """
    loads = [0] * ranks
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for number in sorted(range(len(costs)), key=lambda n: (-costs[n], n)):
        least = min(range(ranks), key=lambda rank: (loads[rank], rank))
        loads[least] += costs[number]
        shares[least].append(number)
    return [sorted(share) for share in shares]


def spread(plan: TrainingPlan, processes: int, *, base: BaseModel, sharded: bool = False) -> TrainingPlan:
    """The plan for so many processes in all: its steps cut into micro-batches for each, the same rows in every step.

    Predicted memory is that of one process. Predicted time is that of a device for each; on a CPU they share one.
    """
    if processes == 1:
        return plan
    stats = plan.stats
    own = stats.tokens / stats.rows - stats.shared_prefix
    share = stats.shared_prefix + ceil(plan.batch_size / processes) * own
    tokens = max(stats.longest, min(plan.micro_batch_tokens, ceil(share)))
    how = f"{processes} processes divide each step, in micro-batches of up to {tokens} tokens; its rows stay the same."
    how_base = ("Each holds a share of the base's weights and gathers a layer when it needs it.",) if sharded else ()
    several = replace(plan, processes=processes, sharded=sharded, micro_batch_tokens=tokens, why=(*plan.why, how, *how_base))
    gained = _gained(plan, several, base) * plan.learned.seconds
    return replace(
        several,
        predicted_peak_bytes=round(peak_bytes(base, stats, Setup.of(several)) * plan.learned.memory),
        predicted_step_seconds=plan.predicted_step_seconds - gained,
        predicted_seconds=round(plan.predicted_seconds - plan.steps * gained, 1),
    )


def _gained(plan: TrainingPlan, several: TrainingPlan, base: BaseModel) -> float:
    """Seconds of a step that processes on devices of their own save."""
    if plan.machine.device == "cpu":
        return 0.0
    machine = replace(plan.machine, devices=several.processes)
    one, all_of_them = ((plan, plan.machine), (several, machine))
    alone, together = (step_seconds(base, plan.stats, setup=Setup.of(p), machine=on) for p, on in (one, all_of_them))
    return alone - together
