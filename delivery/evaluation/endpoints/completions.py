"""From what a server sent to an answer, or to the reason why it is none."""

from __future__ import annotations

import re

from openai.types.chat import ChatCompletion

from delivery.artifacts import Answer

_SNAPSHOT = re.compile(r"-(?:\d{4}-?\d{2}-?\d{2}|\d{4})(?:-preview)?")


class WrongResponse(Exception):
    """What came back is no answer to what was asked."""


class Ids:
    """Ids of completions. A server that numbers its answers and sends an id again has sent another request's answer."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def enter(self, found: object) -> None:
        """Take note of a completion's id.

        Raises:
            WrongResponse: it is no id, or that of an earlier completion.
        """
        if not isinstance(found, str | None):
            raise WrongResponse(f"the response's id is {type(found).__name__}, not text")
        # A server that gives every answer the same id, or none, does not number them.
        if (found or "") in self._seen and len(self._seen) > 1:
            raise WrongResponse("the response has the id of another answer" if found else "the response has no id")
        self._seen.add(found or "")


def answers_for(asked: str, named: str) -> bool:
    """Whether a response under ``named`` is from the model ``asked``: from itself, or from a dated snapshot of it."""
    asked, named = asked.casefold(), named.casefold()
    return named == asked or (named.startswith(asked) and _SNAPSHOT.fullmatch(named[len(asked) :]) is not None)


def read_completion(completion: object, *, sample_id: str, asked: str, ids: Ids) -> Answer:
    """The answer that a completion holds. A refusal is one; what a content filter stopped is an error.

    Raises:
        WrongResponse: it is no completion, another model's, or another request's.
    """
    # The client does not check what it was sent against its own types.
    if not isinstance(completion, ChatCompletion) or not isinstance(completion.choices, list) or not completion.choices:
        raise WrongResponse("the response holds no completion")
    named = completion.model or ""
    if not isinstance(named, str) or (named and not answers_for(asked, named)):
        raise WrongResponse(f"{str(named)[:80]!r} answered instead of {asked!r}")
    ids.enter(completion.id)
    choice, usage = completion.choices[0], completion.usage
    prompt_tokens = _count(usage.prompt_tokens if usage else None)
    completion_tokens = _count(usage.completion_tokens if usage else None)
    if choice.finish_reason == "content_filter":
        why = "stopped by the provider's content filter"
        return Answer(sample_id, None, why, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    said = choice.message and (choice.message.content or choice.message.refusal or "")
    if not isinstance(said, str):
        raise WrongResponse("the response holds no completion")
    return Answer(sample_id, said, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, model=named)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
