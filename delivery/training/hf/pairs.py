"""Pairs of a preferred and a rejected answer as optimizer steps, and their loss.

Direct preference optimization (Rafailov et al., 2023): the loss of a pair is -log sigmoid(beta x (m - r)), where m is
log p(preferred) - log p(rejected) and r is the same of the adapter that training started from, the *reference*. The reference
is measured once and kept, so no second adapter is held or run. Steps, checkpoints and resuming are those of answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch

from delivery.artifacts import Example, PairRecord, TrainingPlan, TrainingRecord, write_atomic
from delivery.training.batches import Step, micro_batches, schedule
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.rows import MicroBatch, Rows, Unit, shares, sizes, tokenize
from delivery.training.pairs import as_rows


class PairRows(Rows):
    """Optimizer steps over pairs: the rows of a unit are the preferred answer's and the rejected one's.

    ``reference`` holds r of every pair (nats), nought until it is measured.
    """

    def __init__(
        self, units: Sequence[Unit], weights: Sequence[float], *, steps: Sequence[Step], pad: int, packed: bool
    ) -> None:
        super().__init__(units, steps=steps, pad=pad, packed=packed)
        self.pairs = sorted(set(chain.from_iterable(chain.from_iterable(steps))))
        self.reference = torch.zeros(len(weights))
        self._pair_weights = torch.tensor([float(weight) for weight in weights])

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        total = sum(float(batch["pair_weights"].sum()) for batch in item["micro_batches"])
        return {**item, "total": max(total, 1e-9)}

    def _collate(self, numbers: Sequence[int]) -> MicroBatch:
        batch = super()._collate(numbers)
        pairs, place = torch.unique(batch["rows"] // 2, return_inverse=True)
        return {
            **batch,
            "tokens": sum(len(row.ids) for number in numbers for row in self._units[number]),
            "pairs": pairs,
            # Preferred answers first, then the rejected ones in the same order.
            "side": place + batch["rows"] % 2 * len(pairs),
            "reference": self.reference[pairs],
            "pair_weights": self._pair_weights[pairs],
        }


class PairLoss:
    """Sum over a micro-batch's pairs of their weighted loss (nats)."""

    def __init__(self, answers: AnswerLoss, beta: float) -> None:
        self._answers, self._beta = answers, beta

    def __call__(self, batch: MicroBatch) -> torch.Tensor:
        """A scalar with gradient; ``batch`` is one that ``PairRows`` made."""
        grown = self._beta * (self.margins(batch) - batch["reference"])
        return -torch.dot(torch.nn.functional.logsigmoid(grown), batch["pair_weights"])

    def margins(self, batch: MicroBatch) -> torch.Tensor:
        """log p(preferred) - log p(rejected) of every pair in ``batch["pairs"]`` (nats)."""
        losses = self._answers.by_token(batch)
        preferred, rejected = losses.new_zeros(2 * len(batch["pairs"])).index_add(0, batch["side"], losses).chunk(2)
        return rejected - preferred


class Pairs(NamedTuple):
    """What a run over pairs trains on, and what it is looked at with."""

    steps: PairRows
    held: PairRows | None


def pair_rows(model: Any, tokenizer: Any, examples: Sequence[Example], *, plan: TrainingPlan, pad: int) -> PairRows:
    """The plan's steps over pairs."""
    units = _units(tokenizer, examples)
    steps = schedule(
        sizes(model, units),
        batch_size=plan.batch_size,
        micro_batch_tokens=plan.micro_batch_tokens,
        steps=plan.steps,
        seed=plan.seed,
    )
    return PairRows(units, [one.weight for one in examples], steps=steps, pad=pad, packed=shares(model))


def all_pairs(model: Any, tokenizer: Any, examples: Sequence[Example], *, plan: TrainingPlan, pad: int) -> PairRows:
    """All pairs as one step, for their loss."""
    units = _units(tokenizer, examples)
    groups = micro_batches(sizes(model, units), range(len(units)), plan.micro_batch_tokens)
    return PairRows(units, [one.weight for one in examples], steps=[groups], pad=pad, packed=shares(model))


def measure(rows: PairRows, margins: Callable[[MicroBatch], torch.Tensor]) -> torch.Tensor:
    """log p(preferred) - log p(rejected) of every pair that the steps see, by its number; nought for the others."""
    found = torch.zeros(len(rows.reference))
    unseen = set(rows.pairs)
    with torch.no_grad():
        for step in range(len(rows)):
            for batch in rows[step]["micro_batches"]:
                pairs = batch["pairs"].tolist()
                if unseen.isdisjoint(pairs):
                    continue
                unseen.difference_update(pairs)
                found[batch["pairs"]] = margins(batch).float().cpu()
    return found


def fill_reference(pairs: Pairs, margins: Callable[[MicroBatch], torch.Tensor], path: Path) -> None:
    """Measure the reference of all pairs with the weights as they are, or take it from ``path``, where it is kept."""
    if not path.is_file():
        found = [measure(rows, margins).tolist() for rows in pairs if rows is not None]
        write_atomic(path, json.dumps(found).encode())
    for rows, reference in zip((rows for rows in pairs if rows is not None), json.loads(path.read_bytes()), strict=True):
        rows.reference = torch.tensor(reference)


def grown_margins(pairs: Pairs, margins: Callable[[MicroBatch], torch.Tensor], beta: float) -> torch.Tensor:
    """By how much the preference grew, beta x (m - r), for each held-out pair, or where there are none for the others."""
    rows = pairs.held or pairs.steps
    return beta * (measure(rows, margins) - rows.reference)[torch.tensor(rows.pairs)]


def pair_record(pairs: Pairs, grown: torch.Tensor, record: TrainingRecord) -> PairRecord:
    """What the run brought, by ``grown_margins``."""
    return PairRecord(
        steps=record.steps,
        seconds=record.seconds,
        pairs=len(pairs.steps.reference),
        measured_on=len(grown),
        held_out=pairs.held is not None,
        accuracy=float((grown > 0).double().mean()),
        margin=float(grown.double().mean()),
        losses=record.losses,
    )


def _units(tokenizer: Any, examples: Sequence[Example]) -> list[Unit]:
    """The two answers of each pair; earlier turns were learned before."""
    rows = [unit[-1] for unit in tokenize(tokenizer, as_rows(tuple(examples)))]
    return list(zip(rows[::2], rows[1::2], strict=True))
