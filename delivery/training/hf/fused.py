"""A linear layer and its LoRA update as one autograd function.

peft adds the update to the layer's output and lets autograd sum the two gradients of the input: passes over tensors as
large as the layer's output or input. Here each sum is done by the matrix product that makes the second term.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear


def fuse_updates(model: Any) -> int:
    """Let every plain LoRA layer of a model compute fused; how many there were. Quantized layers stay as they are."""
    plain = [m for m in model.modules() if type(m) is LoraLinear and type(m.base_layer) is torch.nn.Linear]
    for module in plain:
        module.forward = partial(_forward, module)
    return len(plain)


def _forward(module: Any, x: torch.Tensor) -> torch.Tensor:
    base = module.base_layer
    (name,) = module.active_adapters
    down, up = module.lora_A[name].weight, module.lora_B[name].weight
    return _LoraLinear.apply(x.to(base.weight.dtype), base.weight, base.bias, down, up, module.scaling[name])


class _LoraLinear(torch.autograd.Function):
    """y = x W' + b + s (x A') B' with W and b frozen. Shapes: x (..., in), W (out, in), A (rank, in), B (out, rank)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        x, weight, bias, down, up, scaling = inputs
        rows = x.flatten(0, -2)
        narrow, wide = down.to(x.dtype), up.to(x.dtype)
        inner = (rows @ narrow.t()).mul_(scaling)
        out = torch.nn.functional.linear(rows, weight, bias).addmm_(inner, wide.t())
        ctx.save_for_backward(rows, inner, weight, narrow, wide)
        ctx.scaling, ctx.kinds = scaling, (down.dtype, up.dtype)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, inner, weight, narrow, wide = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)
        to_inner = (gradient @ wide).mul_(ctx.scaling)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (gradient @ weight).addmm_(to_inner, narrow).view(*gradients[0].shape[:-1], -1)
        to_down, to_up = (to_inner.t() @ rows).to(ctx.kinds[0]), (gradient.t() @ inner).to(ctx.kinds[1])
        return to_x, None, None, to_down, to_up, None
