"""Anything that answers chat completions, and asking it so that a killed evaluation goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from delivery.artifacts import Answer, Message, OnProgress, Progress, no_progress, sha256_json
from delivery.errors import BudgetReached, EvalIncompleteError
from delivery.evaluation.endpoints.store import AnswerStore
from delivery.settings import get_settings

OnAnswer = Callable[[Answer], None]
Choosing = Literal["constrained", "likelihood"]

NOTHING = "the endpoint gave no answer"
NAMED = 3
"""Ids that a sentence about missing answers names."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one sample asks: all messages, system prompt, tools (as text) and shots included.

    A sample that is asked several times, for the spread of its answers, has another ``repeat`` each time.

    With ``choices`` the answer is one of them, to the letter, where the endpoint can hold a model to that (``hf`` can); other
    endpoints answer freely. ``choosing`` says how it is found. ``constrained``, token by token as a server with a grammar
    would: for a system that will be served so. ``likelihood``, the choice that is likeliest as a whole, as evaluation
    harnesses do: for multiple choice whose figures stand beside published ones. Neither is what a server without a grammar
    says, so a system that is shipped without one is asked freely. See ``choosing``.
    """

    sample_id: str
    messages: tuple[Message, ...]
    choices: tuple[str, ...] = ()
    choosing: Choosing = "constrained"
    repeat: int = 0


class Endpoint(Protocol):
    """Answers chat completions greedily. Implementations: ``hf.HFEndpoint``, ``openai.OpenAIEndpoint``."""

    @property
    def name(self) -> str:
        """Names exactly what answers (weights, or provider and API snapshot) and with which parameters, without a secret:
        answers are stored and reused under it."""

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """Answer every request once, in any order, calling ``on_answer`` in the caller's thread as each is done.

        What could not be answered is an ``Answer`` with ``error``, never one with a made-up output.

        Raises:
            ConfigError: no request can be answered (wrong key, no such model).
            BudgetReached: the endpoint has a budget, and the next call could pass it.
            RetryableError: the endpoint is down.
        """


class FakeEndpoint:
    """Answers from a script, in memory: sample id -> output, or an exception whose text becomes the error."""

    def __init__(self, script: Mapping[str, str | Exception], *, name: str = "fake") -> None:
        self.name = name
        self.script = script
        self.asked: list[Request] = []

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """Give each request its scripted output, cut to ``max_new_tokens`` words."""
        for request in requests:
            self.asked.append(request)
            said = self.script.get(request.sample_id, KeyError("not in the script"))
            if isinstance(said, Exception):
                on_answer(Answer(request.sample_id, None, error=str(said)))
                continue
            words = said.split(" ")[:max_new_tokens]
            asked = sum(len(message.content.split()) for message in request.messages)
            on_answer(
                Answer(
                    request.sample_id,
                    " ".join(words),
                    prompt_tokens=asked,
                    completion_tokens=len(words),
                    seconds=0.0,
                )
            )


def key_of(name: str, request: Request, max_new_tokens: int) -> str:
    """What an answer is stored under: the hash of who is asked, and of everything that it is asked."""
    return sha256_json([name, max_new_tokens, request])


def collect(
    endpoint: Endpoint,
    requests: Sequence[Request],
    *,
    path: Path,
    max_new_tokens: int,
    on_progress: OnProgress = no_progress,
    offline: bool | None = None,
) -> tuple[Answer, ...]:
    """Answers to all requests, in their order; those already in ``path`` are not asked again.

    ``path`` is an ``AnswerStore``: each answer is in it before the next is asked for. Errors are not stored, so a later
    call asks those again. With ``offline`` (by default ``DELIVERY_OFFLINE``) nothing is asked at all.

    Raises:
        ValueError: two requests for one sample.
        EvalIncompleteError: offline, and not every answer is stored; says how many are missing, and the first.
        BudgetReached: likewise, when the endpoint's budget has no room for the next call.
        ConfigError, RetryableError: from the endpoint; what was answered before is kept.
    """
    keys = {request.sample_id: key_of(endpoint.name, request, max_new_tokens) for request in requests}
    if len(keys) != len(requests):
        raise ValueError("two requests for one sample")
    with AnswerStore(path) as store:
        answers = {sample_id: found for sample_id, key in keys.items() if (found := store.get(key)) is not None}
        waiting = [request for request in requests if request.sample_id not in answers]
        on_progress(Progress(len(answers), len(requests), "samples"))

        def keep(answer: Answer) -> None:
            if answer.sample_id not in keys or answer.sample_id in answers:
                return
            if answer.output is None and answer.error is None:
                answer = replace(answer, error=NOTHING)
            answers[answer.sample_id] = answer
            store.put(keys[answer.sample_id], answer)
            on_progress(Progress(len(answers), len(requests), "samples"))

        if waiting and (get_settings().offline if offline is None else offline):
            raise EvalIncompleteError(
                f"offline: {_missing(requests, answers)} in {path}; unset DELIVERY_OFFLINE to ask for them"
            )
        try:
            if waiting:
                endpoint.answer(waiting, max_new_tokens=max_new_tokens, on_answer=keep)
        except BudgetReached as reached:
            raise BudgetReached(
                f"{reached}; {_missing(requests, answers)}; with a larger budget only those are asked"
            ) from None
    return tuple(answers.get(r.sample_id) or Answer(r.sample_id, None, error=NOTHING) for r in requests)


def _missing(requests: Sequence[Request], answers: Mapping[str, Answer]) -> str:
    lacking = [r.sample_id for r in requests if r.sample_id not in answers or answers[r.sample_id].output is None]
    named = ", ".join(lacking[:NAMED]) + (", ..." if len(lacking) > NAMED else "")
    return f"{len(lacking)} of {len(requests)} answers are missing (ids {named})"
