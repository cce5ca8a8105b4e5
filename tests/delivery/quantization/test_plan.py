from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.client_config import Format
from delivery.quantization import ModelSize, predicted_bytes, production_order
from delivery.quantization.plan import SOURCE

formats = st.lists(st.sampled_from(list(SOURCE)), max_size=8)


@given(formats)
def test_every_source_comes_before_what_is_made_from_it(wanted: list[Format]) -> None:
    order = production_order(wanted)
    assert set(wanted) <= set(order)
    assert len(order) == len(set(order))
    for position, format in enumerate(order):
        source = SOURCE[format]
        assert source is None or source in order[:position]


@given(formats)
def test_nothing_is_made_that_nobody_needs(wanted: list[Format]) -> None:
    needed: set[Format | None] = set(wanted)
    for _ in SOURCE:
        needed |= {SOURCE[format] for format in needed if format is not None}
    assert set(production_order(wanted)) == needed - {None}


@given(formats)
def test_an_untuned_base_needs_no_intermediate(wanted: list[Format]) -> None:
    assert production_order(wanted, tuned=False) == tuple(dict.fromkeys(wanted))


@pytest.mark.parametrize(
    ("format", "measured"),
    [("merged", 272_585_007), ("nf4", 115_404_705), ("gguf-q8_0", 144_810_880)],
)
def test_predicted_bytes_hold_what_smollm2_really_takes(format: Format, measured: int) -> None:
    smollm2 = ModelSize(total=134_515_008, embedding=49_152 * 576)
    predicted = predicted_bytes(format, model=smollm2, adapter_bytes=1)
    assert measured <= predicted <= measured * 1.15


@given(st.integers(10**8, 10**11), st.integers(0, 10**8))
def test_quantized_is_smaller_than_merged(total: int, embedding: int) -> None:
    model = ModelSize(total, min(total // 2, embedding))
    sizes = {f: predicted_bytes(f, model=model, adapter_bytes=7) for f in SOURCE}
    assert sizes["adapter"] == 7
    assert sizes["nf4"] < sizes["merged"]
    assert sizes["gguf-q8_0"] < sizes["merged"]
