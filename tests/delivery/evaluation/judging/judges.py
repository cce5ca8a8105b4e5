"""Judges in memory: functions of what they are shown, behind the endpoint's Protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from delivery.artifacts import Answer, Message, Sample, Suite
from delivery.evaluation.endpoints.endpoint import OnAnswer, Request
from delivery.evaluation.judging.judge import Judge
from delivery.evaluation.judging.prompts import PAIRWISE, Prompt

BLOCK = re.compile(r"<<<([0-9a-f]{24}) (?!end of)([^>\n]+)>>>\n(.*?)\n<<<\1 end of \2>>>", re.DOTALL)


@dataclass
class FunctionEndpoint:
    """Answers every request by a function of its messages."""

    reply: Callable[[Sequence[Message]], str | Exception]
    name: str = "function"
    asked: list[Request] = field(default_factory=list)

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        for request in requests:
            self.asked.append(request)
            said = self.reply(request.messages)
            error = isinstance(said, Exception)
            on_answer(Answer(request.sample_id, None if error else str(said), error=str(said) if error else None))


def blocks(messages: Sequence[Message]) -> dict[str, str]:
    """The fenced texts of a judge's prompt by their names."""
    return {name: text for _, name, text in BLOCK.findall(messages[-1].content)}


def verdict(better: str, reason: str = "because") -> str:
    return json.dumps({"reason": reason, "better": better})


def preferring(value: Callable[[str], float]) -> Callable[[Sequence[Message]], str]:
    """A judge that prefers the answer of the greater value, and calls equal ones a tie."""

    def reply(messages: Sequence[Message]) -> str:
        found = blocks(messages)
        first, second = value(found["first answer"]), value(found["second answer"])
        return verdict("tie" if first == second else "first" if first > second else "second")

    return reply


def judge(
    tmp_path: Path, reply: Callable[[Sequence[Message]], str | Exception], *, prompt: Prompt = PAIRWISE, model: str = "claude-x"
) -> Judge:
    return Judge(FunctionEndpoint(reply), model, tmp_path / "verdicts.jsonl", pairwise=prompt)


def suite(count: int, *, clusters: int = 0) -> Suite:
    samples = tuple(
        Sample(
            f"s{i}",
            (Message("user", f"question {i}"),),
            "a good answer",
            f"{i:064x}",
            cluster=f"c{i % clusters}" if clusters else "",
            scorer="generation",
        )
        for i in range(count)
    )
    return Suite("letters", "use_case", "generation", "exact", samples, (), None, "0" * 64)


def answers(texts: Sequence[str | None]) -> tuple[Answer, ...]:
    return tuple(Answer(f"s{i}", text, error=None if text is not None else "HTTP 500") for i, text in enumerate(texts))
