"""Conversations as clients write them, turn by turn, into messages of system, user and assistant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from delivery.artifacts import Message
from delivery.dataset.reading.fields import is_visible, visible_text, weight_of
from delivery.dataset.reading.problems import BadRow, quoted
from delivery.dataset.reading.tools import Call, calls_in, calls_of, response_text

ROLES = ("system", "user", "assistant")


class Dialect(NamedTuple):
    """What a turn's two fields are called, and what its roles mean."""

    role: str
    content: str
    roles: Mapping[str, str]
    """Name to ``system``, ``user``, ``assistant``, ``tool`` (a tool's result) or ``call`` (a tool call as JSON text)."""


OPENAI = Dialect(
    "role",
    "content",
    {role: role for role in (*ROLES, "tool")} | {"developer": "system", "function": "tool"},
)
SHAREGPT = Dialect(
    "from",
    "value",
    {"human": "user", "gpt": "assistant", "system": "system", "function_call": "call", "observation": "tool"}
    | {"user": "user", "chatgpt": "assistant", "assistant": "assistant", "bing": "assistant", "bard": "assistant"}
    | {"model": "assistant", "tool_call": "call", "tool": "tool", "tool_response": "tool", "function_response": "tool"},
)
_SHOWN_ROLES = 5
_FURTHER_KEYS = {
    "assistant": frozenset({"tool_calls", "function_call", "weight"}),
    "call": frozenset({"weight"}),
    "tool": frozenset({"tool_call_id", "name"}),
}


class Turns(NamedTuple):
    """Messages, and the weight that the last one brings (1 where it says none)."""

    messages: list[Message]
    weight: float


def read_turns(turns: Any, field: str, dialect: Dialect = OPENAI) -> Turns:
    """A list of turns. A tool's results become one user turn, tool calls text of the assistant.

    Raises:
        BadRow: it is no such list; names the turn and its field.
    """
    if not isinstance(turns, list) or not turns:
        raise BadRow("has to be a list of messages; write them, the assistant's answer last", field=field)
    if dialect is OPENAI:
        messages = _plain(turns)
        if messages is not None:
            return Turns(messages, 1.0)
    conversation = _Conversation(dialect)
    for index, turn in enumerate(turns):
        conversation.add(turn, f"{field}[{index}]")
    return Turns(conversation.messages, conversation.weight)


def _plain(turns: list[Any]) -> list[Message] | None:
    """The usual conversation, which nearly all are: roles and visible texts, nothing else. None for any other."""
    messages: list[Message] = []
    for turn in turns:
        if type(turn) is not dict or len(turn) != 2:
            return None
        role, content = turn.get("role"), turn.get("content")
        usual = role in ROLES and (role != "system" or not messages)
        if not usual or type(content) is not str or not is_visible(content) or "\0" in content:
            return None
        messages.append(Message(str(role), content))
    return messages


class _Conversation:
    def __init__(self, dialect: Dialect) -> None:
        self.messages: list[Message] = []
        self.weight = 1.0
        self._dialect = dialect
        self._calls: tuple[Call, ...] = ()
        self._results = 0

    def add(self, turn: Any, field: str) -> None:
        dialect = self._dialect
        if not isinstance(turn, dict):
            raise BadRow(f"is a {type(turn).__name__}; write an object with {dialect.role} and {dialect.content}", field=field)
        name = turn.get(dialect.role)
        role = dialect.roles.get(name) if isinstance(name, str) else None
        if role is None or (role == "tool" and not self._calls):
            raise BadRow(self._no_role(name, known=role is not None), field=f"{field}.{dialect.role}")
        self._refuse_unknown(turn, role, field)
        if role == "tool":
            self._add_result(turn, field)
            return
        if role == "system" and self.messages:
            raise BadRow("a system message may only stand first; move it there", field=f"{field}.{dialect.role}")
        content, place = turn.get(dialect.content), f"{field}.{dialect.content}"
        given = turn.get("weight")
        self.weight = weight_of(given, f"{field}.weight")
        if role == "call":
            self._calls = calls_in(visible_text(content, place), place)
        else:
            self._calls = calls_of(turn, field) if role == "assistant" else ()
        self._results = 0
        parts = [call.text for call in self._calls]
        says_nothing = not content or (isinstance(content, str) and not is_visible(content))
        if role != "call" and not (parts and says_nothing):
            parts.insert(0, text_of(content, place))
        # Unless a weight says otherwise, the last answer alone is learned.
        weight = 0.0 if given is None else self.weight
        self.messages.append(Message("assistant" if role == "call" else role, "\n".join(parts), weight))

    def _add_result(self, turn: dict[str, Any], field: str) -> None:
        content, place = turn.get(self._dialect.content), f"{field}.{self._dialect.content}"
        said = "" if content is None or content == "" else text_of(content, place)
        own = turn.get("tool_call_id")
        ids = [call.id for call in self._calls]
        position = ids.index(own) if own is not None and own in ids else self._results
        if position != self._results or position >= len(ids) or (own is not None and own not in ids):
            what = "answers none of the calls made just before, or not in their order; put each result in its call's place"
            raise BadRow(what, field=field)
        self._results += 1
        text = response_text(said)
        if position:
            self.messages[-1] = Message("user", f"{self.messages[-1].content}\n{text}")
        else:
            self.messages.append(Message("user", text))
        self.weight = 1.0

    def _no_role(self, name: Any, *, known: bool) -> str:
        roles = ROLES if self._dialect is OPENAI else tuple(self._dialect.roles)[:_SHOWN_ROLES]
        what = f"{quoted(name)} is not one of {', '.join(roles)}"
        if known:
            return f"{what} here: a tool's result may only follow a call; put the call before it"
        return f"{what}; correct it"

    def _refuse_unknown(self, turn: dict[str, Any], role: str, field: str) -> None:
        allowed = {self._dialect.role, self._dialect.content} | _FURTHER_KEYS.get(role, frozenset())
        unknown = sorted(key for key, value in turn.items() if key not in allowed and value is not None)
        if unknown:
            what = f"unknown key {quoted(unknown[0])}; only {', '.join(sorted(allowed, reverse=True))} are supported here"
            raise BadRow(f"{what}, so take it out", field=field)


def text_of(content: Any, field: str) -> str:
    """A message's text: a string, or a list of text parts, which are joined by line ends as servers of models do.

    Raises:
        BadRow: it is something else, such as an image, or there is nothing to see in it.
    """
    if not isinstance(content, list):
        return visible_text(content, field)
    texts = []
    for index, part in enumerate(content):
        place = f"{field}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind != "text":
            raise BadRow(f"is a part of kind {quoted(kind)}; only text can be trained on, so take the row out", field=place)
        if not isinstance(part.get("text"), str):
            raise BadRow("is missing or no string; write the part's text", field=f"{place}.text")
        texts.append(part["text"])
    return visible_text("\n".join(texts), field)
