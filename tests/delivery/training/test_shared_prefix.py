"""Packed rows: the same loss and gradients as every row by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delivery.artifacts import BaseModel, Example, Message, TrainingPlan
from delivery.training.batches import micro_batches
from delivery.training.hf import adapter, shared_prefix
from delivery.training.hf.adapter import attach_adapter
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.rows import Rows, Unit, shares, sizes, tokenize
from delivery.training.packing import pack
from delivery.weights.hf import has_plain_attention, load_config, load_tokenizer

PERSONAS = tuple(" ".join(f"w{(n * step) % 50}" for n in range(length)) for step, length in ((1, 40), (3, 33), (7, 50)))
EARLIER = " ".join(f"w{n * 11 % 50}" for n in range(20))


@st.composite
def chats(draw: st.DrawFn) -> Example:
    """A chat that may share its system prompt and its first turn with others, of any length, with turns of any weight."""
    system = draw(st.sampled_from(["", *PERSONAS]))
    words = st.integers(1, 30).map(lambda n: " ".join(f"w{n * i % 50}" for i in range(1, n + 1)))
    messages = [Message("system", system)] if system else []
    for turn in range(draw(st.integers(0, 2))):
        asked = EARLIER if turn == 0 and draw(st.booleans()) else draw(words)
        weight = draw(st.sampled_from([0.0, 0.0, 1.0, 2.5]))
        messages += [Message("user", asked), Message("assistant", draw(words), weight)]
    messages.append(Message("user", draw(words)))
    return Example("", tuple(messages), draw(words), weight=draw(st.sampled_from([1.0, 1.0, 0.5, 3.0, 0.0])))


def attached(base: BaseModel, plan: TrainingPlan) -> Any:
    """With an adapter that changes something, so that both of its matrices have gradients."""
    model = attach_adapter(plan, base)
    draw = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.02
    return model


@pytest.fixture(scope="module")
def loss_of(tiny: BaseModel, plan: TrainingPlan) -> AnswerLoss:
    return AnswerLoss(attached(tiny, plan), precision="fp32")


@pytest.fixture(scope="module")
def tokenizer(tiny: BaseModel) -> Any:
    return load_tokenizer(Path(tiny.path))


def loss_and_gradients(loss_of: AnswerLoss, rows: Rows) -> tuple[float, torch.Tensor]:
    loss_of._model.zero_grad()
    total = 0.0
    for batch in rows[0]["micro_batches"]:
        part = loss_of(batch)
        part.backward()
        total += part.item()
    gradients = [p.grad for p in loss_of._model.parameters() if p.requires_grad and p.grad is not None]
    return total, torch.cat([gradient.flatten() for gradient in gradients])


def differences(loss_of: AnswerLoss, units: Sequence[Unit], groups: list[list[int]]) -> tuple[float, float]:
    """Relative difference of loss and gradients between packed micro-batches and every row alone."""
    alone: list[Unit] = [(row,) for unit in units for row in unit]
    loss, gradients = loss_and_gradients(loss_of, Rows(alone, steps=[[[n] for n in range(len(alone))]], pad=0, packed=True))
    same_loss, same = loss_and_gradients(loss_of, Rows(units, steps=[groups], pad=0, packed=True))
    return abs(loss - same_loss) / max(loss, 1e-9), float((gradients - same).norm() / max(float(gradients.norm()), 1e-9))


@pytest.mark.parametrize("path", ["plain", "again", "fused"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(chats(), min_size=1, max_size=9), budget=st.integers(20, 900), queries=st.integers(3, 150))
def test_loss_and_gradients_are_those_of_rows_alone(
    loss_of: AnswerLoss, tokenizer: Any, path: str, rows: list[Example], budget: int, queries: int
) -> None:
    units = tokenize(tokenizer, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_prefix, "PLAIN_ATTENTION_UP_TO", 512 if path == "plain" else 0)
        patch.setattr(shared_prefix, "_plain_on", lambda _: path != "fused")
        patch.setattr(shared_prefix, "PLAIN_QUERIES", queries)
        patch.setattr(shared_prefix, "_FUSED_QUERIES", queries)
        groups = micro_batches(sizes(loss_of._model, units), range(len(units)), budget)
        loss, gradients = differences(loss_of, units, groups)
    assert loss < 1e-6
    assert gradients < 2e-6


def test_rows_alone_are_what_the_unchanged_model_computes(
    tiny: BaseModel, plan: TrainingPlan, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Example("", (Message("system", PERSONAS[0]), Message("user", "w1 w2")), "w3 w4 w5", weight=2.0)
    rows = tokenize(tokenizer, [chat])
    packed = AnswerLoss(attached(tiny, plan), precision="fp32")
    monkeypatch.setattr(adapter, "has_plain_attention", lambda _: False)
    usual = AnswerLoss(attached(tiny, plan), precision="fp32")
    assert not shares(usual._model)
    (loss, gradients), (same_loss, same) = (
        loss_and_gradients(answers, Rows(rows, steps=[[[0]]], pad=0, packed=shares(answers._model)))
        for answers in (usual, packed)
    )
    assert same_loss == pytest.approx(loss, rel=1e-6)
    # Torch's own kernel sums in another order.
    assert (same - gradients).norm() < 1e-5 * gradients.norm()


@pytest.mark.slow
def test_exact_on_real_layers(shallow: BaseModel, plan: TrainingPlan) -> None:
    tokenizer = load_tokenizer(Path(shallow.path))
    label = "Read the message of a customer and answer with one label and nothing else: claim, question, praise, complaint."
    friend = "You are the customer's friend from the old village. Answer in one word, as briefly and as kindly as you can."
    asked = ["A pipe burst.", "Someone stole my bike from the cellar last night, what now?", "Is hail covered?"]
    chats = [
        Example(str(n), (Message("system", label if n % 2 else friend), Message("user", text)), "question")
        for n, text in enumerate(asked)
    ]
    earlier = (*chats[1].messages, Message("assistant", "question", 0.5), Message("user", "And what if it was not locked?"))
    units = tokenize(tokenizer, [*chats, Example("3", earlier, "claim")])
    # In float32 the real model's gradients differ by 1.5e-4 between any two ways to batch the same rows, shared or not.
    model = attached(shallow, replace(plan, precision="fp32"))
    answers = AnswerLoss(model, precision="fp32")
    (batch,) = Rows(units, steps=[[[0, 1, 2, 3]]], pad=0, packed=True)[0]["micro_batches"]
    assert batch["computed"] < 0.7 * sum(len(row.ids) for unit in units for row in unit)
    with torch.no_grad():
        alone = [Rows([(row,)], steps=[[[0]]], pad=0, packed=True)[0]["micro_batches"][0] for unit in units for row in unit]
        assert answers(batch).item() == pytest.approx(sum(answers(one).item() for one in alone), rel=1e-6)
    answers._model.double()
    loss, gradients = differences(answers, units, [[0, 1, 2, 3]])
    assert loss < 1e-6
    assert gradients < 2e-6


def test_gradients_of_blocks_are_those_of_finite_differences() -> None:
    prefix = list(range(20))
    packed = pack([[*prefix, 30, 31, 32], [*prefix, 40, 41], [50, 51, 52, 53, 54], [*prefix, 60]])
    assert len(packed.segments) == 5
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, packed.tokens, 4, dtype=torch.float64, generator=draw).requires_grad_() for heads in (4, 2, 2)
    )
    views = shared_prefix.views_of(packed, torch.device("cpu"))
    assert torch.autograd.gradcheck(lambda *x: shared_prefix._Blocks.apply(*x, views, 0.5), (query, key, value), fast_mode=True)


def test_another_architecture_is_trained_the_usual_way(tiny: BaseModel) -> None:
    config = load_config(Path(tiny.path))
    assert has_plain_attention(config)
    config.use_sliding_window = True
    assert not has_plain_attention(config)
    config.use_sliding_window, config.model_type = False, "gemma2"
    assert not has_plain_attention(config)
