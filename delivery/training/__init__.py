"""Training: measure the machine, count tokens, make a plan (pure), train an adapter in a process of its own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from delivery.artifacts import (
    Adapter,
    Artifact,
    Band,
    BaseModel,
    Machine,
    OnProgress,
    Splits,
    TokenStats,
    TrainingPlan,
    no_progress,
)
from delivery.errors import ClientDataError
from delivery.training.history import Past
from delivery.training.outline import from_start
from delivery.training.packing import openings
from delivery.training.plan import accumulation_of, make_plan
from delivery.training.ranks import spread

__all__ = [
    "Past",
    "accumulation_of",
    "count_tokens",
    "from_start",
    "make_plan",
    "measure_machine",
    "spread",
    "sweep",
    "train",
]

_LIKELY_BATCH = 16
"""Rows: which openings are worth telling of."""


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
    from delivery.training.hf.rows import tokenize
    from delivery.weights import hf

    if not splits.train:
        raise ClientDataError("data: there is no training row; add rows or lower data.splits.test")
    tokenizer = hf.load_tokenizer(Path(base.path))
    train, validation = (tokenize(tokenizer, rows) for rows in (splits.train, splits.validation))
    whole = [unit[-1].ids for unit in train]
    shares = hf.has_plain_attention(hf.load_config(Path(base.path)))
    shared = openings(whole, batch_size=_LIKELY_BATCH) if shares else ()
    preferred = [row for row, one in zip(whole, splits.train, strict=True) if one.rejected]
    rejected = [hf.render(tokenizer, one.messages, one.rejected).ids for one in splits.train if one.rejected]
    return TokenStats(
        rows=len(train),
        tokens=sum(map(len, whole)),
        supervised_tokens=sum(len(row.ids) - row.answer_start for unit in train for row in unit),
        longest=max(map(len, (*(row.ids for unit in (*train, *validation) for row in unit), *rejected))),
        longest_answer=max(len(unit[-1].ids) - unit[-1].answer_start for unit in (*train, *validation)),
        shared_prefix=sum(opening.tokens for opening in shared if opening.rows == len(train)),
        openings=shared,
        validation_rows=len(validation),
        pairs=len(rejected),
        pair_tokens=sum(map(len, (*preferred, *rejected))),
        longest_pair=2 * max(map(len, (*preferred, *rejected)), default=0) if rejected else 0,
        bands=_bands([(len(unit[-1].ids), sum(len(row.ids) - row.answer_start for row in unit)) for unit in train]),
    )


def _bands(rows: list[tuple[int, int]]) -> tuple[Band, ...]:
    """Rows, each by its tokens and those of its answer, in at most 64 equal parts by length."""
    ordered, parts = sorted(rows), min(64, len(rows))
    cuts = [len(ordered) * part // parts for part in range(parts + 1)]
    return tuple(
        Band(tokens=ordered[end - 1][0], answer=round(sum(answer for _, answer in ordered[start:end]) / (end - start), 1))
        for start, end in pairwise(cuts)
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
