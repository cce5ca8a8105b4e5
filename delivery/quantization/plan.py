"""Which format is made from which, in which order, and how much disk it takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from delivery.client_config import Format

SOURCE: dict[Format, Format | None] = {"adapter": None, "merged": "adapter", "nf4": "merged", "gguf-q8_0": "merged"}
"""What each format is made from. Quantized formats come from the merged bf16 weights: an adapter that is folded into
4-bit weights is rounded twice."""

_BF16 = 2.0
_Q8_0 = 34 / 32  # 32 int8 weights and one fp16 scale
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # 4 bits, an int8 scale per 64, an fp32 scale per 256 of those (QLoRA, section 3)
_TOKENIZER = 16 * 2**20


class ModelSize(NamedTuple):
    """Parameters of a model; ``embedding`` counts those of the token embedding and the output layer (once if tied)."""

    total: int
    embedding: int


def production_order(formats: Sequence[Format], *, tuned: bool = True) -> tuple[Format, ...]:
    """The formats and what they are made from, each once, every source before what is made from it.

    Without an adapter (``tuned`` false) every format is made from the base model itself.
    """
    order: list[Format] = []

    def add(format: Format) -> None:
        source = SOURCE[format] if tuned else None
        if source is not None:
            add(source)
        if format not in order:
            order.append(format)

    for format in formats:
        add(format)
    return tuple(order)


def predicted_bytes(format: Format, *, model: ModelSize, adapter_bytes: int) -> int:
    """Upper estimate of a format's files in bytes: weights, and room for tokenizer and configuration.

    bitsandbytes leaves the embeddings in bf16; q8_0 quantizes them too.
    """
    if format == "adapter":
        return adapter_bytes
    if format == "merged":
        weights = model.total * _BF16
    elif format == "nf4":
        weights = model.embedding * _BF16 + (model.total - model.embedding) * _NF4
    else:
        weights = model.total * _Q8_0
    return int(weights * 1.01) + _TOKENIZER
