"""client.yaml: what is accepted, and that each mistake is named with its key's path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from delivery.client_config import ClientConfig, list_clients, load_client
from delivery.errors import ConfigError
from tests.conftest import ROOT

MINIMAL = {
    "client": "acme",
    "vertical": "finance",
    "use_case": {"name": "intent", "type": "classification", "system_prompt": "Classify.", "labels": ["a", "b"]},
    "data": {"path": "data/labeled.jsonl"},
}


def write(clients: Path, document: object, slug: str = "acme") -> Path:
    folder = clients / slug
    folder.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str) else yaml.safe_dump(document)
    (folder / "client.yaml").write_text(text)
    return clients


def changed(path: str, value: object) -> dict[str, object]:
    document = yaml.safe_load(yaml.safe_dump(MINIMAL))
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return document


def test_the_shipped_clients_are_valid() -> None:
    config = load_client(ROOT / "clients", "demo-insurer")
    assert config.use_case.type == "extraction"
    assert config.ship == "gguf-q8_0"
    assert list_clients(ROOT / "clients") == ["demo-insurer"]


def test_defaults_fill_a_minimal_file(tmp_path: Path) -> None:
    config = load_client(write(tmp_path, MINIMAL), "acme")
    assert config.data_paths() == (str(tmp_path / "acme" / "data" / "labeled.jsonl"),)
    assert config.baseline.model == "gpt-4"
    assert ClientConfig.model_validate({**config.model_dump(mode="json", by_alias=True), "folder": config.folder}) == config


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("trainin", {}, "trainin: unknown key"),
        ("training.rnk", 4, "training.rnk: unknown key"),
        ("training.method", "full", "training.method:"),
        ("training.rank", 0, "training.rank:"),
        ("training.max_minutes", -1, "training.max_minutes:"),
        ("training.dropout", 1, "training.dropout:"),
        ("training.targets", [], "training.targets:"),
        ("training.targets", ["q proj"], "training.targets.0:"),
        ("training.warm_start", "always", "training.warm_start:"),
        ("training.preference.beta", 0, "training.preference.beta:"),
        ("training.sweep", {}, "training.sweep: needs 2 to 16 combinations"),
        ("training.sweep", {"rank": [8, 8]}, "training.sweep: a value is given twice"),
        ("training.sweep", {"learning_rate": [0.001, 2]}, "training.sweep.learning_rate.1:"),
        ("training", {"rank": 8, "sweep": {"rank": [8, 16]}}, "sweep.rank: rank is pinned as well"),
        ("training.sweep", {"rank": [8, 16]}, ""),
        ("training.targets", "mlp", ""),
        ("data.splits.test", 0, "data.splits.test:"),
        ("data.splits", {"test": 0.6, "validation": 0.4}, "leave at least 5 %"),
        ("data.path", [], "data.path:"),
        ("use_case.labels", ["a"], "at least two"),
        ("use_case.labels", ["a", "A"], "differ by more than case"),
        ("use_case.type", "extraction", "needs schema"),
        ("client", "Acme", "client:"),
        ("ship", "merged", ""),
        ("artifacts", ["adapter"], "ship: gguf-q8_0 is not among artifacts"),
        ("artifacts", ["gguf-q2"], "artifacts.0:"),
        ("cost.utilisation", 1.5, "cost.utilisation:"),
        ("schedule.timezone", "Mars/Olympus", "schedule.timezone:"),
        ("schedule.cron", "daily", "schedule.cron:"),
        ("vertical", "farming", "vertical:"),
        ("evaluation.gates.require_baseline", "best", "evaluation.gates.require_baseline:"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(tmp_path: Path, path: str, value: object, said: str) -> None:
    clients = write(tmp_path, changed(path, value))
    if not said:
        load_client(clients, "acme")
        return
    with pytest.raises(ConfigError) as caught:
        load_client(clients, "acme")
    message = str(caught.value)
    assert said in message
    assert "client.yaml" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("generation", {"evaluation": {"judge": {"points": ["Is kind."]}}}, "evaluation.judge.points: only a role play"),
        ("qa", {"evaluation": {"judge": {"rubric": "The kinder one."}}}, "evaluation.judge.rubric: no judge decides"),
        ("role_play", {"evaluation": {"judge": {"points": []}}}, "evaluation.judge.points:"),
        ("role_play", {"evaluation": {"judge": {"budget_usd": -1}}}, "evaluation.judge.budget_usd:"),
        ("role_play", {"baseline": {"prompting": ["few_shot"]}}, "baseline.prompting: a role play is played without"),
    ],
)
def test_what_a_judge_cannot_go_by_is_refused(tmp_path: Path, kind: str, changes: dict[str, object], said: str) -> None:
    use_case = {"name": "villagers", "type": kind, "system_prompt": "Speak."}
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_client(write(tmp_path, MINIMAL | {"use_case": use_case} | changes), "acme")


@pytest.mark.parametrize("missing", ["client", "vertical", "use_case", "data"])
def test_a_missing_key_is_named(tmp_path: Path, missing: str) -> None:
    document = {key: value for key, value in MINIMAL.items() if key != missing}
    with pytest.raises(ConfigError, match=f"{missing}: is missing"):
        load_client(write(tmp_path, document), "acme")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("client: [acme", "client.yaml:"),
        ("client: acme\nclient: acme\n", r"client.yaml:2: .*given twice"),
        ("just text", "must hold keys and values"),
        ("", "must hold keys and values"),
        ("[" * 5000, "not valid YAML"),
        ("client: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("folder: /etc", "folder: unknown key"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_client(write(tmp_path, text), "acme")


def test_a_missing_client_lists_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r"clients here: acme"):
        load_client(tmp_path, "acne")
    with pytest.raises(ConfigError, match="there is no client"):
        load_client(tmp_path, "../acme")


def test_the_folder_and_the_name_agree(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder is named 'other'"):
        load_client(write(tmp_path, MINIMAL, slug="other"), "other")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    (tmp_path / "acme" / "client.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8"):
        load_client(tmp_path, "acme")
