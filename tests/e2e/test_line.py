"""The whole line on real weights, as processes: a small client of its own, from rows to promotion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.artifacts import BaseModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WORDS = {
    "billing": ["invoice", "refund", "charge", "receipt", "payment", "card", "price", "fee"],
    "delivery": ["parcel", "courier", "tracking", "box", "shipment", "address", "van", "late"],
}
OPENINGS = ["Where is the", "I have a question about the", "Please help with my", "Something is wrong with the", "About that"]


def rows() -> list[dict[str, str]]:
    return [
        {"id": f"{word}-{place}", "text": f"{opening} {word}", "label": label}
        for label, words in WORDS.items()
        for word in words
        for place, opening in enumerate(OPENINGS)
    ]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    folder = root / "clients" / "acme"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "labeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    document = {
        "client": "acme",
        "vertical": "sales",
        "use_case": {
            "name": "routing",
            "type": "classification",
            "system_prompt": "Answer billing or delivery.",
            "labels": ["billing", "delivery"],
        },
        "data": {"path": "data/labeled.jsonl", "splits": {"test": 0.3, "validation": 0.1}},
        "training": {"epochs": 1, "batch_size": 8},
        "artifacts": ["adapter", "gguf-q8_0"],
        "evaluation": {"gates": {"quantization_margin": 0.5, "baseline_margin": 0.5}},
    }
    (folder / "client.yaml").write_text(yaml.safe_dump(document))
    return root


def delivery(workspace: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "delivery.cli", *args],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def document_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_from_rows_to_promotion(workspace: Path, smollm2: BaseModel) -> None:
    first = document_of(delivery(workspace, "run", "acme", "--json"))
    assert first["schema"] == "delivery.report/1"
    assert first["base_model"]["sha256"] == smollm2.sha256
    (suite,) = first["suites"]
    systems = {system["system"]: system for system in suite["systems"]}
    assert set(systems) == {"candidate", "adapter", "baseline", "base", "encoder"}
    assert all(system["n_scored"] == suite["n"] for system in systems.values())
    assert systems["candidate"]["artifact"] == "gguf-q8_0"
    assert systems["baseline"]["source"] == "stand-in"
    folder = Path(first["report"])
    assert {"report.html", "report.json", "samples.csv"} <= {path.name for path in folder.iterdir()}

    listed = document_of(delivery(workspace, "status", "acme", "--json"))["deliveries"][0]
    assert listed["state"] == "done"
    assert {stage["state"] for stage in listed["stages"]} == {"done"}

    again = document_of(delivery(workspace, "run", "acme", "--json"))
    assert again["suites"] == first["suites"]
    states = document_of(delivery(workspace, "status", "acme", "--json"))["deliveries"][0]["stages"]
    assert {s["stage"] for s in states if s["state"] == "done"} == {"fetch_base_model", "write_report"}
    (version,) = document_of(delivery(workspace, "model", "list", "acme", "--json"))["versions"]
    assert version["aliases"] == ["challenger"]

    assert document_of(delivery(workspace, "model", "promote", "acme", "1", "--override", "a test", "--json"))["champion"] == 1
    rolled = delivery(workspace, "model", "rollback", "acme")
    assert rolled.returncode == 2
    assert "Traceback" not in rolled.stderr
    out = workspace / "copy.csv"
    assert delivery(workspace, "report", "acme", "--format", "csv", "--out", str(out)).returncode == 0
    assert out.read_text().startswith("suite,id,system")
