"""The formats of labeled data. A new one is one more ``Reader`` in ``READERS``."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from delivery.artifacts import Message
from delivery.dataset.problems import BadRow, quoted
from delivery.dataset.rows import Container

ROLES = ("system", "user", "assistant")


class Labeled(NamedTuple):
    """What a row says: the messages before the answer, the answer, and the field that holds it."""

    messages: tuple[Message, ...]
    answer: str
    answer_field: str


class Reader(NamedTuple):
    """One format: recognised by ``keys``, written in one of ``containers``, turned into messages by ``read``."""

    shape: str
    keys: frozenset[str]
    containers: tuple[Container, ...]
    read: Callable[[Mapping[str, Any]], Labeled]


def recognise(row: Mapping[str, Any], container: Container) -> Reader | None:
    """The format whose keys a row has; None when it is none of them, or more than one."""
    found = [r for r in READERS if container in r.containers and r.keys <= row.keys()]
    return found[0] if len(found) == 1 else None


def visible_text(value: Any, field: str) -> str:
    """A value that has to be a string with something to see in it.

    Raises:
        BadRow: it is missing, of another type, or blank (white space, control and zero-width characters alone).
    """
    if value is None:
        raise BadRow("is missing or empty; fill it in, or take the row out", field=field)
    if not isinstance(value, str):
        raise BadRow(f"is a {type(value).__name__}; write a string", field=field)
    if all(unicodedata.category(character)[0] in "CZ" for character in value):
        raise BadRow("is blank; fill it in, or take the row out", field=field)
    return value


def _chat(row: Mapping[str, Any]) -> Labeled:
    """OpenAI's chat format: the last message is the assistant's, and it is the answer."""
    turns = row["messages"]
    if not isinstance(turns, list) or not turns:
        raise BadRow("has to be a list of messages that ends with the assistant's answer", field="messages")
    messages = tuple(_message(turn, f"messages[{index}]", first=index == 0) for index, turn in enumerate(turns))
    last = len(messages) - 1
    if messages[last].role != "assistant":
        what = f"is the {messages[last].role}'s; the last message has to be the assistant's answer"
        raise BadRow(what, field=f"messages[{last}]")
    if last == 0 or messages[last - 1].role != "user":
        raise BadRow("answers no user message; put the user's turn before it", field=f"messages[{last}]")
    return Labeled(messages[:last], messages[last].content, f"messages[{last}].content")


def _message(turn: Any, field: str, *, first: bool) -> Message:
    if not isinstance(turn, dict):
        raise BadRow(f"is a {type(turn).__name__}; write an object with role and content", field=field)
    unknown = sorted(key for key, value in turn.items() if key not in ("role", "content") and value is not None)
    if unknown:
        raise BadRow(f"unknown key {quoted(unknown[0])}; only role and content are supported", field=field)
    role = turn.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRow(f"{quoted(role)} is not one of {', '.join(ROLES)}", field=f"{field}.role")
    if role == "system" and not first:
        raise BadRow("a system message may only stand first; move it there", field=f"{field}.role")
    return Message(role, visible_text(turn.get("content"), f"{field}.content"))


def _text_label(row: Mapping[str, Any]) -> Labeled:
    """Classification as a text and its label. A whole number is a label, too; a text is always a string."""
    label = row.get("label")
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    text = visible_text(row.get("text"), "text")
    return Labeled((Message("user", text),), visible_text(label, "label"), "label")


READERS = (
    Reader("chat", frozenset({"messages"}), ("jsonl",), _chat),
    Reader("text-label", frozenset({"text", "label"}), ("jsonl", "csv"), _text_label),
)
