"""A base that is quick to train, and one undisturbed delivery of it, which several tests look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.artifacts import BaseModel
from delivery.settings import get_settings
from tests.e2e.processes import delivery, document_of, make_client, make_suite


@pytest.fixture(scope="session")
def quick(shallow: BaseModel) -> Iterator[str]:
    """The folder of a base that is quick to train; the stand-in that deliveries keep of it for later ones is cleared."""
    yield shallow.path
    shutil.rmtree(get_settings().cache / "untuned" / shallow.sha256, ignore_errors=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, quick: str) -> Path:
    """A workspace where ``delivery run acme`` has reached its end."""
    gates = {"quantization_margin": 0.5, "baseline_margin": 0.5}
    ordered = {"suites": ["use_case", "mini"], "gates": gates}
    root = make_suite(make_client(tmp_path_factory.mktemp("finished"), evaluation=ordered, base_model=quick))
    document_of(delivery(root, "run", "acme", "--json"))
    return root
