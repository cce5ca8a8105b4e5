"""Rows as the tensors of whole optimizer steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from delivery.artifacts import Example, TrainingPlan
from delivery.training.batches import Step, micro_batches, schedule, shared_length
from delivery.training.hf import shared_prefix
from delivery.training.hf.shared_prefix import Layout
from delivery.weights.hf import Rendered, render

MicroBatch = dict[str, Any]


def tokenize(tokenizer: Any, examples: Sequence[Example]) -> list[Rendered]:
    """Every example under the chat template, with the start of its answer."""
    return [render(tokenizer, example.messages, example.answer) for example in examples]


class Rows(Dataset[dict[str, Any]]):
    """Optimizer steps over tokenized rows; an item is all of a step's micro-batches and its weighted answer tokens.

    ``prefix`` opening tokens are the same in every row, and stand once in a micro-batch (see ``shared_prefix``).
    """

    def __init__(
        self, rows: Sequence[Rendered], weights: Sequence[float], *, steps: Sequence[Step], pad: int, prefix: int = 0
    ) -> None:
        self._rows, self._weights, self._steps = rows, weights, steps
        self._pad, self._prefix = pad, prefix

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> dict[str, Any]:
        batches = [self._collate(rows) for rows in self._steps[index]]
        total = sum(float(batch["weights"].sum()) for batch in batches)
        # Rows of weight nought alone would divide by nothing.
        return {"micro_batches": batches, "total": max(total, 1e-9)}

    def _collate(self, numbers: Sequence[int]) -> MicroBatch:
        prefix, rows = self._prefix, [self._rows[n] for n in numbers]
        width = max(len(row.ids) for row in rows) - prefix
        ids = torch.full((len(rows), width), self._pad)
        positions: list[torch.Tensor] = []
        for line, row in enumerate(rows):
            ids[line, : len(row.ids) - prefix] = torch.tensor(row.ids[prefix:])
            # The position before a token predicts it.
            positions.append(torch.arange(row.answer_start - 1, len(row.ids) - 1) + line * width)
        shared = torch.tensor(rows[0].ids[:prefix], dtype=torch.long)
        tokens = sum(len(row.ids) for row in rows)
        return {
            "input_ids": torch.cat([shared, ids.flatten()])[None],
            "position_ids": torch.cat([torch.arange(prefix), torch.arange(prefix, prefix + width).repeat(len(rows))])[None],
            "layout": Layout(prefix, len(rows), width),
            "positions": torch.cat(positions),
            "targets": torch.tensor([token for row in rows for token in row.ids[row.answer_start :]]),
            "rows": torch.tensor([n for n, row in zip(numbers, rows, strict=True) for _ in row.ids[row.answer_start :]]),
            "weights": torch.cat(
                [
                    torch.full((len(row.ids) - row.answer_start,), float(self._weights[n]))
                    for n, row in zip(numbers, rows, strict=True)
                ]
            ),
            "tokens": tokens,
            "computed": tokens - prefix * (len(rows) - 1),
        }


def training_rows(model: Any, rows: Sequence[Rendered], weights: Sequence[float], *, plan: TrainingPlan, pad: int) -> Rows:
    """The plan's steps over its training rows."""
    prefix = prefix_of(model, rows)
    steps = schedule(
        [len(row.ids) - prefix for row in rows],
        batch_size=plan.batch_size,
        micro_batch_tokens=plan.micro_batch_tokens - prefix,
        steps=plan.steps,
        seed=plan.seed,
    )
    return Rows(rows, weights, steps=steps, pad=pad, prefix=prefix)


def validation_rows(model: Any, rows: Sequence[Rendered], weights: Sequence[float], *, plan: TrainingPlan, pad: int) -> Rows:
    """All rows as one step, for their loss."""
    prefix = prefix_of(model, rows)
    groups = micro_batches([len(row.ids) - prefix for row in rows], range(len(rows)), plan.micro_batch_tokens - prefix)
    return Rows(rows, weights, steps=[groups], pad=pad, prefix=prefix)


def prefix_of(model: Any, rows: Sequence[Rendered]) -> int:
    """How many opening tokens the model may share between all rows."""
    if not shares(model):
        return 0
    return shared_length([row.ids for row in rows], [row.answer_start for row in rows])


def shares(model: Any) -> bool:
    """Whether the model takes micro-batches in which rows share their opening tokens."""
    return bool(model.config._attn_implementation == shared_prefix.NAME)
