"""Engine: answers over HTTP from anything that speaks OpenAI's chat completions, a paid API or our own server."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import openai

from delivery.artifacts import Answer
from delivery.errors import BudgetReached, ConfigError, DeliveryError, NotServed, RetryableError
from delivery.evaluation.endpoints.budget import Budget, Reservation
from delivery.evaluation.endpoints.completions import Ids, WrongResponse, read_completion
from delivery.evaluation.endpoints.endpoint import OnAnswer, Request, key_of
from delivery.evaluation.endpoints.waiting import wait_seconds

_UNREACHED = "the connection failed"
_ANOTHER = "answered instead of"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PASSING = (408, 409, 429)
_KEY = re.compile(r"\b(?:sk|key)-[A-Za-z0-9_*-]{6,}")
_UNPAID = (500, 503)


@dataclass(frozen=True, slots=True)
class Calls:
    """How an endpoint is called. What is None is not sent. ``timeout_seconds`` bounds a call as a whole."""

    concurrency: int = 8
    retries: int = 8
    first_wait_seconds: float = 0.5
    timeout_seconds: float = 120.0
    temperature: float | None = 0.0
    seed: int | None = None

    def parameters(self) -> dict[str, float | int]:
        """What decides an answer beside its prompt and length."""
        sent = {"temperature": self.temperature, "seed": self.seed}
        return {name: value for name, value in sent.items() if value is not None}


class _Failure(NamedTuple):
    """Why a call brought no answer. ``headers`` may say when to try again; None: trying again is no use."""

    reason: str
    headers: Mapping[str, str] | None
    unpaid: bool
    ends: DeliveryError | None = None
    """What no other request would survive either."""


class OpenAIEndpoint:
    """An ``Endpoint`` on the official client, at temperature 0 unless ``calls`` says otherwise.

    A call that ends in 408, 409, 429 or 5xx, takes too long, breaks off, or brings something else than the answer of the
    model asked for, is made again, after what ``Retry-After`` says (up to two minutes). What still fails is an answer with
    an error. When ``2 x concurrency`` requests in a row cannot connect, or are answered by another model, the run ends.

    With a ``budget`` the worst that a call can cost is set aside before it. What an error that the API itself states (4xx,
    500, 503) cost is nothing; what a call cost whose answer never came whole is not known, and stays counted at its worst.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        name: str = "",
        api_key: str = "",
        calls: Calls | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._calls = calls or Calls()
        differing = "".join(f" {key}={value}" for key, value in self._calls.parameters().items() if (key, value) != _GREEDY)
        self.name = (name or f"{model} at {_public(base_url)}") + differing
        self._model, self._base_url, self._api_key, self._budget = model, base_url, api_key, budget

    @property
    def parameters(self) -> dict[str, float | int]:
        """What decides an answer beside its prompt and length, as it is sent."""
        return self._calls.parameters()

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """Answer with at most ``concurrency`` requests on the way. Ctrl-C drops those and returns at once.

        Raises:
            NotServed: the endpoint has no such model.
            ConfigError: it refuses the key, the account's rights or its credit, or another model answers.
            BudgetReached: the budget has no room for the next call; those on the way were waited for.
            RetryableError: the endpoint cannot be reached.
        """
        if requests:
            asyncio.run(self._answer_all(requests, max_new_tokens, on_answer))

    def check(self) -> None:
        """Ask, for nothing, whether the key is accepted.

        Raises:
            ConfigError: it is not.
            RetryableError: the endpoint cannot be reached.
        """
        asyncio.run(self._check())

    async def _check(self) -> None:
        async with self._client() as client:
            try:
                await client.models.list()
            except openai.APIStatusError as error:
                if error.status_code in (401, 403):
                    raise self._refused(error) from None
            except openai.APIConnectionError as error:
                where = _public(self._base_url)
                raise RetryableError(
                    f"{where} cannot be reached ({_reason(error)}); set DELIVERY_OFFLINE=1 to do without"
                ) from None
            except (openai.APIError, ValueError):
                # Not every server lists its models.
                return

    async def _answer_all(self, requests: Sequence[Request], max_new_tokens: int, on_answer: OnAnswer) -> None:
        async with self._client() as client:
            run = _Run(iter(requests), on_answer, max_new_tokens)
            try:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(min(self._calls.concurrency, len(requests))):
                        tasks.create_task(self._work(client, run))
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
        if run.ended is not None:
            raise run.ended

    def _client(self) -> openai.AsyncOpenAI:
        # A proxy for the outside world must not be asked for this machine's own server.
        http = openai.DefaultAsyncHttpxClient(trust_env=urlsplit(self._base_url).hostname not in _LOOPBACK)
        # Every call is reserved by itself, so the client must not repeat one by itself.
        return openai.AsyncOpenAI(
            base_url=self._base_url, api_key=self._api_key or "none", max_retries=0, timeout=None, http_client=http
        )

    async def _work(self, client: openai.AsyncOpenAI, run: _Run) -> None:
        for request in run.waiting:
            await self._answer_one(client, run, request)
            if run.ended is not None:
                return

    async def _answer_one(self, client: openai.AsyncOpenAI, run: _Run, request: Request) -> None:
        attempt = 0
        while run.ended is None:
            held = await self._reserve(run, request)
            if run.ended is not None:
                return
            run.on_the_way += 1
            try:
                outcome = await self._call(client, run, request)
                if isinstance(outcome, Answer):
                    # Stored before it is settled: a kill in between counts too much, not too little.
                    run.on_answer(outcome)
                self._settle(run, held, outcome)
            finally:
                run.on_the_way -= 1
                run.returned.set()
            if isinstance(outcome, Answer):
                run.failing.clear()
                return
            if outcome.ends is not None:
                run.end(outcome.ends)
                return
            wait = None
            if outcome.headers is not None and attempt < self._calls.retries:
                wait = wait_seconds(attempt, outcome.headers, first=self._calls.first_wait_seconds)
            if wait is None:
                self._give_up(run, request, outcome.reason)
                return
            attempt += 1
            await run.sleep(wait)

    def _give_up(self, run: _Run, request: Request, reason: str) -> None:
        run.on_answer(Answer(request.sample_id, None, error=self._shown(reason)))
        run.failing.append(reason)
        most = 2 * self._calls.concurrency
        if len(run.failing) < most:
            return
        if all(reason == _UNREACHED for reason in run.failing[-most:]):
            run.end(RetryableError(f"{self._model}: {most} requests in a row could not connect; is it running?"))
        elif all(_ANOTHER in reason for reason in run.failing[-most:]):
            run.end(ConfigError(f"{self._model}: {reason}, {most} times in a row; name the model that is meant"))

    async def _reserve(self, run: _Run, request: Request) -> Reservation | None:
        """Money for one call, as soon as calls on the way have left enough of theirs; ends the run where none will."""
        if self._budget is None:
            return None
        worst = self._budget.worst(request.messages, run.max_new_tokens)
        key = key_of(self.name, request, run.max_new_tokens)
        while run.ended is None:
            run.returned.clear()
            held = self._budget.reserve(key, worst)
            if held is not None:
                return held
            if not run.on_the_way:
                run.end(
                    BudgetReached(
                        f"{self._model}: the next call may cost ${worst.normalize():f}, and of the budget of "
                        f"${self._budget.limit_usd:f} ${self._budget.spending.total.normalize():f} is spent or set aside"
                    )
                )
                return None
            await run.returned.wait()
        return None

    def _settle(self, run: _Run, held: Reservation | None, outcome: Answer | _Failure) -> None:
        if held is None or self._budget is None:
            return
        if isinstance(outcome, _Failure):
            if outcome.unpaid:
                self._budget.settle(held, Decimal(0))
            return
        if outcome.prompt_tokens is None or outcome.completion_tokens is None:
            return
        cost = self._budget.price.usd(outcome.prompt_tokens, outcome.completion_tokens)
        self._budget.settle(held, cost)
        if cost > held.usd:
            run.end(
                ConfigError(
                    f"{self._model}: {outcome.prompt_tokens} and {outcome.completion_tokens} tokens were charged for sample "
                    f"{outcome.sample_id!r}, more than its prompt and length can have: this endpoint keeps to no budget"
                )
            )

    async def _call(self, client: openai.AsyncOpenAI, run: _Run, request: Request) -> Answer | _Failure:
        sent: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "max_completion_tokens": run.max_new_tokens,
            "extra_headers": {"Idempotency-Key": key_of(self.name, request, run.max_new_tokens)},
            **self._calls.parameters(),
        }
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._calls.timeout_seconds):
                completion = await client.chat.completions.create(**sent)
            answer = read_completion(completion, sample_id=request.sample_id, asked=self._model, ids=run.ids)
            return replace(answer, seconds=time.perf_counter() - started)
        except openai.APIStatusError as error:
            return self._status(error)
        except (openai.APIError, TimeoutError) as error:
            reason = _reason(error)
            return _Failure(reason, {}, unpaid=reason == _UNREACHED)
        except WrongResponse as error:
            return _Failure(str(error), {}, unpaid=False)
        except UnicodeEncodeError:
            return _Failure("the prompt is not valid Unicode", None, unpaid=True)
        except ValueError as error:
            return _Failure(f"the response is no JSON ({error})", {}, unpaid=False)

    def _status(self, error: openai.APIStatusError) -> _Failure:
        status, reason = error.status_code, _reason(error)
        ends: DeliveryError | None = None
        if status in (401, 403):
            ends = self._refused(error)
        elif status == 404:
            ends = NotServed(f"{self._model}: {self._shown(reason)}; check the model's name and OPENAI_BASE_URL")
        elif error.code == "insufficient_quota":
            ends = ConfigError(f"{self._model}: the account has no credit left (HTTP {status}); top it up, then go on")
        passing = status in _PASSING or status >= 500
        unpaid = status in _UNPAID or (status < 500 and status != 408)
        return _Failure(reason, error.response.headers if passing else None, unpaid, ends)

    def _refused(self, error: openai.APIStatusError) -> ConfigError:
        # The server's own text can quote the key.
        return ConfigError(f"{self._model}: the endpoint refuses the key (HTTP {error.status_code}); check OPENAI_API_KEY")

    def _shown(self, text: str) -> str:
        """A text of the server without the key, whole or in part."""
        return _KEY.sub("[key]", text.replace(self._api_key, "[key]") if self._api_key else text)


class _Run:
    """One call of ``answer``: what is still to be asked, what is on the way, and whether the run has to end."""

    def __init__(self, waiting: Iterator[Request], on_answer: OnAnswer, max_new_tokens: int) -> None:
        self.waiting, self.on_answer, self.max_new_tokens = waiting, on_answer, max_new_tokens
        self.ids = Ids()
        self.failing: list[str] = []
        """Reasons of the requests that failed since the last that was answered."""
        self.on_the_way = 0
        self.returned = asyncio.Event()
        self.ended: DeliveryError | None = None
        self._over = asyncio.Event()

    def end(self, why: DeliveryError) -> None:
        """Ask nothing more. What is on the way is waited for: it may be paid."""
        self.ended = self.ended or why
        self._over.set()
        self.returned.set()

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends."""
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return


_GREEDY = ("temperature", 0.0)


def _public(base_url: str) -> str:
    """An address without what may be secret in it: user, password and query."""
    parts = urlsplit(base_url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _reason(error: Exception) -> str:
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return "no answer in time"
    if isinstance(error, openai.APIConnectionError):
        connected = type(error.__cause__).__name__ != "ConnectError"
        return "the connection broke off" if connected else _UNREACHED
    if isinstance(error, openai.APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        said = str(body.get("message") or "").strip().split("\n", 1)[0][:200]
        return f"HTTP {error.status_code}" + (f": {said}" if said else "")
    return "the response cannot be read"
