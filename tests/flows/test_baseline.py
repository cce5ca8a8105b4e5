"""The model to beat: asked live, frozen, chosen on validation rows, and what stands in for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.artifacts import SystemResult
from delivery.client_config import load_client
from delivery.errors import BudgetReached, ConfigError, EvalIncompleteError
from delivery.evaluation import PackSpec, list_packs
from delivery.settings import Workspace, get_settings
from flows import baseline, steps
from flows.line import Line
from flows.packs import import_baseline, record_baseline, verify_baselines
from tests.delivery.evaluation.endpoints.faults import FaultServer

TODAY = datetime.now(UTC).date().isoformat()
LABELS = ("billing", "delivery", "other")
SPLITS = {"test": 12, "validation": 9, "train": 30}
PROMPTS = ["zero_shot", "few_shot", "retrieval_few_shot"]


def make(folder: Path, **changes: Any) -> Workspace:
    client = folder / "clients" / "acme"
    client.mkdir(parents=True, exist_ok=True)
    document = {
        "client": "acme",
        "vertical": "sales",
        "use_case": {"name": "intent", "type": "classification", "system_prompt": "One label.", "labels": list(LABELS)},
        "data": {"path": "rows.jsonl", "pii": "allow"},
        "baseline": {"model": "gpt-4o", "prompting": PROMPTS, **changes},
    }
    (client / "client.yaml").write_text(yaml.safe_dump(document))
    words = ("invoice", "parcel", "weather", "refund", "courier", "opinion", "charge", "package", "greeting")
    rows = []
    for side, n in SPLITS.items():
        for i in range(n):
            text = f"{words[i % 9]} {side} {i} {chr(97 + i % 26) * 7} please"
            rows.append({"id": f"{side}-{i}", "text": text, "label": LABELS[i % 3], "split": side})
    (client / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Workspace(folder)


def say(messages: list[dict[str, str]]) -> str:
    """Right with shots that are like the question, half right with others, else never."""
    question = messages[-1]["content"].split()
    number = int(question[2])
    answer = LABELS[number % 3]
    shots = [m["content"].split()[0] for m in messages[1:-1] if m["role"] == "user"]
    if question[0] in shots:
        return answer
    return answer if shots and number % 2 else "no idea"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    with FaultServer(lambda *_: None, say=say) as running:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        get_settings.cache_clear()
        yield running


def line_of(workspace: Workspace) -> tuple[Line, str]:
    line = Line(workspace, load_client(workspace.clients, "acme"))
    return line, steps.load_data.on(line)


def results(workspace: Workspace) -> list[SystemResult]:
    line, data = line_of(workspace)
    return [line.read(SystemResult, reference) for reference in baseline.evaluate_baseline.on(line, data, "no base", "no plan")]


def test_recording_freezes_one_pack_a_prompt_and_chooses_on_validation_rows(tmp_path: Path, server: FaultServer) -> None:
    workspace = make(tmp_path)
    found = record_baseline(workspace, "acme")
    assert found["chosen"] == f"gpt-4o-retrieval-few-shot-{TODAY}"
    assert found["validation"]["n"] == 9
    assert [name for name, _ in sorted(found["validation"]["values"].items(), key=lambda one: one[1])] == PROMPTS
    assert server.calls == 3 * (12 + 9)
    assert found["spent_usd"] == f"{server.charged_usd.normalize():f}"
    pack = yaml.safe_load((workspace.clients / "acme" / "baselines" / found["chosen"] / "pack.yaml").read_text())
    assert pack["snapshot"] == "gpt-4o"
    assert pack["price_per_million_tokens"] == {"input": "2.5", "output": "10"}
    assert pack["parameters"] == {"temperature": 0.0, "max_completion_tokens": 64}
    assert len(pack["prompt_sha256"]) == 64
    assert record_baseline(workspace, "acme") == found, "nothing is asked again and packs stay as they are"
    assert server.calls == 63
    assert [(f["recorded"], f["missing"], f["validation"]) for f in verify_baselines(workspace, "acme")] == [(12, 0, 9)] * 3
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"very-secret" not in path.read_bytes()


def test_the_strongest_prompt_comes_first_and_the_others_beside_it(tmp_path: Path, server: FaultServer) -> None:
    workspace = make(tmp_path)
    record_baseline(workspace, "acme")
    first, *others = results(workspace)
    assert (first.source, first.prompting) == ("recorded", "retrieval_few_shot")
    assert [one.prompting for one in others] == ["few_shot", "zero_shot"]
    assert "the strongest of 3 prompts" in first.note
    assert "on 9 validation rows" in first.note
    assert "gpt-4o leaves the API on 2027-01-14" in first.note or "off the API since" in first.note
    assert first.metrics["accuracy"].value > others[0].metrics["accuracy"].value > others[1].metrics["accuracy"].value == 0
    assert len({one.pack_sha256 for one in (first, *others)}) == 3


def test_a_delivery_asks_live_where_nothing_is_recorded_and_finds_packs_the_next_time(
    tmp_path: Path, server: FaultServer
) -> None:
    workspace = make(tmp_path)
    line, data = line_of(workspace)
    baseline.check_baseline.on(line, data)
    assert server.calls == 0, "nothing is paid before training"
    assert {one.source for one in results(workspace)} == {"live"}
    assert {one.source for one in results(workspace)} == {"recorded"}
    assert server.calls == 63


def test_a_budget_that_is_reached_says_what_is_missing_and_more_money_goes_on_from_there(
    tmp_path: Path, server: FaultServer
) -> None:
    workspace = make(tmp_path, budget_usd="0.006")
    with pytest.raises(BudgetReached, match=r"\$0\.006 .* answers are missing \(ids (validation|test)-"):
        record_baseline(workspace, "acme")
    spent = server.charged_usd
    assert 0 < spent <= Decimal("0.006")
    calls = server.calls
    found = record_baseline(make(tmp_path, budget_usd="5"), "acme")
    assert len(found["packs"]) == 3
    assert server.calls == 63 > calls > 3


def test_the_strongest_prompt_is_frozen_when_the_budget_ends_with_the_others(tmp_path: Path, server: FaultServer) -> None:
    workspace = make(tmp_path)
    record_baseline(workspace, "acme")
    # With exactly the bill, the last of the calls has no room for its worst.
    found = record_baseline(make(tmp_path / "other", budget_usd=str(server.charged_usd)), "acme")
    assert [name.removesuffix(f"-{TODAY}") for name in found["packs"]] == ["gpt-4o-retrieval-few-shot", "gpt-4o-few-shot"]
    assert found["missing"].startswith("zero_shot: ")
    assert "of 12 answers are missing" in found["missing"]


def test_what_keeps_a_live_model_from_being_asked_is_said(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"baseline\.price: is missing, and the price book does not list 'nobody-1'"):
        record_baseline(make(tmp_path, model="nobody-1"), "acme")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    get_settings.cache_clear()
    with pytest.raises(ConfigError, match="gpt-4 is off the API since 2026-10-23"):
        record_baseline(make(tmp_path, model="gpt-4"), "acme")
    monkeypatch.delenv("OPENAI_API_KEY")
    get_settings.cache_clear()
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        record_baseline(make(tmp_path), "acme")
    assert server.calls == 0


def test_offline_nothing_is_asked_and_what_is_missing_is_said(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make(tmp_path, prompting=["zero_shot"])
    record_baseline(workspace, "acme")
    monkeypatch.setenv("DELIVERY_OFFLINE", "1")
    get_settings.cache_clear()
    before = server.calls
    assert record_baseline(workspace, "acme")["packs"] == [f"gpt-4o-zero-shot-{TODAY}"]
    with pytest.raises(EvalIncompleteError, match="offline: 9 of 9 answers are missing"):
        record_baseline(make(tmp_path), "acme")
    assert server.calls == before


def test_without_a_live_model_a_stand_in_answers_and_says_why(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "_stand_in", lambda line, data, base, plan, why: why)
    server.plan = lambda *_: "500"
    workspace = make(tmp_path, budget_usd="0.000001")
    line, data = line_of(workspace)
    (why,) = baseline.evaluate_baseline.on(line, data, "", "")
    assert "of the budget of $0.000001" in why
    monkeypatch.delenv("OPENAI_API_KEY")
    get_settings.cache_clear()
    assert baseline.evaluate_baseline.on(line, data, "", "") == [""]


@pytest.mark.parametrize("status", ["401", "500"])
def test_a_key_is_tried_before_training_and_only_a_refused_one_stops(tmp_path: Path, server: FaultServer, status: str) -> None:
    server.listing = int(status)
    line, data = line_of(make(tmp_path))
    if status == "401":
        with pytest.raises(ConfigError, match="the endpoint refuses the key"):
            baseline.check_baseline.on(line, data)
    else:
        baseline.check_baseline.on(line, data)
    assert server.calls == 0


def test_imported_answers_to_validation_rows_choose_too(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    rows = [json.loads(row) for row in (workspace.clients / "acme" / "rows.jsonl").read_text().splitlines()]
    held = [row for row in rows if row["split"] != "train"]
    for prompting, right in (("zero_shot", False), ("few_shot", True)):
        source = tmp_path / f"{prompting}.jsonl"
        source.write_text("".join(json.dumps({"id": r["id"], "output": r["label"] if right else "?"}) + "\n" for r in held))
        import_baseline(workspace, "acme", source, spec=PackSpec("gpt-4o", "2024-05-20", prompting))
    assert len(list_packs(workspace.clients / "acme")) == 2
    assert [one.prompting for one in results(workspace)] == ["few_shot", "zero_shot"]
