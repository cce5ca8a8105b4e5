"""Predicted memory: its constants are what the engine keeps, and it moves the way memory does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Band, BaseModel, Shape, TokenStats
from delivery.training.memory import PLAIN_ATTENTION_UP_TO, SAVED, Setup, adapter_parameters, peak_bytes, predict
from delivery.weights.folder import shape_of
from tests.benchmarks.planner_constants import Case, kept_per_token

SMOLLM2 = Shape(576, 1536, 30, 9, 3, 64, 49_152)
BASE = BaseModel("base", "", "", "", "", 134_515_008, 8192, SMOLLM2)
STATS = TokenStats(720, 720 * 190, 720 * 40, 260, 48, bands=(Band(150, 30.0), Band(190, 40.0), Band(260, 48.0)))
SETUP = Setup(method="lora", rank=16, precision="bf16", batch_size=16, micro_batch_tokens=1536)


@pytest.mark.parametrize("length", [40, PLAIN_ATTENTION_UP_TO + 20], ids=["plain", "fused"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_engine_keeps_what_the_constants_say(length: int, precision: str) -> None:
    # Where this fails, the engine keeps more or less than before: run tests.benchmarks.planner_constants and copy its lines.
    shape = Shape(96, 224, 2, 6, 2, 16, 64)
    seen = kept_per_token(Case("lora", precision, rank=12), shape, length=length)
    plain = length <= PLAIN_ATTENTION_UP_TO
    said = SAVED["lora", precision, plain].per_token(shape, context=length, rank=12)
    assert said == pytest.approx(seen, rel=0.03)


def test_the_adapter_is_counted_exactly() -> None:
    # SmolLM2-135M with rank 16 on all linear layers, as peft reports it.
    assert adapter_parameters(SMOLLM2, 16) == 4_884_480


def test_the_shape_is_read_from_the_configuration() -> None:
    config = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49_152,
    }
    assert shape_of(config) == SMOLLM2
    assert shape_of({"text_config": {**config, "head_dim": 32}}) == replace(SMOLLM2, head_width=32)
    assert shape_of({"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257}) == Shape(
        768, 3072, 12, 12, 12, 64, 50_257
    )
    assert shape_of({"hidden_size": 576}) is None


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["lora", "qlora"]), st.sampled_from(["bf16", "fp32"]), st.sampled_from([8, 16, 64]), st.integers(300, 8192)
)
def test_more_of_anything_takes_more_memory(method: str, precision: str, rank: int, tokens: int) -> None:
    setup = replace(SETUP, method=method, precision=precision, rank=rank, micro_batch_tokens=tokens)
    peak = peak_bytes(BASE, STATS, setup)
    assert peak == sum(predict(BASE, STATS, setup))
    assert peak_bytes(BASE, STATS, replace(setup, rank=2 * rank)) > peak
    assert peak_bytes(BASE, STATS, replace(setup, micro_batch_tokens=2 * tokens)) >= peak
    assert peak_bytes(BASE, replace(STATS, bands=(*STATS.bands, Band(2000, 50.0))), setup) >= peak
    assert peak_bytes(BASE, STATS, replace(setup, precision="fp32")) >= peak
    assert (
        predict(BASE, STATS, replace(setup, method="qlora")).weights
        < predict(BASE, STATS, replace(setup, method="lora")).weights
    )


def test_a_base_of_unknown_shape_is_taken_for_a_common_one() -> None:
    known, unknown = (peak_bytes(base, STATS, SETUP) for base in (BASE, replace(BASE, shape=None)))
    assert unknown == pytest.approx(known, rel=0.3)


def test_old_statistics_without_bands_are_still_planned_with() -> None:
    assert peak_bytes(BASE, replace(STATS, bands=()), SETUP) == pytest.approx(peak_bytes(BASE, STATS, SETUP), rel=0.1)
