"""Small clients, suites and outcomes that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delivery.artifacts import Answer, Example, Message, Suite, SystemName, SystemResult
from delivery.client_config import ClientConfig
from delivery.evaluation import System, score, summarise, use_case_suite

LABELS = ("dovish", "hawkish", "neutral")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["line", "urgent", "reference"],
    "properties": {
        "line": {"enum": ["motor", "home", "pet"]},
        "urgent": {"type": "boolean"},
        "reference": {"type": ["string", "null"]},
    },
}


def config(kind: str = "classification", **changes: Any) -> ClientConfig:
    use_case: dict[str, Any] = {"name": "triage", "type": kind, "system_prompt": "Answer."}
    if kind == "classification":
        use_case |= {"labels": list(LABELS), "parse": "exact"}
    if kind == "extraction":
        use_case |= {"schema": SCHEMA, "parse": "json"}
    document: dict[str, Any] = {
        "folder": Path("clients/acme"),
        "client": "acme",
        "vertical": "finance",
        "use_case": use_case | changes.pop("use_case", {}),
        "data": {"path": "rows.jsonl"},
    } | changes
    return ClientConfig.model_validate(document)


def row(name: str, text: str, answer: str, **metadata: str) -> Example:
    messages = (Message("system", "Answer."), Message("user", text))
    return Example(name, messages, answer, metadata=metadata, source="rows.jsonl", line=int(name.rsplit("-", 1)[-1]) + 1)


def rows(answers: Sequence[str], *, prefix: str = "row", **metadata: str) -> list[Example]:
    return [row(f"{prefix}-{i}", f"{prefix} text {i}", answer, **metadata) for i, answer in enumerate(answers)]


def classification(answers: Sequence[str]) -> Suite:
    return use_case_suite(config(), rows(answers))


def extraction(answers: Sequence[str]) -> Suite:
    return use_case_suite(config("extraction"), rows(answers))


def answers(suite: Suite, outputs: Sequence[str | None]) -> tuple[Answer, ...]:
    pairs = zip(suite.samples, outputs, strict=True)
    return tuple(Answer(s.id, o) if o is not None else Answer(s.id, None, error="HTTP 500") for s, o in pairs)


def result(suite: Suite, outputs: Sequence[str | None], name: SystemName = "candidate", **about: Any) -> SystemResult:
    given = answers(suite, outputs)
    return summarise(suite, score(suite, given), system=System(name, about.pop("model", "m"), **about), answers=given)
