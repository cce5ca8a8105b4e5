"""The whole line on real weights, as processes: a small client of its own, from rows to promotion, undisturbed and killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Typed
from tests.e2e.killing import answered, copying, kill_everywhere, made, progressed
from tests.e2e.processes import delivery, document_of, make_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_from_rows_to_promotion(finished: Path, typed: Typed) -> None:
    workspace = finished
    (written,) = workspace.glob(".delivery/reports/acme/*/report.json")
    first = json.loads(written.read_text())
    assert first["schema"] == "delivery.report/1"
    assert first["base_model"]["parameters"] > 40e6
    suite, mini = first["suites"]
    assert {system["system"]: system["n_scored"] for system in mini["systems"]} == {"candidate": 4, "base": 4}
    assert mini["clean"]["contaminated"] == 1
    assert {part["value"] for part in mini["slices"]} <= {"choice", "question"}
    (general,) = [gate for gate in first["decision"]["gates"] if gate["name"] == "general"]
    assert "on mini" in general["why"]
    assert suite["analysis"]["scored"] == suite["n"]
    assert all(shown["asked"] and shown["answers"] for shown in suite["analysis"]["samples"])
    systems = {system["system"]: system for system in suite["systems"]}
    assert set(systems) == {"candidate", "adapter", "baseline", "base", "encoder"}
    assert all(system["n_scored"] == suite["n"] for system in systems.values())
    assert systems["candidate"]["artifact"] == "gguf-q8_0"
    assert systems["baseline"]["source"] == "stand-in"
    assert {"report.html", "report.json", "samples.csv"} <= {path.name for path in written.parent.iterdir()}

    listed = document_of(typed(workspace, "status", "acme", "--json"))["deliveries"][0]
    assert listed["state"] == "done"
    assert {stage["state"] for stage in listed["stages"]} == {"done"}

    again = document_of(delivery(workspace, "run", "acme", "--json"))
    assert again["suites"] == first["suites"]
    states = document_of(typed(workspace, "status", "acme", "--json"))["deliveries"][0]["stages"]
    assert {s["stage"] for s in states if s["state"] == "done"} == {
        "fetch_base_model",
        "load_data",
        "write_report",
    }
    (version,) = document_of(typed(workspace, "model", "list", "acme", "--json"))["versions"]
    assert version["aliases"] == ["challenger"]

    assert document_of(typed(workspace, "model", "promote", "acme", "1", "--override", "a test", "--json"))["champion"] == 1
    rolled = typed(workspace, "model", "rollback", "acme")
    assert rolled.returncode == 2
    assert "Traceback" not in rolled.stderr
    out = workspace / "copy.csv"
    assert typed(workspace, "report", "acme", "--format", "csv", "--out", str(out)).returncode == 0
    assert out.read_text().startswith("suite,id,system")


def test_killed_in_every_stage_and_resumed(finished: Path, quick: str, typed: Typed, tmp_path: Path) -> None:
    make_client(tmp_path, base_model=quick)
    moments = [
        ("training", progressed("train", 2)),
        ("quantization", progressed("quantize", 1)),
        ("evaluation", answered(3)),
        ("registration", copying),
    ]
    delivery_id = kill_everywhere(tmp_path, "acme", moments)
    assert made(tmp_path) == made(finished)
    (version,) = document_of(typed(tmp_path, "model", "list", "acme", "--json"))["versions"]
    assert version["number"] == 1
    (row,) = document_of(typed(tmp_path, "status", "acme", "--json"))["deliveries"]
    assert (row["id"], row["state"]) == (delivery_id, "done")
    assert not list(tmp_path.rglob("*.partial"))
