"""The training runs that one plan takes: the points of its sweep, the answers, then the pairs. Each is resumed on its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from delivery.artifacts import Adapter, Artifact, BaseModel, OnProgress, PairRecord, Progress, Splits, SweepPoint, TrainingPlan
from delivery.training import launcher
from delivery.training.pairs import pair_run, pairs_of
from delivery.training.sweep import choose_point, point_plan


def sweep(plan: TrainingPlan, *, base: BaseModel, splits: Splits, workdir: Path, on_progress: OnProgress) -> TrainingPlan:
    """Try the points of the plan's sweep; the plan with the best of them, and what each cost.

    Raises:
        What ``launcher.train`` raises.
    """
    total = sum(point.steps for point in plan.sweep)
    tried: list[SweepPoint] = []
    for place, point in enumerate(plan.sweep, 1):
        adapter = launcher.train(
            point_plan(plan, point),
            base=base,
            splits=splits,
            workdir=workdir / f"point-{place}",
            on_progress=_within(sum(p.steps for p in tried), total, f"sweep, point {place}", on_progress),
        )
        loss, seconds = adapter.record.losses[-1].validation, round(adapter.record.seconds, 1)
        tried.append(replace(point, validation=loss, seconds=seconds))
    return choose_point(plan, tried)


def train(
    plan: TrainingPlan, *, base: BaseModel, splits: Splits, workdir: Path, on_progress: OnProgress, start: Artifact | None
) -> Adapter:
    """Learn the answers, and then from the pairs where the plan says so; ``start`` is the adapter that the plan names.

    Raises:
        What ``launcher.train`` raises.
    """
    pairs = plan.pairs
    total = plan.steps + (pairs.steps if pairs is not None else 0)
    answers = launcher.train(
        plan, base=base, splits=splits, workdir=workdir, on_progress=_within(0, total, "", on_progress), start=start
    )
    if pairs is None:
        return answers
    learned = launcher.train(
        pair_run(plan),
        base=base,
        splits=pairs_of(splits),
        workdir=workdir / "pairs",
        on_progress=_within(plan.steps, total, "pairs", on_progress),
        start=answers.artifact,
    )
    found = learned.record.pairs
    said = () if found is None else (_said(found),)
    return Adapter(learned.artifact, replace(answers.record, pairs=found, notes=(*answers.record.notes, *said)))


def _said(found: PairRecord) -> str:
    kind = "validation pairs" if found.held_out else "training pairs (none were held out)"
    return (
        f"Then {found.steps} steps on {found.pairs} pairs: of {found.measured_on} {kind}, {found.accuracy:.0%} lean further to "
        f"the preferred answer than before, by {found.margin:.3f} on average."
    )


def _within(before: int, total: int, what: str, on_progress: OnProgress) -> OnProgress:
    def watch(progress: Progress) -> None:
        note = f"{what}: {progress.note}" if what else progress.note
        on_progress(progress._replace(done=before + progress.done, total=total, note=note))

    return watch
