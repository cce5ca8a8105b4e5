"""Rows that nobody has labeled yet.

A row as it may come: ``{"text": "..."}``, ``{"prompt": "..."}`` or ``{"messages": [{"role": "user", "content": "..."}]}``
a line, or a CSV with a column ``text`` or ``prompt``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from delivery.artifacts import Example, Message
from delivery.dataset.reading.fields import visible_text
from delivery.dataset.reading.problems import BadRow, Problems, quoted
from delivery.dataset.reading.rows import Container
from delivery.dataset.reading.stores import shown
from delivery.dataset.reading.taking import take_rows
from delivery.dataset.reading.turns import ROLES
from delivery.errors import ClientDataError

TEXT_KEYS = ("text", "prompt")
# What a labeled row or a queue of ours says besides its input; none of it describes the input.
NOT_ABOUT_THE_INPUT = frozenset(
    ("answer", "completion", "guideline", "label", "labeler", "probability", "rank", "reason", "split", "suggestion", "weight")
)


@dataclass(frozen=True, slots=True)
class Unlabeled:
    """A row with no answer: the messages up to the one that has to be answered."""

    id: str
    messages: tuple[Message, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    source: str = ""
    line: int = 0

    @property
    def text(self) -> str:
        """What the customer sent, as ``input_text``."""
        return input_text(self.messages)

    @property
    def input_key(self) -> str:
        """As ``Example.input_key``: equal keys are the same input."""
        return Example(id="", messages=self.messages, answer="").input_key


def input_text(messages: Sequence[Message]) -> str:
    """The one message beside the system's, or the turns of a chat one below the other, each with its role."""
    turns = [message for message in messages if message.role != "system"]
    return turns[0].content if len(turns) == 1 else "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def read_unlabeled(paths: Sequence[str]) -> tuple[Unlabeled, ...]:
    """Read the rows of a pool from local files or fsspec URLs, in order.

    An answer that a row brings (its last message is the assistant's) is left out. A row without an id is named by the
    first 16 digits of its ``input_key``, as labeled rows are, and read once however often it comes.

    Raises:
        RowProblems: rows are wrong, or an id names two inputs; names the first by file and line, and holds up to 20.
        ClientDataError: no file was given, or one is missing, unreadable or holds no row.
        RetryableError: a remote store did not answer.
    """
    if not paths:
        raise ClientDataError("data.pool: names no file; give the rows that wait for a label")
    problems = Problems()
    found: dict[str, Unlabeled] = {}
    for path in paths:
        for row in _read_file(path, problems):
            key = row.input_key
            name = row.id or key[:16]
            first = found.setdefault(name, row if row.id else _named(row, name))
            if first.input_key != key:
                what = f"{quoted(name)} is also the id of {first.source}:{first.line}, which says something else"
                problems.add(row.source, row.line, BadRow(f"{what}; give each row its own", field="id"))
    problems.raise_if_any()
    return tuple(found.values())


def _named(row: Unlabeled, name: str) -> Unlabeled:
    return Unlabeled(name, row.messages, row.metadata, row.source, row.line)


def _read_file(path: str, problems: Problems) -> list[Unlabeled]:
    found: list[Unlabeled] = []
    source = shown(path)
    take_rows(
        path, lambda row, container, line: found.append(_row(row, container, source, line)), problems, wanted="rows to label"
    )
    return found


def _row(row: Mapping[str, Any], container: Container, source: str, line: int) -> Unlabeled:
    if container == "jsonl" and row.get("messages") is not None:
        messages, used = _turns(row["messages"]), "messages"
    else:
        used = next((key for key in TEXT_KEYS if key in row), "")
        if not used:
            known = "text or prompt" if container == "csv" else "text, prompt or messages"
            raise BadRow(f"has none of {known}, but {quoted(', '.join(row), 80)}; name the input so")
        messages = (Message("user", visible_text(row[used], used)),)
    return Unlabeled(_id(row.get("id")), messages, _metadata(row, used), source, line)


def _turns(turns: Any) -> tuple[Message, ...]:
    if not isinstance(turns, list) or not turns:
        raise BadRow("has to be a list of messages that ends with the user's", field="messages")
    messages = [_message(turn, f"messages[{index}]", first=index == 0) for index, turn in enumerate(turns)]
    if messages[-1].role == "assistant":
        messages.pop()
    if not messages or messages[-1].role != "user":
        raise BadRow("leaves no user message to answer; end with the user's turn", field="messages")
    return tuple(messages)


def _message(turn: Any, field: str, *, first: bool) -> Message:
    if not isinstance(turn, dict):
        raise BadRow(f"is a {type(turn).__name__}; write an object with role and content", field=field)
    role = turn.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRow(f"{quoted(role)} is not one of {', '.join(ROLES)}", field=f"{field}.role")
    if role == "system" and not first:
        raise BadRow("a system message may only stand first; move it there", field=f"{field}.role")
    return Message(role, visible_text(turn.get("content"), f"{field}.content"))


def _id(value: Any) -> str:
    if value is None:
        return ""
    name = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > 200:
        raise BadRow(f"{quoted(value)} is no id; give up to 200 printable characters or a whole number", field="id")
    return name


def _metadata(row: Mapping[str, Any], used: str) -> dict[str, str]:
    given = row.get("metadata")
    if given is not None and not isinstance(given, dict):
        raise BadRow(f"is a {type(given).__name__}; write an object of names and values", field="metadata")
    ours = {"id", "metadata", "messages", used, *NOT_ABOUT_THE_INPUT}
    further = {key: value for key, value in row.items() if key not in ours and not isinstance(value, dict | list)}
    return {
        key: value if isinstance(value, str) else orjson.dumps(value).decode()
        for key, value in {**further, **(given or {})}.items()
        if value is not None
    }
