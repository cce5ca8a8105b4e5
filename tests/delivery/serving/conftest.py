"""The real base model as GGUF, made once."""

from __future__ import annotations

import pytest

from delivery.artifacts import Artifact, BaseModel
from delivery.quantization import quantize


@pytest.fixture(scope="session")
def gguf(smollm2: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    (made,) = quantize(("gguf-q8_0",), base=smollm2, adapter=None, out=tmp_path_factory.mktemp("gguf"))
    return made
