"""Deliveries of a client whose task a judge decides, with the judge behind HTTP: good, constant, unreadable, out of money."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from delivery import report
from delivery.artifacts import Message, SuiteResult
from delivery.cli.run import _show_outcome
from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation import PackSpec
from delivery.settings import Workspace, get_settings
from flows import judged
from flows.packs import import_baseline, record_baseline
from flows.start import Outcome
from tests.delivery.evaluation.endpoints.faults import PRICE
from tests.delivery.evaluation.judging.judges import BLOCK
from tests.delivery.report import factory
from tests.flows.conftest import new_line
from tests.flows.judged_case import MODEL, TEST, Case, Say, by_coverage, covers, deliver, hired, make, row

ROWS = [row(number) for number in range(TEST + 12)]
SAYS: dict[str, Say] = {"candidate": covers(3), "base": covers(1)}
PRICED = {"input": str(PRICE.input), "output": str(PRICE.output)}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No charts, and no memory to give back: most of the time would go there."""
    monkeypatch.setattr("delivery.report.html._draw", lambda _: {"wide": "", "narrow": ""})
    monkeypatch.setattr("flows.line.give_memory_back", lambda: None)


def generation(root: Path, **judge: Any) -> Workspace:
    """The client with a recorded baseline that works two of three parts in."""
    workspace = make(root, ROWS, **judge)
    if not (workspace.clients / "acme" / "baselines").is_dir():
        lines = [(one["id"], covers(2)([Message("user", one["messages"][0]["content"])])) for one in ROWS[:TEST]]
        recorded(workspace, root, lines)
    return workspace


def recorded(workspace: Workspace, root: Path, lines: list[tuple[str, str]]) -> None:
    source = root / "answers.jsonl"
    source.write_text("".join(json.dumps({"id": name, "output": said}) + "\n" for name, said in lines))
    import_baseline(workspace, "acme", source, spec=PackSpec(MODEL, "2026-05-20", "zero_shot"))


def page(suite: SuiteResult, case: Case, folder: Path) -> str:
    """The report with this suite and decision, as people read it."""
    written = report.write(factory.report(suite, decision=case.decision, suites=(suite,), recovery=()), folder)
    return written.html.read_text()


def test_a_judge_that_reads_is_believed_and_every_gate_is_decided_by_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hired(monkeypatch, by_coverage) as server:
        case = deliver(generation(tmp_path), monkeypatch, says=SAYS)
        calls = server.calls
        again = deliver(generation(tmp_path), monkeypatch, says=SAYS)
        assert server.calls == calls, "no verdict is paid for twice"
    assert again.suite == case.suite
    assert [one.system for one in case.suite.systems] == ["candidate", "adapter", "baseline", "base"]
    values = {one.system: one.metrics["win_rate"].value for one in case.suite.systems}
    assert values == {"candidate": 1.0, "adapter": 1.0, "baseline": 0.5, "base": 0.0}
    judging = case.suite.judging
    assert judging is not None
    assert (judging.model, judging.withheld, judging.labeled) == (MODEL, (), 20)
    assert judging.kappa is not None
    assert judging.kappa.value == pytest.approx(1)
    assert set(judging.beside) == {"candidate", "adapter", "base"}
    won = case.suite.comparison("candidate", "baseline")
    assert won is not None
    assert (won.test, won.difference, won.discordant, won.verdict) == ("judged_pairs", 0.5, (TEST, 0), "better")
    kept = case.suite.comparison("candidate", "adapter")
    assert kept is not None
    assert (kept.difference, kept.discordant, kept.verdict) == (0.0, (0, 0), "not_worse")
    assert case.decision.promote
    assert "The candidate's answers win 100.0 % of the judged pairs with baseline gpt-4o (recorded)" in case.gate("baseline")[1]
    assert case.system("candidate").requests == TEST
    assert case.system("baseline").pack_sha256
    shown = page(case.suite, case, tmp_path / "report")
    assert "its verdicts count" in shown
    assert "GPT-4o itself stands at 50 % by definition" in shown


def test_what_quantization_broke_shows_though_both_lose_to_the_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = {"candidate": covers(0), "adapter": covers(1), "base": covers(0)}
    with hired(monkeypatch, by_coverage):
        case = deliver(generation(tmp_path), monkeypatch, says=says)
    assert [one.metrics["win_rate"].value for one in case.suite.systems if one.system in ("candidate", "adapter")] == [0, 0]
    passed, why = case.gate("quantization")
    assert not passed
    assert "win 0.0 % of the judged pairs with adapter" in why


def test_a_constant_judge_may_claim_nothing_and_the_report_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hired(monkeypatch, lambda _: json.dumps({"better": "first"})) as server:
        case = deliver(generation(tmp_path), monkeypatch, says=SAYS)
        # Labeled pairs, three systems beside the baseline and two canaries, each in both orders; no pair for a gate.
        assert server.calls < 2 * (20 + 5 * TEST) + 1
    judging = case.suite.judging
    assert judging is not None
    assert "kappa on 20 labeled pairs is 0.00" in judging.withheld[0]
    assert case.suite.comparisons == ()
    assert case.system("candidate").metrics["win_rate"].value == 0.5
    assert not case.decision.promote
    for name in ("baseline", "base", "quantization"):
        passed, why = case.gate(name)
        assert not passed
        assert f"as the judge {MODEL} may not decide: the judge's kappa on 20 labeled pairs is 0.00" in why
    shown = page(case.suite, case, tmp_path / "report")
    assert "Nothing is claimed from the figures of this section" in shown
    assert "rows to read for yourself" in shown


def test_a_judge_without_one_readable_verdict_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hired(monkeypatch, lambda _: "I like them both.") as server:
        case = deliver(generation(tmp_path), monkeypatch, says=SAYS)
        assert server.calls == 4 * 20, "it is not asked about the suite"
    judging = case.suite.judging
    assert judging is not None
    assert judging.kappa is None
    assert "0 of 20 labeled pairs have a verdict" in judging.withheld[0]
    assert "no verdict of the form asked for" in case.gate("base")[1]
    assert case.system("candidate").metrics == {}
    shown = page(case.suite, case, tmp_path / "report")
    assert "rows to read for yourself" in shown
    assert "row-0" in shown
    _show_outcome(Outcome("acme", "d", tmp_path / "report", promote=False), as_json=False)
    assert "not judged" in capsys.readouterr().out


def test_judging_stays_within_its_budget_and_more_money_brings_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hired(monkeypatch, by_coverage) as server:
        poor = deliver(generation(tmp_path, budget_usd="0.05", price=PRICED), monkeypatch, says=SAYS)
        assert 0 < server.charged_usd <= Decimal("0.05")
        assert poor.suite.judging is not None
        assert "of the budget of $0.05" in poor.suite.judging.withheld[0]
        assert poor.suite.comparisons == ()
        rich = deliver(generation(tmp_path, budget_usd="5", price=PRICED), monkeypatch, says=SAYS)
        spent = sum(
            Decimal(entry["usd"])
            for journal in (tmp_path / ".delivery" / "artifacts" / "acme" / "answers").glob("judge-*.budget")
            for entry in map(json.loads, journal.read_text().splitlines())
            if "key" not in entry
        )
        assert spent == server.charged_usd
    assert rich.suite.judging is not None
    assert not rich.suite.judging.withheld
    assert rich.decision.promote


def test_a_judge_that_costs_money_needs_a_price_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELIVERY_JUDGE_MODEL", "nobody-1")
    monkeypatch.setenv("DELIVERY_JUDGE_BASE_URL", "https://judge.example/v1")
    monkeypatch.setenv("DELIVERY_OFFLINE", "1")
    get_settings.cache_clear()
    generation(tmp_path)
    line = new_line(Workspace(tmp_path))
    with pytest.raises(ConfigError, match=r"evaluation\.judge\.price: is missing, .* the judge 'nobody-1'"):
        judged.check_judge.on(line)
    generation(tmp_path, price=PRICED)
    judged.check_judge.on(new_line(Workspace(tmp_path)))
    generation(tmp_path, labeled="none.jsonl")
    with pytest.raises(ConfigError, match=r"none\.jsonl"):
        judged.check_judge.on(new_line(Workspace(tmp_path)))


POINTS = ["Names the sea.", "Is no longer than ten words."]
TURNS = ("Who are you?", "Where do you live?", "Farewell.")


def dialogue(number: int) -> dict[str, Any]:
    persona = ("Mara", "Oto", "Ines", "Pell")[number % 4]
    turns: list[dict[str, str]] = [{"role": "system", "content": f"You are {persona} {number}, who lives by the sea."}]
    for turn in TURNS[: 2 + number % 2]:
        asked = f"{turn} {chr(97 + number % 26) * 5} {number}"
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": "The sea is my home."}]
    return {
        "id": f"talk-{number}",
        "messages": turns,
        "split": "test" if number < 12 else "train",
        "metadata": {"persona": persona},
    }


def by_points(messages: list[dict[str, str]]) -> str:
    """A judge of pairs and of points that reads, and a user who goes on talking."""
    content = messages[-1]["content"]
    shown = {name: text for _, name, text in BLOCK.findall(content)}
    if "reply to check" in shown:
        reply = shown["reply to check"]
        assert "Names the sea." in content
        return json.dumps({"met": ["sea" in reply, len(reply.split()) <= 10]})
    return by_coverage(messages) if "request" in shown else "Do go on."


ROLES: dict[str, Say] = {
    "candidate": lambda messages: f"I hear the sea, reply {sum(one.role == 'assistant' for one in messages)}.",
    "base": lambda _: "As a program I have no home, and I would like to say so at some length today.",
}


def test_a_role_play_is_played_turn_by_turn_and_judged_by_its_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make(tmp_path, [dialogue(number) for number in range(20)], "role_play", points=POINTS)
    asked = [(f"talk-{n}#{turn}", "Far from the sea." if turn else "No.") for n in range(12) for turn in range(2 + n % 2)]
    recorded(workspace, tmp_path, asked)
    with hired(monkeypatch, by_points):
        case = deliver(workspace, monkeypatch, says=ROLES)
    assert case.suite.primary_metric == "judged_score"
    values = {one.system: one.metrics["judged_score"].value for one in case.suite.systems}
    assert values["candidate"] == values["adapter"] == 1.0
    assert values["base"] == 0.0
    # Of two turns one meets both points and one half of them, of three turns two do.
    assert values["baseline"] == pytest.approx((0.75 + 5 / 6) / 2)
    judging = case.suite.judging
    assert judging is not None
    assert not judging.withheld
    assert judging.beside["candidate"]["simulated_user"].value == 1.0
    assert "baseline" not in judging.beside, "recorded replies fit no other turns"
    candidate = case.system("candidate")
    assert candidate.requests == len(asked)
    assert candidate.samples[1].output is not None
    assert "reply 2" in candidate.samples[1].output, "its own replies are its context"
    against = case.suite.comparison("candidate", "base")
    assert against is not None
    assert (against.test, against.clusters, against.verdict) == ("cluster_bootstrap", 4, "better")
    assert case.gate("base")[0]
    shown = page(case.suite, case, tmp_path / "report")
    assert "checks every reply against a list of points" in shown


def test_a_live_baseline_plays_and_its_replies_are_frozen_turn_by_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make(tmp_path, [dialogue(number) for number in range(20)], "role_play", points=POINTS)
    with hired(monkeypatch, lambda messages: f"reply after {len(messages)} messages") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        get_settings.cache_clear()
        found = record_baseline(workspace, "acme")
        calls = server.calls
        assert record_baseline(workspace, "acme") == found
        assert server.calls == calls == sum(2 + number % 2 for number in range(12))
    lines = (workspace.clients / "acme" / "baselines" / found["chosen"] / "outputs.jsonl").read_text().splitlines()
    outputs = {line["id"]: line["output"] for line in map(json.loads, lines)}
    assert len(outputs) == calls
    assert outputs["talk-1#2"] == "reply after 6 messages"


def test_a_pack_of_a_role_play_is_named_by_turns(tmp_path: Path) -> None:
    workspace = make(tmp_path, [dialogue(number) for number in range(20)], "role_play")
    with pytest.raises(ClientDataError, match="each named ROW#0, ROW#1"):
        recorded(workspace, tmp_path, [("talk-0", "Aye.")])
    with pytest.raises(ClientDataError, match="of 30 turns have no answer"):
        recorded(workspace, tmp_path, [("talk-0#0", "Aye.")])
