"""``delivery client erase``: nothing of a client stays, everything of the others does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery import registry
from delivery.artifacts import DataReport, describe_folder
from delivery.client_config import load_client
from delivery.dataset import load, split
from delivery.errors import ConfigError
from delivery.settings import Workspace
from flows.erase import erase, preview_erasure
from flows.line import Line, store_of
from flows.start import alone
from tests.e2e.processes import make_client

WORD = "invoice"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    make_client(tmp_path)
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path)
    outside = tmp_path / "outside.jsonl"
    outside.write_text('{"text": "another", "label": "billing"}\n')
    yaml = tmp_path / "clients" / "acme" / "client.yaml"
    yaml.write_text(yaml.read_text().replace("path: data/labeled.jsonl", f"path: [data/labeled.jsonl, {outside}]"))
    return workspace


def deliver_something(workspace: Workspace, client: str) -> None:
    """What a delivery leaves, without training."""
    config = load_client(workspace.clients, "acme")
    line = Line(workspace, config)
    loaded = load(config.data_paths(), use_case=config.use_case)
    store = line.row_store if client == "acme" else type(line.row_store)(workspace.artifacts / client / "rows")
    version = store.commit(loaded, split(loaded, config.data.splits))
    store.decide(version, config.data.splits)
    repository = store_of(workspace).add_client(client, "sales")
    delivery = repository.start_delivery({"client": client})
    repository.record_dataset(DataReport(80, "text-label-jsonl", loaded.fingerprint, {}, ()))
    made = workspace.artifacts / client / "quantize" / "k"
    made.mkdir(parents=True)
    (made / "model.gguf").write_text(f"weights that know the {WORD}")
    artifact = describe_folder("gguf-q8_0", made, ("model.gguf",))
    models = registry.open_registry(workspace.mlflow_tracking_uri, artifact_root=workspace.artifacts / "mlflow")
    models.register(client, [artifact], shipped=artifact, delivery_id=delivery.id, tags={"fingerprint": loaded.fingerprint})
    report = workspace.reports(client, delivery.id)
    report.mkdir(parents=True)
    (report / "samples.csv").write_text(WORD)
    log = workspace.state / "logs" / f"{delivery.id}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(WORD)


def files_with(folder: Path, word: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_nothing_of_the_client_stays_and_the_models_are_named(workspace: Workspace) -> None:
    deliver_something(workspace, "acme")
    deliver_something(workspace, "other")
    others = sorted(p for p in workspace.state.rglob("*") if "other" in p.relative_to(workspace.state).parts and p.is_file())
    before = {path: path.read_bytes() for path in others}
    assert len(before) > 4
    planned = preview_erasure("acme")
    assert files_with(workspace.artifacts / "acme", WORD)
    done = erase("acme")
    assert done == planned
    (model,) = done.models
    assert (model.number, model.shipped, len(model.sha256), len(model.fingerprint)) == (1, "gguf-q8_0", 64, 64)
    assert "clients/acme/data" in done.removed
    assert done.elsewhere == (str(workspace.root / "outside.jsonl"),)
    (kept,) = store_of(workspace).client("other").deliveries()
    left = [path for path in files_with(workspace.root, WORD) if "other" not in str(path) and path.stem != kept.id]
    assert left == []
    assert [path.name for path in (workspace.clients / "acme").iterdir()] == ["client.yaml"]
    assert not (workspace.artifacts / "acme").exists()
    assert store_of(workspace).client("acme").deliveries() == []
    assert {path: path.read_bytes() for path in before} == before
    note = json.loads((workspace.state / "erased" / "acme.json").read_text())
    assert [m["number"] for m in note["models"]] == [1]


def test_killed_half_way_it_goes_on_and_still_names_the_models(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver_something(workspace, "acme")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("flows.erase.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            erase("acme")
    done = erase("acme")
    assert [model.number for model in done.models] == [1]
    assert files_with(workspace.root, WORD) == []


def test_not_while_a_delivery_runs(workspace: Workspace) -> None:
    with alone(workspace, "acme"), pytest.raises(ConfigError, match="another delivery of this client is running"):
        erase("acme")
    with pytest.raises(ConfigError, match="no client 'nobody'"):
        erase("nobody")
