"""One undisturbed delivery, which several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery.artifacts import BaseModel
from tests.e2e.processes import delivery, document_of, make_client, make_suite


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, smollm2: BaseModel) -> Path:
    """A workspace where ``delivery run acme`` has reached its end."""
    gates = {"quantization_margin": 0.5, "baseline_margin": 0.5}
    ordered = {"suites": ["use_case", "mini"], "gates": gates}
    root = make_suite(make_client(tmp_path_factory.mktemp("finished"), evaluation=ordered))
    document_of(delivery(root, "run", "acme", "--json"))
    return root
