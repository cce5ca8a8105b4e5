"""Closed-loop load through the official client, streaming."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import httpx2  # the client lets its transport's errors through in the middle of a stream
import openai
from openai.types.chat import ChatCompletionMessageParam

from delivery.artifacts import Latency, Message, OnProgress, Progress
from delivery.errors import RetryableError
from delivery.serving.server import RunningServer


class _Timed(NamedTuple):
    first_token: float
    whole: float
    prompt_tokens: int
    completion_tokens: int


def run_closed_loop(
    server: RunningServer,
    prompts: Sequence[tuple[Message, ...]],
    *,
    concurrency: int,
    max_new_tokens: int,
    on_progress: OnProgress,
) -> Latency:
    """See ``delivery.serving.measure_load``."""
    if not prompts or concurrency < 1:
        raise ValueError(f"a load needs prompts and a concurrency of at least one (got {len(prompts)} and {concurrency})")
    return asyncio.run(_Loop(server, max_new_tokens, on_progress).measure(prompts, concurrency))


class _Loop:
    def __init__(self, server: RunningServer, max_new_tokens: int, on_progress: OnProgress) -> None:
        self._server = server
        self._max_new_tokens = max_new_tokens
        self._on_progress = on_progress

    async def measure(self, prompts: Sequence[tuple[Message, ...]], concurrency: int) -> Latency:
        async with openai.AsyncOpenAI(
            base_url=self._server.base_url,
            api_key="unused",
            max_retries=0,
            timeout=600,
            # llama.cpp's server closes a kept connection after a stream without saying so, and the next request on it
            # is lost.
            default_headers={"Connection": "close"},
        ) as client:
            # Another question under the same system prompt: a slot that had seen the prompt itself would answer faster.
            warm = [(*prompt[:-1], replace(prompt[-1], content="Warm-up.")) for prompt in prompts[:concurrency]]
            await self._drain(client, warm, concurrency, [])
            timed: list[_Timed] = []
            start = time.perf_counter()
            await self._drain(client, prompts, concurrency, timed)
            seconds = time.perf_counter() - start
        output = sum(t.completion_tokens for t in timed)
        return Latency(
            concurrency=concurrency,
            requests=len(timed),
            ttft_ms=_percentiles([t.first_token for t in timed]),
            e2e_ms=_percentiles([t.whole for t in timed]),
            output_tokens_per_second=output / seconds,
            tokens_per_second=(output + sum(t.prompt_tokens for t in timed)) / seconds,
            requests_per_second=len(timed) / seconds,
        )

    async def _drain(
        self, client: openai.AsyncOpenAI, prompts: Sequence[tuple[Message, ...]], concurrency: int, timed: list[_Timed]
    ) -> None:
        queue = iter(prompts)

        async def worker(waiting: Iterator[tuple[Message, ...]]) -> None:
            for prompt in waiting:
                timed.append(await self._ask(client, prompt))
                self._on_progress(Progress(len(timed), len(prompts), "requests", f"{concurrency} at once"))

        try:
            await asyncio.gather(*(worker(queue) for _ in range(concurrency)))
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise RetryableError(
                f"{self._server.base_url}: a request of the load failed ({reason[:300]}); measure again"
            ) from error

    async def _ask(self, client: openai.AsyncOpenAI, prompt: tuple[Message, ...]) -> _Timed:
        messages: list[ChatCompletionMessageParam] = [{"role": m.role, "content": m.content} for m in prompt]  # type: ignore[misc]
        start = time.perf_counter()
        first: float | None = None
        usage = None
        stream = await client.chat.completions.create(
            model=self._server.model,
            messages=messages,
            max_tokens=self._max_new_tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if first is None and any(choice.delta.content for choice in chunk.choices):
                first = time.perf_counter() - start
            usage = chunk.usage or usage
        whole = time.perf_counter() - start
        if usage is None:
            raise RetryableError(f"{self._server.base_url}: an answer ended without its token counts; measure again")
        return _Timed(first if first is not None else whole, whole, usage.prompt_tokens, usage.completion_tokens)


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{p}": 1000 * ordered[math.ceil(p / 100 * len(ordered)) - 1] for p in (50, 95, 99)}
