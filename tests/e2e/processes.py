"""A small client in a workspace of its own, and the command line run there as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

WORDS = {
    "billing": ["invoice", "refund", "charge", "receipt", "payment", "card", "price", "fee"],
    "delivery": ["parcel", "courier", "tracking", "box", "shipment", "address", "van", "late"],
}
OPENINGS = ["Where is the", "I have a question about the", "Please help with my", "Something is wrong with the", "About that"]


def rows() -> list[dict[str, str]]:
    """80 rows with ids of their own, 40 of each label."""
    return [
        {"id": f"{word}-{place}", "text": f"{opening} {word}", "label": label}
        for label, words in WORDS.items()
        for word in words
        for place, opening in enumerate(OPENINGS)
    ]


def make_client(root: Path, **changes: Any) -> Path:
    """The client ``acme`` under ``root``; ``changes`` replace keys of its client.yaml."""
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
    (folder / "client.yaml").write_text(yaml.safe_dump(document | changes))
    return root


def make_suite(root: Path) -> Path:
    """The workspace's own suite ``mini``: samples of two kinds with short answers, one of which stands in acme's rows."""
    folder = root / "evals" / "mini"
    folder.mkdir(parents=True)
    about = {
        "name": "mini",
        "kind": "general",
        "description": "a few questions",
        "scorer": "choice",
        "slices": ["part"],
        "licence": "Apache-2.0",
    }
    options = {"options": ["red", "blue", "green"]}
    lines = [
        {"id": "c1", "input": "Which colour has the sky at noon?", "expected": "B", "reference": options},
        {"id": "c2", "input": "Which colour has grass in spring?", "expected": "C", "reference": options},
        {"id": "c3", "input": "Where is the parcel", "expected": "A", "reference": {"options": ["here", "there"]}},
        {"id": "q1", "input": "What is 2 + 2?", "expected": "4", "scorer": "qa", "reference": {"numeric": True}},
    ]
    (folder / "suite.yaml").write_text(yaml.safe_dump(about))
    parts = {"c": "choice", "q": "question"}
    rows_of_it = [{**line, "metadata": {"part": parts[str(line["id"])[0]]}} for line in lines]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows_of_it))
    return root


def environment(**more: str) -> dict[str, str]:
    """This process's, without an operator's servers."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))} | more


def command(*args: str) -> list[str]:
    """The command line of ``delivery``."""
    return [sys.executable, "-m", "delivery.cli", *args]


def delivery(workspace: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the workspace to its end; ``more`` is added to the environment."""
    return subprocess.run(
        command(*args), cwd=workspace, env=environment(**more), capture_output=True, text=True, check=False, timeout=600
    )


def document_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document that a command printed."""
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
