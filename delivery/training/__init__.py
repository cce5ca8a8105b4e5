"""Training: measure the machine, count tokens, make a plan (pure), train an adapter in a process of its own."""

from __future__ import annotations

from pathlib import Path

from delivery.artifacts import Adapter, Artifact, BaseModel, Machine, OnProgress, Splits, TokenStats, TrainingPlan, no_progress
from delivery.errors import ClientDataError
from delivery.training.batches import shared_length
from delivery.training.outline import from_start
from delivery.training.plan import make_plan

__all__ = ["count_tokens", "from_start", "make_plan", "measure_machine", "sweep", "train"]


def measure_machine() -> Machine:
    """This machine's device, threads, free memory and matrix rate in the precision that training would use (about 1 s)."""
    from delivery.training import machine

    return machine.measure()


def count_tokens(base: BaseModel, splits: Splits) -> TokenStats:
    """Tokens of the training rows under the base's own tokenizer and chat template; the longest of validation included.

    Raises:
        ClientDataError: there is no training row.
        ConfigError: the base's chat template does not take the rows' roles.
    """
    from delivery.training.hf import shared_prefix
    from delivery.weights import hf

    if not splits.train:
        raise ClientDataError("data: there is no training row; add rows or lower data.splits.test")
    tokenizer = hf.load_tokenizer(Path(base.path))
    rejected = [hf.render(tokenizer, one.messages, one.rejected) for one in splits.train if one.rejected]
    train, validation = (
        [hf.render(tokenizer, example.messages, example.answer) for example in rows]
        for rows in (splits.train, splits.validation)
    )
    both = [*train, *validation]
    paired = [row for row, one in zip(train, splits.train, strict=True) if one.rejected]
    return TokenStats(
        rows=len(train),
        tokens=sum(len(row.ids) for row in train),
        supervised_tokens=sum(len(row.ids) - row.answer_start for row in train),
        longest=max(len(row.ids) for row in (*both, *rejected)),
        longest_answer=max(len(row.ids) - row.answer_start for row in both),
        shared_prefix=shared_length([row.ids for row in train], [row.answer_start for row in train])
        if shared_prefix.supports(hf.load_config(Path(base.path)))
        else 0,
        validation_rows=len(validation),
        pairs=len(rejected),
        pair_tokens=sum(len(row.ids) for row in (*paired, *rejected)),
        longest_pair=2 * max((len(row.ids) for row in (*paired, *rejected)), default=0),
    )


def sweep(
    plan: TrainingPlan, *, base: BaseModel, splits: Splits, workdir: Path, on_progress: OnProgress = no_progress
) -> TrainingPlan:
    """The plan with the best combination of its sweep, tried on the way; the plan itself where it has none.

    Raises:
        What ``train`` raises.
    """
    from delivery.training import course

    return course.sweep(plan, base=base, splits=splits, workdir=workdir, on_progress=on_progress) if plan.sweep else plan


def train(
    plan: TrainingPlan,
    *,
    base: BaseModel,
    splits: Splits,
    workdir: Path,
    on_progress: OnProgress = no_progress,
    start: Artifact | None = None,
) -> Adapter:
    """Train the planned adapter in its own process; called again with the same ``workdir``, it goes on where it stopped.

    ``start`` is the adapter that ``plan.start`` names. Where the plan says so, a second run learns from pairs.

    Raises:
        ClientDataError: a training or validation row has the same input as a test row.
        IntegrityError: the adapter to start from is not the one that the plan names, or does not fit.
        ConfigError: training diverged, or memory does not suffice.
        DeliveryInterrupted: stopped by the user; a checkpoint was saved.
    """
    from delivery.training import course

    return course.train(plan, base=base, splits=splits, workdir=workdir, on_progress=on_progress, start=start)
