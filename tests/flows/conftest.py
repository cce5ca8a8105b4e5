"""A client and its deliveries, which the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from delivery.client_config import load_client
from delivery.settings import Workspace
from flows.line import Line, Recorder, config_as_stored, store_of
from tests.delivery.test_client_config import MINIMAL


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "clients" / "acme"
    folder.mkdir(parents=True)
    (folder / "client.yaml").write_text(yaml.safe_dump(MINIMAL))
    return Workspace(tmp_path)


def new_line(workspace: Workspace) -> Line:
    config = load_client(workspace.clients, "acme")
    repository = store_of(workspace).add_client("acme", "finance")
    row = repository.start_delivery(config_as_stored(config))
    return Line(workspace, config, Recorder(repository, row.id, row.created_at))
