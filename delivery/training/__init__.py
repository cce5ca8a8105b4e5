"""Training: measure the machine, count tokens, make a plan (pure), train an adapter in a process of its own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from delivery.artifacts import Adapter, Band, BaseModel, Machine, OnProgress, Splits, TokenStats, TrainingPlan, no_progress
from delivery.errors import ClientDataError
from delivery.training.batches import shared_length
from delivery.training.history import Past
from delivery.training.plan import accumulation_of, make_plan

__all__ = ["Past", "accumulation_of", "count_tokens", "make_plan", "measure_machine", "train"]


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
    train, validation = (
        [hf.render(tokenizer, example.messages, example.answer) for example in rows]
        for rows in (splits.train, splits.validation)
    )
    both = [*train, *validation]
    return TokenStats(
        rows=len(train),
        tokens=sum(len(row.ids) for row in train),
        supervised_tokens=sum(len(row.ids) - row.answer_start for row in train),
        longest=max(len(row.ids) for row in both),
        longest_answer=max(len(row.ids) - row.answer_start for row in both),
        shared_prefix=shared_length([row.ids for row in train], [row.answer_start for row in train])
        if shared_prefix.supports(hf.load_config(Path(base.path)))
        else 0,
        bands=_bands([(len(row.ids), len(row.ids) - row.answer_start) for row in train]),
    )


def _bands(rows: list[tuple[int, int]]) -> tuple[Band, ...]:
    """Rows, each by its tokens and those of its answer, in at most 64 equal parts by length."""
    ordered, parts = sorted(rows), min(64, len(rows))
    cuts = [len(ordered) * part // parts for part in range(parts + 1)]
    return tuple(
        Band(tokens=ordered[end - 1][0], answer=round(sum(answer for _, answer in ordered[start:end]) / (end - start), 1))
        for start, end in pairwise(cuts)
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
