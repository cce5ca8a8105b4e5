"""The real base model as GGUF, made once and kept where deliveries keep it."""

from __future__ import annotations

import pytest

from delivery.artifacts import Artifact, BaseModel
from delivery.quantization import quantize
from delivery.settings import get_settings


@pytest.fixture(scope="session")
def gguf(smollm2: BaseModel) -> Artifact:
    kept = get_settings().cache / "untuned" / smollm2.sha256
    (made,) = quantize(("gguf-q8_0",), base=smollm2, adapter=None, out=kept)
    return made
