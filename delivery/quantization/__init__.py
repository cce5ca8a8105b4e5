"""From an adapter to every format that can be shipped: adapter -> merged -> {nf4, gguf-q8_0}.

Each format has a folder of its own with ``manifest.json`` (names and SHA-256 of its files, and what it was made from).
A folder appears whole or not at all, and one that is complete is used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from delivery.artifacts import Artifact, BaseModel, OnProgress, no_progress
from delivery.client_config import Format
from delivery.quantization.plan import ModelSize, predicted_bytes, production_order

__all__ = ["ModelSize", "predicted_bytes", "production_order", "quantize"]


def quantize(
    formats: Sequence[Format], *, base: BaseModel, adapter: Artifact | None, out: Path, on_progress: OnProgress = no_progress
) -> tuple[Artifact, ...]:
    """Make the formats, each in ``out/<format>/``, and return them in the order asked for.

    Complete formats of the same base and adapter are reused. What a format is made from is made too, and kept. Without
    an adapter the formats are those of the base model as it is.

    Raises:
        IntegrityError: a file of the adapter is not the one that was recorded.
        ConfigError: the disk is too small, the base model has no chat template or cannot be converted, or the format
            ``adapter`` is asked for without one.
    """
    from delivery.quantization.formats import make_formats

    return make_formats(formats, base=base, adapter=adapter, out=out, on_progress=on_progress)
