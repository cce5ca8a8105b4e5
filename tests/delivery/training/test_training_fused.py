"""The fused LoRA layer against peft's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from delivery.artifacts import BaseModel
from delivery.training.hf.fused import _LoraLinear, fuse_updates
from delivery.weights.hf import load_model


def run(base: BaseModel, *, fused: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits and the adapter's gradients, from an adapter whose update is not nought."""
    torch.manual_seed(3)
    model = get_peft_model(
        load_model(Path(base.path), dtype=torch.float32), LoraConfig(r=4, lora_alpha=12, target_modules="all-linear")
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    if fused:
        assert fuse_updates(model) == 14
    logits = model(input_ids=torch.arange(3, 33).reshape(3, 10)).logits
    logits.square().mean().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_fused_layers_give_the_outputs_and_gradients_of_peft(tiny: BaseModel) -> None:
    plain, plain_gradients = run(tiny, fused=False)
    fused, fused_gradients = run(tiny, fused=True)
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5)
    assert fused_gradients.keys() == plain_gradients.keys()
    assert len(fused_gradients) == 28
    for name, gradient in plain_gradients.items():
        assert gradient.norm() > 0
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_finite_differences(bias: bool) -> None:
    torch.manual_seed(0)
    x, down, up = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 5), (2, 5), (4, 2)))
    weight = torch.randn(4, 5, dtype=torch.float64)
    offset = torch.randn(4, dtype=torch.float64) if bias else None
    assert torch.autograd.gradcheck(lambda x, a, b: _LoraLinear.apply(x, weight, offset, a, b, 1.5), (x, down, up))
