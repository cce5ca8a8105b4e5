"""A server that speaks chat completions, goes wrong as it is told, and counts what it answered and charged."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from delivery.artifacts import Answer, Message
from delivery.evaluation import Budget, Request, TokenPrice, collect
from delivery.evaluation.endpoints.openai import Calls, OpenAIEndpoint

FAULTS = ("429", "500", "hang", "half", "json", "id", "model")
PRICE = TokenPrice(Decimal("2.50"), Decimal("10"))
TOKENS = 32
Plan = Callable[[int, str], str | None]
"""Number of the call and the question -> the fault, or None for a good answer."""
Say = Callable[[list[dict[str, str]]], str]
"""Messages -> a good answer."""


def answer_to(question: str) -> str:
    return f"the answer to {question}"


class FaultServer:
    """``answered`` and ``charged_for`` count by question; ``charged_usd`` is the sum of the bill."""

    def __init__(self, plan: Plan, *, model: str = "gpt-4o", seconds: float = 0.0, say: Say | None = None) -> None:
        self.plan, self.model, self.seconds = plan, model, seconds
        self.say = say or (lambda messages: answer_to(messages[-1]["content"]))
        self.listing = 404
        """Status of the list of models, which few servers keep."""
        self.calls = 0
        self.answered: Counter[str] = Counter()
        self.charged_for: Counter[str] = Counter()
        self.charged_usd = Decimal(0)
        self.headers: list[dict[str, str]] = []
        self._first = b""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.casefold(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._reply(headers, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _reply(self, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        if not body:
            await self._send(writer, b"{}", status=self.listing)
            return True
        asked = json.loads(body)
        question = asked["messages"][-1]["content"]
        number = self.calls
        self.calls += 1
        fault = self.plan(number, question)
        self.headers.append(headers)
        if fault in ("429", "500"):
            said = {"error": {"message": f"told to fail, your key {headers['authorization']} is fine"}}
            await self._send(writer, json.dumps(said).encode(), status=int(fault), extra="retry-after-ms: 2\r\n")
            return True
        self._charge(question)
        await asyncio.sleep(self.seconds)
        model = "gpt-4o-mini" if fault == "model" else self.model
        content = json.dumps(self._completion(number, question, model, self.say(asked["messages"]))).encode()
        if fault == "hang":
            await asyncio.sleep(60)
        elif fault == "half":
            await self._send(writer, content[: len(content) // 2], length=len(content))
            return False
        elif fault == "json":
            await self._send(writer, content[:-9])
        elif fault == "id":
            await self._send(writer, self._first)
        else:
            if fault is None:
                self.answered[question] += 1
                self._first = self._first or content
            await self._send(writer, content)
        return True

    def _charge(self, question: str) -> None:
        self.charged_for[question] += 1
        self.charged_usd += PRICE.usd(*self.tokens(question))

    @staticmethod
    def tokens(question: str) -> tuple[int, int]:
        return 8 + len(question) // 4, 1 + len(question) % TOKENS

    def _completion(self, number: int, question: str, model: str, said: str) -> dict[str, Any]:
        prompt, completion = self.tokens(question)
        message = {"role": "assistant", "content": said}
        return {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        }

    async def _send(
        self, writer: asyncio.StreamWriter, content: bytes, *, status: int = 200, extra: str = "", length: int | None = None
    ) -> None:
        size = len(content) if length is None else length
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {size}\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()


def mixed(share: float, *, seed: int, after: int = 40, faults: tuple[str, ...] = FAULTS) -> Plan:
    """A share of the calls goes wrong, each in a way drawn by chance; hangs are rarer, for they take a time-out each.

    Before two answers have come, no client can know an id that repeats from one that is always the same.
    """
    chance = random.Random(seed)
    weights = [0.1 if fault == "hang" else 1.0 for fault in faults]

    def plan(number: int, _: str) -> str | None:
        bad = chance.random() < share
        (fault,) = chance.choices(faults, weights)
        return fault if bad and number >= after else None

    return plan


def questions(n: int) -> list[Request]:
    return [
        Request(f"r-{i}", (Message("system", "Be brief."), Message("user", f"question {i} " + "x" * (i % 50))))
        for i in range(n)
    ]


def right(requests: list[Request], answers: tuple[Answer, ...]) -> bool:
    """Every request has the answer to its own question."""
    return [a.output for a in answers] == [answer_to(r.messages[-1].content) for r in requests]


def ask_all(
    url: str, n: int, folder: Path, *, limit_usd: Decimal = Decimal(100), concurrency: int = 16, timeout: float = 3.0
) -> tuple[Answer, ...]:
    """Ask a server everything, through the store and a budget that lie in ``folder``."""
    budget = Budget(folder / "budget.jsonl", limit_usd=limit_usd, price=PRICE)
    calls = Calls(concurrency=concurrency, retries=20, timeout_seconds=timeout, first_wait_seconds=0.005)
    endpoint = OpenAIEndpoint(url, model="gpt-4o", api_key="sk-very-secret", calls=calls, budget=budget, name="the live model")
    return collect(endpoint, questions(n), path=folder / "answers.jsonl", max_new_tokens=TOKENS)
