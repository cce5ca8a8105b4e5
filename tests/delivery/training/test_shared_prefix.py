"""Opening tokens that are computed once: the same loss and gradients as every row by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from delivery.artifacts import BaseModel, Example, Message, TrainingPlan
from delivery.training.batches import shared_length
from delivery.training.hf import shared_prefix
from delivery.training.hf.adapter import attach_adapter
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.rows import Rows, tokenize
from delivery.weights.hf import Rendered, load_config, load_tokenizer
from tests.delivery.training.tiny_rows import example


def with_system(examples: Sequence[Example], system: str) -> list[Example]:
    return [replace(e, messages=(Message("system", system), *e.messages[1:])) for e in examples]


def draw_updates(model: torch.nn.Module) -> None:
    """An adapter that changes something, so that both of its matrices have gradients."""
    draw = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.02


def loss_and_gradients(model: torch.nn.Module, loss: AnswerLoss, rows: Rows) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    total = 0.0
    for index in range(len(rows)):
        for batch in rows[index]["micro_batches"]:
            part = loss(batch)
            part.backward()
            total += part.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def compare(model: torch.nn.Module, rows: list[Rendered], groups: list[list[int]], pad: int) -> tuple[float, float]:
    """Relative difference of loss and gradients between shared micro-batches and every row alone."""
    draw_updates(model)
    prefix = shared_length([row.ids for row in rows], [row.answer_start for row in rows])
    assert prefix >= 16
    weights = [1.0 + n % 2 for n in range(len(rows))]
    alone = Rows(rows, weights, steps=[[[n] for n in range(len(rows))]], pad=pad)
    shared = Rows(rows, weights, steps=[groups], pad=pad, prefix=prefix)
    answer_loss = AnswerLoss(model, precision="fp32")
    loss, gradients = loss_and_gradients(model, answer_loss, alone)
    same_loss, same = loss_and_gradients(model, answer_loss, shared)
    whole = torch.cat([g.flatten() for g in gradients.values()])
    apart = torch.cat([(gradients[name] - g).flatten() for name, g in same.items()])
    assert whole.norm() > 0
    return abs(loss - same_loss) / loss, float(apart.norm() / whole.norm())


@pytest.mark.parametrize("plain_up_to", [512, 0], ids=["plain", "fused"])
def test_loss_and_gradients_are_those_of_rows_alone(
    tiny: BaseModel, plan: TrainingPlan, plain_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_prefix, "PLAIN_ATTENTION_UP_TO", plain_up_to)
    tokenizer = load_tokenizer(Path(tiny.path))
    examples = with_system([example(n, 3 + n * 5 % 17) for n in range(9)], " ".join(f"w{n % 11}" for n in range(40)))
    rows = tokenize(tokenizer, examples)
    loss, gradients = compare(attach_adapter(plan, tiny), rows, [[0, 4, 7, 2], [1], [3, 5, 6, 8]], tokenizer.pad_token_id)
    assert loss < 1e-6
    assert gradients < 2e-6


@pytest.mark.slow
def test_exact_on_the_real_model(smollm2: BaseModel, plan: TrainingPlan) -> None:
    tokenizer = load_tokenizer(Path(smollm2.path))
    texts = ["A pipe burst.", "Someone stole my bike from the cellar last night, what now?", "Thanks!", "Is hail covered?"]
    system = "Read the message of a customer and answer with one label and nothing else: claim, question, praise, complaint."
    messages = [(Message("system", system), Message("user", text)) for text in texts]
    rows = tokenize(tokenizer, [Example(id=str(n), messages=m, answer="question") for n, m in enumerate(messages)])
    # In float32 the real model's gradients differ by 1.5e-4 between any two ways to batch the same rows, prefix or none.
    model = attach_adapter(replace(plan, precision="fp32"), smollm2).double()
    loss, gradients = compare(model, rows, [[0, 1, 2, 3]], tokenizer.pad_token_id or tokenizer.eos_token_id)
    assert loss < 1e-6
    assert gradients < 2e-6


def test_the_shared_length_leaves_every_row_a_token_of_its_own() -> None:
    opening = list(range(20))
    assert shared_length([[*opening, 1, 5], [*opening, 2, 6]], [21, 21]) == 20
    assert shared_length([[*opening, 5], [*opening, 6]], [20, 20]) == 19
    assert shared_length([[*opening, 5], [*opening, 5]], [20, 20]) == 19
    assert shared_length([[*opening[:10], 1], [*opening[:10], 2]], [10, 10]) == 0
    assert shared_length([[*opening, 1]], [20]) == 0


def test_another_architecture_is_trained_the_usual_way(tiny: BaseModel) -> None:
    config = load_config(Path(tiny.path))
    assert shared_prefix.supports(config)
    config.model_type = "gemma2"
    assert not shared_prefix.supports(config)
