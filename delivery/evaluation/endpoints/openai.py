"""Engine: answers over HTTP from anything that speaks OpenAI's chat completions, a paid API or our own server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

from delivery.artifacts import Answer
from delivery.errors import ConfigError, RetryableError
from delivery.evaluation.endpoints.endpoint import OnAnswer, Request

CONCURRENCY = 8
RETRIES = 5
TIMEOUT_SECONDS = 120.0

_UNREACHED = "the connection failed"
_NO_COMPLETION = "the response holds no completion"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class OpenAIEndpoint:
    """An ``Endpoint`` on the official client, at temperature 0.

    The client itself retries 408, 409, 429, 5xx, time-outs and lost connections ``retries`` times, after what
    ``Retry-After`` says (up to two minutes) or else after 0.5 s doubling up to 8 s. What still fails is an answer with an
    error. When ``2 x concurrency`` requests in a row fail to connect, the endpoint is down and the call ends.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        name: str = "",
        api_key: str = "",
        concurrency: int = CONCURRENCY,
        retries: int = RETRIES,
    ) -> None:
        self.name = name or model
        self._model = model
        self._base_url, self._api_key = base_url, api_key
        self._concurrency, self._retries = concurrency, retries

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """Answer with at most ``concurrency`` requests on the way. Ctrl-C drops those and returns at once.

        Raises:
            ConfigError: the endpoint refuses the key, the account's rights or the model's name.
            RetryableError: the endpoint cannot be reached.
        """
        asyncio.run(self._answer_all(requests, max_new_tokens, on_answer))

    async def _answer_all(self, requests: Sequence[Request], max_new_tokens: int, on_answer: OnAnswer) -> None:
        # A proxy for the outside world must not be asked for this machine's own server.
        http = openai.DefaultAsyncHttpxClient(trust_env=urlsplit(self._base_url).hostname not in _LOOPBACK)
        async with openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            max_retries=self._retries,
            timeout=TIMEOUT_SECONDS,
            http_client=http,
        ) as client:
            waiting = iter(requests)
            unreached = 0

            async def work() -> None:
                nonlocal unreached
                for request in waiting:
                    answer = await self._answer_one(client, request, max_new_tokens)
                    unreached = unreached + 1 if answer.error == _UNREACHED else 0
                    if unreached >= 2 * self._concurrency:
                        raise RetryableError(f"{self._model}: {unreached} requests in a row could not connect; is it running?")
                    on_answer(answer)

            try:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(min(self._concurrency, len(requests))):
                        tasks.create_task(work())
            except ExceptionGroup as group:
                raise group.exceptions[0] from None

    async def _answer_one(self, client: openai.AsyncOpenAI, request: Request, max_new_tokens: int) -> Answer:
        started = time.perf_counter()
        try:
            completion = await client.chat.completions.create(
                model=self._model,
                messages=[{"role": m.role, "content": m.content} for m in request.messages],  # type: ignore[misc]
                temperature=0,
                max_completion_tokens=max_new_tokens,
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            # The server's own text can quote the key.
            raise ConfigError(
                f"{self._model}: the endpoint refuses the key (HTTP {error.status_code}); check OPENAI_API_KEY"
            ) from None
        except openai.NotFoundError as error:
            raise ConfigError(f"{self._model}: {_reason(error)}; check the model's name and OPENAI_BASE_URL") from None
        except openai.APIError as error:
            return Answer(request.sample_id, None, error=_reason(error))
        except ValueError as error:
            return Answer(request.sample_id, None, error=f"the response is no JSON ({error})")
        return _read(request.sample_id, completion, time.perf_counter() - started)


def _read(sample_id: str, completion: ChatCompletion, seconds: float) -> Answer:
    """An answer from what came back; a refusal is an answer, a response of another shape is an error."""
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        return Answer(sample_id, None, error=_NO_COMPLETION)
    choice = completion.choices[0]
    if choice.finish_reason == "content_filter":
        return Answer(sample_id, None, error="stopped by the provider's content filter")
    # The client does not check what it was sent against its own types.
    said = choice.message and (choice.message.content or choice.message.refusal or "")
    if not isinstance(said, str):
        return Answer(sample_id, None, error=_NO_COMPLETION)
    usage = completion.usage
    return Answer(
        sample_id,
        said,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        seconds=seconds,
    )


def _reason(error: openai.APIError) -> str:
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if isinstance(error, openai.APIConnectionError):
        return _UNREACHED
    if isinstance(error, openai.APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        said = str(body.get("message") or "").strip().split("\n", 1)[0][:200]
        return f"HTTP {error.status_code}" + (f": {said}" if said else "")
    return "the response cannot be read"
