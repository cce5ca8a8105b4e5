"""The demo client's rows: enough, valid, varied, and consistent with the written guideline."""

from __future__ import annotations

import json
from itertools import combinations

from delivery import dataset
from delivery.client_config import load_client
from tests.conftest import ROOT

CONFIG = load_client(ROOT / "clients", "demo-insurer")
ROWS = [json.loads(line) for line in (ROOT / "clients" / "demo-insurer" / "data" / "labeled.jsonl").read_text().splitlines()]
TEXTS = [row["messages"][0]["content"] for row in ROWS]
LABELS = [json.loads(row["messages"][1]["content"]) for row in ROWS]


def test_there_are_enough_and_the_line_reads_them() -> None:
    loaded = dataset.load(CONFIG.data_paths(), use_case=CONFIG.use_case)
    assert len(loaded.examples) == len(ROWS) >= 600


def test_hardly_any_two_messages_are_alike() -> None:
    grams = [{text.lower()[i : i + 5] for i in range(max(1, len(text) - 4))} for text in TEXTS]
    near = {
        row
        for (a, left), (b, right) in combinations(enumerate(grams), 2)
        if len(left & right) >= 0.6 * len(left | right)
        for row in (a, b)
    }
    assert len(near) / len(ROWS) < 0.02


def test_labels_follow_the_guideline() -> None:
    for text, label in zip(TEXTS, LABELS, strict=True):
        assert list(label) == ["line", "incident", "urgency", "action", "document_missing"], text
        assert (label["urgency"] == "emergency") == (label["action"] == "dispatch_help"), text
        if label["action"] == "request_document":
            assert label["document_missing"], text
        if label["action"] in ("send_adjuster", "open_claim"):
            assert label["urgency"] != "low", text
            assert not label["document_missing"], text
        if label["action"] == "answer_question":
            assert label["urgency"] == "low", text
        if label["incident"] == "third_party":
            assert label["line"] == "liability", text


def test_every_value_is_used() -> None:
    properties = CONFIG.use_case.json_schema["properties"]  # type: ignore[index]
    for name, schema in properties.items():
        used = {label[name] for label in LABELS}
        assert used == set(schema.get("enum", [True, False])), name
