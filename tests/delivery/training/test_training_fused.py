"""Fused modules against those of transformers and peft."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config, SmolLM3Config
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from delivery.artifacts import BaseModel
from delivery.training.hf.fused import Fused, _Layer, _LoraLinear, _LoraNetwork, _RmsNorm, fuse
from delivery.weights.hf import load_model

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
    "pad_token_id": 2,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "llama with biases": lambda: LlamaConfig(**SIZES, mlp_bias=True, attention_bias=True),
    "llama with gelu": lambda: LlamaConfig(**SIZES, hidden_act="gelu"),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "qwen3": lambda: Qwen3Config(**SIZES, head_dim=8),
    "smollm3": lambda: SmolLM3Config(**SIZES),
}
ALL = Fused(updates=14, networks=2, norms=5)


class Passed(NamedTuple):
    logits: torch.Tensor
    gradients: dict[str, torch.Tensor]


def with_adapter(model: Any, **more: Any) -> Any:
    """The model with an adapter whose update is not nought."""
    torch.manual_seed(3)
    made = get_peft_model(model, LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", **more))
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return made


def passed(model: Any) -> Passed:
    model.zero_grad()
    logits = model(input_ids=torch.arange(3, 33).reshape(3, 10)).logits
    logits.float().square().mean().backward()
    return Passed(logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})


def far(one: Passed, other: Passed) -> float:
    """How far the logits, or the adapter's gradients as a whole, are apart: the larger of the two relative differences."""
    assert one.gradients.keys() == other.gradients.keys()
    assert len(other.gradients) == 28
    whole = [torch.cat([each.gradients[name].double().flatten() for name in other.gradients]) for each in (one, other)]
    pairs = [(one.logits.double(), other.logits.double()), (whole[0], whole[1])]
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


@pytest.mark.parametrize("name", CONFIGS)
def test_fused_models_give_the_outputs_and_gradients_of_plain_ones(name: str) -> None:
    torch.manual_seed(0)
    plain = with_adapter(AutoModelForCausalLM.from_config(CONFIGS[name]()))
    norms = 9 if name == "qwen3" else 5
    fused = copy.deepcopy(plain)
    assert fuse(fused) == Fused(14, 0 if name == "llama with gelu" else 2, norms)
    assert far(passed(fused), passed(plain)) < 2e-6


def test_bf16_is_as_close_to_float32_as_the_plain_modules_are() -> None:
    apart = []
    for seed in range(5):
        torch.manual_seed(seed)
        exact = with_adapter(AutoModelForCausalLM.from_config(CONFIGS["llama"]()))
        plain = copy.deepcopy(exact).to(torch.bfloat16)
        fused = copy.deepcopy(plain)
        fuse(fused)
        expected = passed(exact)
        apart.append((far(passed(fused), expected), far(passed(plain), expected)))
    ours, theirs = (sum(each) / len(apart) for each in zip(*apart, strict=True))
    assert ours < 1.2 * theirs < 0.02


def test_the_same_bits_from_run_to_run(tiny: BaseModel) -> None:
    model = with_adapter(load_model(Path(tiny.path), dtype=torch.bfloat16))
    assert fuse(model) == ALL
    one, other = passed(model), passed(model)
    assert torch.equal(one.logits, other.logits)
    assert all(torch.equal(one.gradients[name], other.gradients[name]) for name in one.gradients)


def test_a_4_bit_base_gives_the_gradients_of_its_dense_weights(tiny: BaseModel) -> None:
    quantized = with_adapter(load_model(Path(tiny.path), dtype=torch.float32, nf4=True))
    dense = with_adapter(load_model(Path(tiny.path), dtype=torch.float32))
    for name, module in quantized.named_modules():
        if isinstance(module, Linear4bit):
            dense.get_submodule(name).weight.data = dequantize_4bit(module.weight, module.weight.quant_state)
    expected = passed(dense)
    assert fuse(quantized) == ALL
    assert far(passed(quantized), expected) < 2e-6
    quantized.eval()
    with torch.no_grad(), quantized.disable_adapter():
        quantized(input_ids=torch.arange(3, 13)[None])
    quantized.train()
    assert far(passed(quantized), expected) < 2e-6


@pytest.mark.parametrize("more", [{"lora_dropout": 0.5}, {"use_dora": True}, {"use_rslora": True}], ids=str)
def test_updates_of_other_kinds_are_those_of_peft(tiny: BaseModel, more: dict[str, Any]) -> None:
    plain = with_adapter(load_model(Path(tiny.path), dtype=torch.float32), **more)
    fused = copy.deepcopy(plain)
    fuse(fused)
    found = []
    for model in (fused, plain):
        torch.manual_seed(5)
        found.append(passed(model.train()))
    assert found[0].gradients.keys() == found[1].gradients.keys()
    torch.testing.assert_close(found[0].logits, found[1].logits, rtol=1e-5, atol=1e-5)


def test_a_disabled_adapter_leaves_the_base(tiny: BaseModel) -> None:
    ids = torch.arange(3, 13)[None]
    base = load_model(Path(tiny.path), dtype=torch.float32)
    with torch.no_grad():
        expected = base(input_ids=ids).logits
        model = with_adapter(base)
        fuse(model)
        assert not torch.allclose(model(input_ids=ids).logits, expected, atol=1e-3)
        with model.disable_adapter():
            torch.testing.assert_close(model(input_ids=ids).logits, expected)


def layer(draw: torch.Generator, inputs: int, outputs: int, *, bias: bool) -> _Layer:
    weight, down, up = (
        torch.randn(*shape, dtype=torch.float64, generator=draw) for shape in ((outputs, inputs), (2, inputs), (outputs, 2))
    )
    offset = torch.randn(outputs, dtype=torch.float64, generator=draw) if bias else None
    return _Layer(lambda dtype: weight.to(dtype), offset, 1.5, down.requires_grad_(), up.requires_grad_())


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_layers_are_those_of_finite_differences(bias: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, dtype=torch.float64, generator=draw, requires_grad=True)
    one = layer(draw, 5, 4, bias=bias)
    assert torch.autograd.gradcheck(lambda x, a, b: _LoraLinear.apply(x, one, a, b), (x, one.down, one.up))
    network = (layer(draw, 5, 4, bias=bias), layer(draw, 5, 4, bias=bias), layer(draw, 4, 5, bias=bias))
    factors = [factor for each in network for factor in (each.down, each.up)]
    assert torch.autograd.gradcheck(lambda x, *f: _LoraNetwork.apply(x, network, *f), (x, *factors))


def test_gradients_of_the_norm_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True), torch.randn(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: _RmsNorm.apply(x, weight, 1e-3), (x,))


def test_the_norm_rounds_where_the_plain_one_does() -> None:
    torch.manual_seed(0)
    plain = LlamaRMSNorm(64, eps=1e-5).to(torch.bfloat16)
    plain.weight = nn.Parameter(torch.randn(64, dtype=torch.bfloat16), requires_grad=False)
    x = torch.randn(7, 64, dtype=torch.bfloat16) * 3
    torch.testing.assert_close(_RmsNorm.apply(x, plain.weight, 1e-5), plain(x), rtol=2**-7, atol=0)
