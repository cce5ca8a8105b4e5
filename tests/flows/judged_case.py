"""A client whose task a judge decides: its rows, systems that answer by a function, and a judge behind HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from delivery.artifacts import Adapter, Answer, Decision, Message, OnProgress, SuiteResult, SystemResult
from delivery.client_config import load_client
from delivery.evaluation.endpoints.endpoint import OnAnswer, Request
from delivery.settings import Workspace, get_settings
from flows import baseline, evidence, judged, steps
from flows.line import Line
from flows.results import Artifacts
from tests.delivery.evaluation.endpoints.faults import FaultServer
from tests.delivery.evaluation.judging.judges import BLOCK
from tests.delivery.report import factory
from tests.flows.conftest import new_line

MODEL = "gpt-4o"
TEST = 12
PARTS = ("oak", "glass", "steel", "linen", "wool", "clay", "brass", "cork")
GATES = {"quantization_margin": 0.2, "baseline_margin": 0.1}
Say = Callable[[Sequence[Message]], str]


class Speaker:
    """Answers by a function of the messages and counts words as tokens."""

    def __init__(self, name: str, say: Say) -> None:
        self.name, self.say = name, say

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        for request in requests:
            said = self.say(request.messages)
            asked = sum(len(message.content.split()) for message in request.messages)
            on_answer(Answer(request.sample_id, said, prompt_tokens=asked, completion_tokens=len(said.split())))


class Case(NamedTuple):
    """A delivery as far as its comparison, and its decision."""

    line: Line
    data: str
    suite: SuiteResult
    decision: Decision

    def gate(self, name: str) -> tuple[bool, str]:
        """Whether a gate was passed, and why."""
        found = next(gate for gate in self.decision.gates if gate.name == name)
        return found.passed, found.why

    def system(self, name: str) -> SystemResult:
        """One system's result."""
        found = self.suite.system(name)  # type: ignore[arg-type]
        assert found is not None
        return found


def details(text: str) -> list[str]:
    """The parts that a request names."""
    return re.findall(r"\b(?:" + "|".join(PARTS) + r")\b", text)


def row(number: int) -> dict[str, Any]:
    """A request for a sentence with three parts, and the client's own answer, which has them all."""
    parts = [PARTS[(number + step) % len(PARTS)] for step in (0, 3, 5)]
    asked = f"Describe item {number} {chr(97 + number % 26) * 6}: {', '.join(parts)}."
    split = "test" if number < TEST else "train"
    answer = f"Item {number} has {' and '.join(parts)}."
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"id": f"row-{number}", "messages": turns, "split": split}


def covers(count: int) -> Say:
    """A system that works the first parts of a request into its answer."""
    return lambda messages: "It has " + " and ".join(details(messages[-1].content)[:count]) + "."


def by_coverage(messages: list[dict[str, str]]) -> str:
    """A judge that reads: the better answer holds more of the parts that the request names."""
    shown = {name: text for _, name, text in BLOCK.findall(messages[-1]["content"])}
    wanted = set(details(shown["request"]))
    first, second = (len(wanted & set(details(shown[f"{place} answer"]))) for place in ("first", "second"))
    better = "tie" if first == second else "first" if first > second else "second"
    return json.dumps({"reason": "it holds more of what was asked for", "better": better})


def make(root: Path, rows: Sequence[dict[str, Any]], kind: str = "generation", **judge: Any) -> Workspace:
    """The client ``acme`` with labeled pairs of its own, of the same kind as its rows."""
    folder = root / "clients" / "acme"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    pairs = []
    for number in range(20):
        asked = row(100 + number)["messages"][0]["content"]
        good, poor = (covers(count)([Message("user", asked)]) for count in (3, 1))
        a, b, gold = (good, poor, "a") if number % 2 else (poor, good, "b")
        pairs.append({"id": f"pair-{number}", "question": asked, "a": a, "b": b, "gold": gold})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pairs))
    document = {
        "client": "acme",
        "vertical": "sales",
        "use_case": {"name": "descriptions", "type": kind, "system_prompt": "Write one sentence."},
        "data": {"path": "rows.jsonl", "pii": "allow"},
        "baseline": {"model": MODEL, "sources": ["recorded"]},
        "evaluation": {"gates": GATES, "judge": {"labeled": "pairs.jsonl"} | judge},
    }
    (folder / "client.yaml").write_text(yaml.safe_dump(document))
    return Workspace(root)


@contextmanager
def hired(monkeypatch: pytest.MonkeyPatch, say: Callable[[list[dict[str, str]]], str]) -> Iterator[FaultServer]:
    """A judge on a server of this machine, named in the settings."""
    with FaultServer(lambda *_: None, model=MODEL, say=say) as server:
        monkeypatch.setenv("DELIVERY_JUDGE_MODEL", MODEL)
        monkeypatch.setenv("DELIVERY_JUDGE_BASE_URL", server.url)
        get_settings.cache_clear()
        yield server
    get_settings.cache_clear()


def deliver(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *, says: dict[str, Say]) -> Case:
    """The stages from the holdout to the decision, in a new delivery; ``says`` is what each system answers."""
    served = Speaker("served", says["candidate"])
    monkeypatch.setattr(evidence, "served", lambda *_, **__: lambda _: nullcontext(served))
    base_model, adapted = Speaker("base", says["base"]), Speaker("adapted", says.get("adapter", says["candidate"]))
    monkeypatch.setattr(evidence, "here", lambda _, adapter, __: nullcontext(adapted if adapter else base_model))
    line = new_line(workspace)
    line.config = load_client(workspace.clients, "acme")
    made = factory.artifacts()
    data = steps.load_data.on(line)
    base = _kept(line, "fetch_base_model", factory.base_model())
    plan = _kept(line, "plan_training", factory.plan())
    adapter = _kept(line, "train", Adapter(made[0], factory.training()))
    artifacts = _kept(line, "quantize", Artifacts(made, made[-1]))
    baseline.check_baseline.on(line, data)
    judged.check_judge.on(line)
    systems = [
        evidence.evaluate_candidate.on(line, data, plan, artifacts),
        evidence.evaluate_adapter.on(line, data, base, plan, adapter),
        *baseline.evaluate_baseline.on(line, data, base, plan),
        evidence.evaluate_base.on(line, data, base, plan),
        *evidence.evaluate_encoder.on(line, data),
    ]
    compared = evidence.compare.on(line, data, base, systems)
    decided = steps.decide.on(line, _kept(line, "check_data", factory.data_report()), [compared])
    return Case(line, data, line.read(SuiteResult, compared), line.read(Decision, decided))


def _kept(line: Line, stage: str, value: object) -> str:
    def work(_: Path, __: OnProgress) -> object:
        return value

    return line.stage(stage, {}, work)
