"""Rows as the tensors of whole optimizer steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset

from delivery.artifacts import Example, TrainingPlan
from delivery.training.batches import Packed, Padded, Sizes, Step, micro_batches, schedule
from delivery.training.hf import shared_prefix
from delivery.training.packing import Pack, filled, pack
from delivery.training.turns import learned_turns
from delivery.weights.hf import render

MicroBatch = dict[str, Any]


class Row(NamedTuple):
    """Token ids, of which those from ``answer_start`` on are learned with this weight."""

    ids: list[int]
    answer_start: int
    weight: float = 1.0


Unit = tuple[Row, ...]
"""The rows of one example, the longest last: they stay in one micro-batch."""


def tokenize(tokenizer: Any, examples: Sequence[Example]) -> list[Unit]:
    """Every example under the chat template: a row for each turn that is learned, as serving would be asked for it."""
    return [
        tuple(Row(*render(tokenizer, turn.messages, turn.answer), turn.weight) for turn in learned_turns(example))
        for example in examples
    ]


class Rows(Dataset[dict[str, Any]]):
    """Optimizer steps over units; an item is all of a step's micro-batches and its weighted answer tokens.

    ``packed`` micro-batches are one sequence without padding for models that ``shares`` holds for; the rows of others are
    padded to one width. The last token of a row is learned but not read: it predicts nothing.
    """

    def __init__(self, units: Sequence[Unit], *, steps: Sequence[Step], pad: int, packed: bool) -> None:
        self._units, self._steps = units, steps
        self._pad, self._packed = pad, packed
        self._first = [0, *accumulate(len(unit) for unit in units)]

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> dict[str, Any]:
        batches = [self._collate(units) for units in self._steps[index]]
        total = sum(float(batch["weights"].sum()) for batch in batches)
        # Rows of weight nought alone would divide by nothing.
        return {"micro_batches": batches, "total": max(total, 1e-9)}

    def _collate(self, numbers: Sequence[int]) -> MicroBatch:
        """Of each learned token: ``positions`` of the one that predicts it, ``targets``, ``weights``, and the number of its
        row in ``rows``, counted over the rows of all units."""
        rows = [row for number in numbers for row in self._units[number]]
        learned = torch.tensor([len(row.ids) - row.answer_start for row in rows])
        names = [name for number in numbers for name in range(self._first[number], self._first[number + 1])]
        return {
            **(_pack(rows) if self._packed else _pad(rows, self._pad)),
            "targets": torch.tensor([token for row in rows for token in row.ids[row.answer_start :]]),
            "weights": torch.tensor([float(row.weight) for row in rows]).repeat_interleave(learned),
            "rows": torch.tensor(names).repeat_interleave(learned),
            "tokens": sum(len(self._units[number][-1].ids) for number in numbers),
        }


def _pack(rows: Sequence[Row]) -> MicroBatch:
    packed = pack([row.ids[:-1] for row in rows])
    whole = filled(packed)
    filling = whole.tokens - packed.tokens
    positions = [range(segment.offset, segment.offset + segment.end - segment.start) for segment in packed.segments]
    ids = [
        token
        for segment, read in zip(packed.segments, positions, strict=True)
        for token in rows[segment.row].ids[read.start : read.stop]
    ]
    return {
        "input_ids": torch.tensor([ids + [0] * filling]),
        "position_ids": torch.tensor([[*chain.from_iterable(positions), *range(filling)]]),
        "layout": whole,
        "positions": torch.cat([_places(packed, number, row.answer_start - 1) for number, row in enumerate(rows)]),
        "computed": packed.tokens,
    }


def _places(packed: Pack, number: int, since: int) -> torch.Tensor:
    """Where the tokens of a row stand in the sequence, from the row's token ``since`` on."""
    line = packed.line(packed.last[number])
    return torch.cat([torch.arange(segment.start, segment.end) for segment in line])[since:]


def _pad(rows: Sequence[Row], pad: int) -> MicroBatch:
    width = max(len(row.ids) for row in rows) - 1
    # See GRID: a few more columns, and far fewer widths.
    width += -width % 16
    ids = torch.full((len(rows), width), pad)
    for line, row in enumerate(rows):
        ids[line, : len(row.ids) - 1] = torch.tensor(row.ids[:-1])
    return {
        "input_ids": ids,
        # The position before a token predicts it.
        "positions": torch.cat(
            [torch.arange(row.answer_start - 1, len(row.ids) - 1) + line * width for line, row in enumerate(rows)]
        ),
        "computed": sum(len(row.ids) - 1 for row in rows),
    }


def training_rows(model: Any, units: Sequence[Unit], *, plan: TrainingPlan, pad: int) -> Rows:
    """The plan's steps over its training rows."""
    steps = schedule(
        sizes(model, units),
        batch_size=plan.batch_size,
        micro_batch_tokens=plan.micro_batch_tokens,
        steps=plan.steps,
        seed=plan.seed,
    )
    return Rows(units, steps=steps, pad=pad, packed=shares(model))


def validation_rows(model: Any, units: Sequence[Unit], *, plan: TrainingPlan, pad: int) -> Rows:
    """All rows as one step, for their loss; in micro-batches of a training step's rows, so that they need no more memory."""
    measured, size = sizes(model, units), plan.batch_size
    ordered = measured.together(range(len(units)))
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    groups = [group for batch in batches for group in micro_batches(measured, batch, plan.micro_batch_tokens)]
    return Rows(units, steps=[groups], pad=pad, packed=shares(model))


def sizes(model: Any, units: Sequence[Unit]) -> Sizes:
    """What micro-batches of these units compute with this model."""
    if shares(model):
        return Packed([[row.ids[:-1] for row in unit] for unit in units])
    return Padded([[len(row.ids) - 1 for row in unit] for unit in units])


def shares(model: Any) -> bool:
    """Whether the model takes packed micro-batches, in which rows share their opening tokens."""
    return bool(model.config._attn_implementation == shared_prefix.NAME)
