"""Starting a delivery: one at a time per client."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from delivery.client_config import load_client
from delivery.errors import ConfigError
from delivery.settings import Workspace
from flows.line import store_of
from flows.start import resume, start
from tests.delivery.test_client_config import MINIMAL


def test_a_second_delivery_of_the_same_client_is_refused_and_leaves_no_row(tmp_path: Path) -> None:
    folder = tmp_path / "clients" / "acme"
    folder.mkdir(parents=True)
    (folder / "client.yaml").write_text(yaml.safe_dump(MINIMAL))
    workspace = Workspace(tmp_path)
    row = store_of(workspace).add_client("acme", "finance").start_delivery({"client": "acme"})
    lock = workspace.state / "locks" / "acme.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        with pytest.raises(ConfigError, match="another delivery of this client is running"):
            start(workspace, load_client(workspace.clients, "acme"))
        with pytest.raises(ConfigError, match="another delivery of this client is running"):
            resume(workspace, row.id)
    (only,) = store_of(workspace).client("acme").deliveries()
    assert (only.id, only.state) == (row.id, "running")
