"""What a decoder layer does beside its frozen products, as few autograd functions that touch large tensors seldom.

- A linear layer with its LoRA update: peft adds the update to the layer's output and lets autograd sum the two gradients of
  the input; here each sum is done by the matrix product that makes its second term. A 4-bit base is made dense for each
  product and dropped again, so the backward pass keeps no dense copy.
- A gated feed-forward network: its inner products are made again in the backward pass instead of kept, and the gradients of
  its input are summed by products.
- RMS norm: keeps its input and one number per token.

Modules are known by their class; all others stay as they are. The results are those of the plain modules to rounding, the
same bits from run to run, on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft.tuners.lora.layer import LoraLayer
from torch.nn.functional import linear, silu

_FAMILIES = ("Llama", "Qwen2", "Qwen3", "SmolLM3")
_NORMS = tuple(f"{family}RMSNorm" for family in _FAMILIES)
_NETWORKS = tuple(f"{family}MLP" for family in _FAMILIES)


class Fused(NamedTuple):
    """How many modules of each kind compute fused."""

    updates: int
    networks: int
    norms: int


def fuse(model: Any) -> Fused:
    """Let every module of a peft model that is known here compute fused, in place.

    A LoRA layer is known over a plain or a 4-bit linear layer. While its adapter is disabled or merged, has dropout, is a
    variant such as DoRA or one of several, it computes as peft does.
    """
    updates = [m for m in model.modules() if isinstance(m, LoraLayer) and type(m.base_layer) in (torch.nn.Linear, Linear4bit)]
    networks = [m for m in model.modules() if type(m).__name__ in _NETWORKS and _is_silu(m.act_fn)]
    norms = [m for m in model.modules() if type(m).__name__ in _NORMS and not m.weight.requires_grad]
    for module in updates:
        # In evaluation bitsandbytes lays 4-bit weights out anew for a kernel without gradients, and trains on with that.
        module.base_layer.support_avx512bf16_for_cpu = False
    for modules, forward in ((updates, _update), (networks, _network), (norms, _norm)):
        for module in modules:
            module.forward = partial(forward, module)
    return Fused(len(updates), len(networks), len(norms))


def _is_silu(function: Any) -> bool:
    x = torch.linspace(-3.0, 3.0, 7)
    return torch.equal(function(x), silu(x))


class _Layer(NamedTuple):
    """A linear layer y = x W' + b + s (x A') B', W and b frozen. Shapes: W (out, in), A (rank, in), B (out, rank)."""

    dense: Callable[[torch.dtype], torch.Tensor]
    bias: torch.Tensor | None
    scaling: float
    down: torch.Tensor
    up: torch.Tensor


def _layer(module: Any) -> _Layer | None:
    """What a LoRA layer computes at present; None where that is more than one plain update."""
    if not isinstance(module, LoraLayer) or type(module.base_layer) not in (torch.nn.Linear, Linear4bit):
        return None
    if module.disable_adapters or module.merged or len(module.active_adapters) != 1:
        return None
    (name,) = module.active_adapters
    if name not in module.lora_A or name in module.lora_variant:
        return None
    if module.training and not isinstance(module.lora_dropout[name], torch.nn.Identity):
        return None
    base = module.base_layer
    dense = partial(_dense, base.weight)
    return _Layer(dense, base.bias, module.scaling[name], module.lora_A[name].weight, module.lora_B[name].weight)


def _dense(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    state = getattr(weight, "quant_state", None)
    return weight.to(dtype) if state is None else dequantize_4bit(weight, state).to(dtype)


def _precision(module: Any, x: torch.Tensor) -> torch.dtype:
    """That of the base's products: a 4-bit layer has no other than its input's."""
    base = module.base_layer
    return base.weight.dtype if type(base) is torch.nn.Linear else base.compute_dtype or x.dtype


def _update(module: Any, x: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
    layer = None if rest or more else _layer(module)
    if layer is None:
        return type(module).forward(module, x, *rest, **more)
    return _LoraLinear.apply(x.to(_precision(module, x)), layer, layer.down, layer.up)


def _network(module: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up, down = (_layer(part) for part in (module.gate_proj, module.up_proj, module.down_proj))
    if gate is None or up is None or down is None:
        return type(module).forward(module, x)
    factors = (gate.down, gate.up, up.down, up.up, down.down, down.up)
    return _LoraNetwork.apply(x.to(_precision(module.gate_proj, x)), (gate, up, down), *factors)


def _norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    if x.dtype != module.weight.dtype:
        return type(module).forward(module, x)
    return _RmsNorm.apply(x, module.weight, module.variance_epsilon)


class _Passed(NamedTuple):
    """Output of a layer, and its scaled inner product (tokens, rank)."""

    out: torch.Tensor
    inner: torch.Tensor


def _forward(rows: torch.Tensor, layer: _Layer) -> _Passed:
    inner = (rows @ layer.down.to(rows.dtype).t()).mul_(layer.scaling)
    bias = None if layer.bias is None else layer.bias.to(rows.dtype)
    return _Passed(linear(rows, layer.dense(rows.dtype), bias).addmm_(inner, layer.up.to(rows.dtype).t()), inner)


class _Gradients(NamedTuple):
    """Of a layer's two factors, and of its inner product."""

    down: torch.Tensor
    up: torch.Tensor
    inner: torch.Tensor


def _backward(gradient: torch.Tensor, rows: torch.Tensor, inner: torch.Tensor, layer: _Layer) -> _Gradients:
    to_inner = (gradient @ layer.up.to(gradient.dtype)).mul_(layer.scaling)
    to_down, to_up = to_inner.t() @ rows, gradient.t() @ inner
    return _Gradients(to_down.to(layer.down.dtype), to_up.to(layer.up.dtype), to_inner)


def _to_rows(gradient: torch.Tensor, to_inner: torch.Tensor, layer: _Layer, total: torch.Tensor | None = None) -> torch.Tensor:
    """The gradient of a layer's input, added to ``total`` in place where there is one."""
    dense, narrow = layer.dense(gradient.dtype), layer.down.to(gradient.dtype)
    summed = gradient @ dense if total is None else total.addmm_(gradient, dense)
    return summed.addmm_(to_inner, narrow)


class _LoraLinear(torch.autograd.Function):
    """A layer. Shapes: x (..., in); returns (..., out)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        x, layer, *_ = inputs
        rows = x.flatten(0, -2)
        out, inner = _forward(rows, layer)
        ctx.save_for_backward(rows, inner)
        ctx.layer = layer
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (rows, inner), layer = ctx.saved_tensors, ctx.layer
        gradient = gradients[0].flatten(0, -2)
        found = _backward(gradient, rows, inner, layer)
        to_x = _to_rows(gradient, found.inner, layer).view(*gradients[0].shape[:-1], -1) if ctx.needs_input_grad[0] else None
        return to_x, None, found.down, found.up


class _LoraNetwork(torch.autograd.Function):
    """down(silu(gate(x)) * up(x)) of three layers. Shapes: x (..., hidden); returns the same."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        x, layers, *_ = inputs
        rows = x.flatten(0, -2)
        gate, gate_inner = _forward(rows, layers[0])
        up, up_inner = _forward(rows, layers[1])
        out, down_inner = _forward(silu(gate).mul_(up), layers[2])
        ctx.save_for_backward(rows, gate, up, gate_inner, up_inner, down_inner)
        ctx.layers = layers
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, gate, up, gate_inner, up_inner, down_inner = ctx.saved_tensors
        of_gate, of_up, of_down = ctx.layers
        gradient = gradients[0].flatten(0, -2)
        active = silu(gate)
        down = _backward(gradient, active * up, down_inner, of_down)
        to_hidden = _to_rows(gradient, down.inner, of_down)
        to_up = active.mul_(to_hidden)
        to_gate = torch.ops.aten.silu_backward(to_hidden.mul_(up), gate)
        at_gate, at_up = _backward(to_gate, rows, gate_inner, of_gate), _backward(to_up, rows, up_inner, of_up)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = _to_rows(to_up, at_up.inner, of_up, _to_rows(to_gate, at_gate.inner, of_gate)).view(gradients[0].shape)
        return to_x, None, at_gate.down, at_gate.up, at_up.down, at_up.up, down.down, down.up


class _RmsNorm(torch.autograd.Function):
    """x / sqrt(mean of squares + epsilon) * weight over the last dimension, with a frozen weight (Zhang and Sennrich, 2019)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        x, weight, epsilon = inputs
        wide = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        scale = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, scale, weight)
        return (x * scale).to(x.dtype) * weight

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, weight = ctx.saved_tensors
        gradient, normed = (gradients[0] * weight).to(scale.dtype), x * scale
        along = (gradient * normed).mean(-1, keepdim=True)
        to_x = gradient.addcmul_(normed, along, value=-1).mul_(scale)
        return to_x.to(x.dtype), None, None
