"""A base that is quick to train, and one undisturbed delivery of it, which several tests look at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from delivery.artifacts import BaseModel
from delivery.settings import get_settings
from tests.e2e.processes import delivery, document_of, make_client, make_suite

LAYERS = 4


@pytest.fixture(scope="session")
def shallow(tmp_path_factory: pytest.TempPathFactory, smollm2: BaseModel) -> Iterator[str]:
    """The first layers of SmolLM2, with its own tokenizer, vocabulary and shapes: every part is real, and it takes a fifth."""
    folder = tmp_path_factory.mktemp("base") / "shallow"
    shutil.copytree(smollm2.path, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS}))
    (weights,) = folder.glob("*.safetensors")
    kept = {name: tensor for name, tensor in load_file(weights).items() if _layer(name) < LAYERS}
    save_file(kept, weights, metadata={"format": "pt"})
    before = set(_untuned().iterdir()) if _untuned().is_dir() else set()
    yield str(folder)
    for made in set(_untuned().iterdir()) - before if _untuned().is_dir() else ():
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shallow: str) -> Path:
    """A workspace where ``delivery run acme`` has reached its end."""
    gates = {"quantization_margin": 0.5, "baseline_margin": 0.5}
    ordered = {"suites": ["use_case", "mini"], "gates": gates}
    root = make_suite(make_client(tmp_path_factory.mktemp("finished"), evaluation=ordered, base_model=shallow))
    document_of(delivery(root, "run", "acme", "--json"))
    return root


def _layer(name: str) -> int:
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]) if "layers" in parts else 0


def _untuned() -> Path:
    """Where a delivery keeps the stand-in of every base."""
    return get_settings().cache / "untuned"
