"""Training: measure the machine, count tokens, make a plan (pure), train an adapter in a process of its own."""

from __future__ import annotations

from pathlib import Path

from delivery.artifacts import Adapter, BaseModel, Machine, OnProgress, Splits, TokenStats, TrainingPlan, no_progress
from delivery.errors import ClientDataError
from delivery.training.packing import openings
from delivery.training.plan import make_plan
from delivery.training.ranks import spread

__all__ = ["count_tokens", "make_plan", "measure_machine", "spread", "train"]

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
    from delivery.training.hf import shared_prefix
    from delivery.training.hf.rows import tokenize
    from delivery.weights import hf

    if not splits.train:
        raise ClientDataError("data: there is no training row; add rows or lower data.splits.test")
    tokenizer = hf.load_tokenizer(Path(base.path))
    train, validation = (tokenize(tokenizer, rows) for rows in (splits.train, splits.validation))
    whole = [unit[-1].ids for unit in train]
    shares = shared_prefix.supports(hf.load_config(Path(base.path)))
    shared = openings(whole, batch_size=_LIKELY_BATCH) if shares else ()
    return TokenStats(
        rows=len(train),
        tokens=sum(map(len, whole)),
        supervised_tokens=sum(len(row.ids) - row.answer_start for unit in train for row in unit),
        longest=max(len(row.ids) for unit in (*train, *validation) for row in unit),
        longest_answer=max(len(unit[-1].ids) - unit[-1].answer_start for unit in (*train, *validation)),
        shared_prefix=sum(opening.tokens for opening in shared if opening.rows == len(train)),
        openings=shared,
    )


def train(
    plan: TrainingPlan, *, base: BaseModel, splits: Splits, workdir: Path, on_progress: OnProgress = no_progress
) -> Adapter:
    """Train the planned adapter in its own process; called again with the same ``workdir``, it goes on where it stopped.

    Raises:
        ClientDataError: a training or validation row has the same input as a test row.
        ConfigError: training diverged, or memory does not suffice.
        DeliveryInterrupted: stopped by the user; a checkpoint was saved.
    """
    from delivery.training import launcher

    return launcher.train(plan, base=base, splits=splits, workdir=workdir, on_progress=on_progress)
