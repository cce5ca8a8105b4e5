"""The output layer with its loss against plain cross-entropy."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from delivery.training.hf import head
from delivery.training.hf.head import answer_losses


def drawn(dtype: torch.dtype, *, bias: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    torch.manual_seed(0)
    hidden, weight = torch.randn(11, 6), torch.randn(23, 6)
    offset = torch.randn(23).to(dtype) if bias else None
    return hidden.to(dtype).requires_grad_(), weight.to(dtype), offset, torch.randint(23, (11,))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("at_once", [1, 23 * 4, 10**6])
def test_losses_and_gradients_are_those_of_all_logits_at_once(
    bias: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", at_once)
    hidden, weight, offset, targets = drawn(torch.float32, bias=bias)
    scales = torch.linspace(0.0, 3.0, 11)
    found = answer_losses(hidden, weight, offset, targets)
    (gradient,) = torch.autograd.grad(found @ scales, hidden)
    plain = cross_entropy(linear(hidden, weight, offset), targets, reduction="none")
    (expected,) = torch.autograd.grad(plain @ scales, hidden)
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    hidden, weight, offset, targets = drawn(torch.float64, bias=True)
    assert torch.autograd.gradcheck(lambda h: answer_losses(h, weight, offset, targets), (hidden,))


def test_bf16_logits_are_summed_in_float32() -> None:
    hidden, weight, _, targets = drawn(torch.bfloat16, bias=False)
    found = answer_losses(hidden, weight, None, targets)
    plain = cross_entropy(linear(hidden, weight).float(), targets, reduction="none")
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), hidden)
    (expected,) = torch.autograd.grad(plain.sum(), hidden)
    assert (gradient.float() - expected.float()).norm() < 0.01 * expected.float().norm()


def test_without_a_gradient_none_is_made() -> None:
    hidden, weight, offset, targets = drawn(torch.float32, bias=True)
    with torch.no_grad():
        found = answer_losses(hidden, weight, offset, targets)
    assert not found.requires_grad
    torch.testing.assert_close(found, cross_entropy(linear(hidden, weight, offset), targets, reduction="none").detach())
