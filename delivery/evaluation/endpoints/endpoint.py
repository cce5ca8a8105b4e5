"""Anything that answers chat completions, and asking it so that a killed evaluation goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import orjson
from pydantic import TypeAdapter, ValidationError

from delivery.artifacts import Answer, Message, OnProgress, Progress, no_progress, sha256_json

OnAnswer = Callable[[Answer], None]
Choosing = Literal["constrained", "likelihood"]

_ANSWERS: TypeAdapter[Answer] = TypeAdapter(Answer)


@dataclass(frozen=True, slots=True)
class Request:
    """What one sample asks: all messages, system prompt and shots included.

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


class Endpoint(Protocol):
    """Answers chat completions greedily. Implementations: ``hf.HFEndpoint``, ``openai.OpenAIEndpoint``."""

    @property
    def name(self) -> str:
        """Names exactly what answers (weights or API snapshot): answers are stored and reused under it."""

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """Answer every request once, in any order, calling ``on_answer`` in the caller's thread as each is done.

        What could not be answered is an ``Answer`` with ``error``, never one with a made-up output.

        Raises:
            ConfigError: no request can be answered (wrong key, no such model).
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


def collect(
    endpoint: Endpoint,
    requests: Sequence[Request],
    *,
    path: Path,
    max_new_tokens: int,
    on_progress: OnProgress = no_progress,
) -> tuple[Answer, ...]:
    """Answers to all requests, in their order; those already in ``path`` are not asked again.

    ``path`` is JSON lines, one answer each, written out as it arrives and on the disk when this returns. An answer is
    reused when endpoint, sample, messages, choices and ``max_new_tokens`` are the same. Errors are not stored, so a later call
    asks those again. A line torn by a kill is cut off.

    Raises:
        ValueError: two requests for one sample.
        ConfigError, RetryableError: from the endpoint; what was answered before is kept.
    """
    keys = {request.sample_id: _key(endpoint.name, request, max_new_tokens) for request in requests}
    if len(keys) != len(requests):
        raise ValueError("two requests for one sample")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("r+b") as stream:
        stored = _read(stream)
        answers = {sample_id: stored[key] for sample_id, key in keys.items() if key in stored}
        waiting = [request for request in requests if request.sample_id not in answers]
        done = Progress(len(answers), len(requests), "samples")
        on_progress(done)

        def keep(answer: Answer) -> None:
            nonlocal done
            answers[answer.sample_id] = answer
            if answer.error is None:
                stream.write(_line(keys[answer.sample_id], answer))
                stream.flush()
            done = done._replace(done=done.done + 1)
            on_progress(done)

        try:
            if waiting:
                endpoint.answer(waiting, max_new_tokens=max_new_tokens, on_answer=keep)
        finally:
            stream.flush()
            os.fsync(stream.fileno())
    unanswered = "the endpoint gave no answer"
    return tuple(answers.get(r.sample_id) or Answer(r.sample_id, None, error=unanswered) for r in requests)


def _key(name: str, request: Request, max_new_tokens: int) -> str:
    messages = [[message.role, message.content] for message in request.messages]
    closed = [[list(request.choices), request.choosing]] if request.choices else []
    return sha256_json([name, request.sample_id, messages, max_new_tokens, *closed])


def _line(key: str, answer: Answer) -> bytes:
    return orjson.dumps({"key": key, "answer": _ANSWERS.dump_python(answer)}) + b"\n"


def _read(stream: BinaryIO) -> dict[str, Answer]:
    """The answers of a file, which is cut after its last whole line and left open at its end."""
    stored: dict[str, Answer] = {}
    whole = 0
    for line in stream:
        if not line.endswith(b"\n"):
            break
        try:
            record = orjson.loads(line)
            stored[record["key"]] = _ANSWERS.validate_python(record["answer"])
        except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError):
            break
        whole += len(line)
    stream.seek(whole)
    stream.truncate()
    return stored
