"""The formats of labeled data. A new one is one more ``Reader`` in ``READERS``.

A row belongs to the format whose keys it has. Keys of two formats are refused rather than guessed at, and so is a file whose
rows are of different formats. Every format takes ``id``, ``split``, ``weight`` and ``metadata`` besides (``loading``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from delivery.artifacts import Message
from delivery.dataset.reading.fields import visible_text
from delivery.dataset.reading.problems import BadRow, BrokenFile, quoted
from delivery.dataset.reading.rows import Container
from delivery.dataset.reading.tools import tools_text
from delivery.dataset.reading.turns import OPENAI, SHAREGPT, read_turns


class Labeled(NamedTuple):
    """What a row says: the messages before the answer, the answer, and the field that holds it."""

    messages: tuple[Message, ...]
    answer: str
    answer_field: str
    rejected: str = ""
    """The answer that was not preferred."""
    tools: str = ""
    """What belongs at the end of the system message, whichever that will be."""
    weight: float = 1.0
    """Multiplies the row's own: 0 where the answer is marked as not to be learned."""


class Reader(NamedTuple):
    """One format: recognised by ``keys``, written in one of ``containers``, turned into messages by ``read``."""

    shape: str
    keys: frozenset[str]
    containers: tuple[Container, ...]
    read: Callable[[Mapping[str, Any]], Labeled]
    further: frozenset[str] = frozenset()
    """Keys that the format may have besides, and that are no metadata."""


def recognise(row: Mapping[str, Any], container: Container) -> tuple[Reader, ...]:
    """The formats whose keys a row has: usable when there is exactly one."""
    return tuple(r for r in READERS if container in r.containers and r.keys <= row.keys())


def reader_of_first(row: Mapping[str, Any], container: Container, line: int) -> Reader:
    """The format of a file, by its first row.

    Raises:
        BrokenFile: the row's keys are those of no format, or of more than one.
    """
    found = recognise(row, container)
    if len(found) == 1:
        return found[0]
    keys = quoted(", ".join(list(row)[:20]), 80)
    if found:
        names = " and ".join(reader.shape for reader in found)
        raise BrokenFile(f"the keys {keys} are those of {names}; keep the keys of one format", line=line)
    known = "; ".join(f"{reader.shape} has {', '.join(sorted(reader.keys))}" for reader in READERS)
    commas = " Columns of a CSV are separated by commas." if container == "csv" else ""
    raise BrokenFile(f"the format is not recognised from the keys {keys}; {known}.{commas}", line=line)


def refuse_other(row: Mapping[str, Any], reader: Reader, container: Container) -> None:
    """Check that a row's keys are those of the file's format.

    Raises:
        BadRow: they are those of another, of more than one, or one is missing.
    """
    found = recognise(row, container)
    if found == (reader,):
        return
    if len(found) == 1:
        raise BadRow(f"is a {found[0].shape} row in a {reader.shape} file; put each format in a file of its own")
    if found:
        raise BadRow(f"has the keys of {' and '.join(r.shape for r in found)}; keep the keys of one format")
    missing = sorted(reader.keys - row.keys())
    raise BadRow("is missing; every row of this file needs it, so fill it in or take the row out", field=missing[0])


def _chat(row: Mapping[str, Any]) -> Labeled:
    """OpenAI's chat format: the last message is the assistant's, and it is the answer.

    A weight on that message multiplies the row's. An earlier turn of the assistant is trained on as well where it has a
    weight above nought, and not where it has none.
    """
    return _conversation(row, "messages", tools="tools" if row.get("tools") is not None else "functions")


def _sharegpt(row: Mapping[str, Any]) -> Labeled:
    """ShareGPT: ``{"from", "value"}`` turns, or chat's own under its key; ``system`` and ``tools`` may stand beside them."""
    labeled = _conversation(row, "conversations", tools="tools")
    return labeled._replace(messages=_with_system(row.get("system"), labeled.messages))


def _conversation(row: Mapping[str, Any], field: str, *, tools: str) -> Labeled:
    turns = row[field]
    dialect = OPENAI
    if field == "conversations" and isinstance(turns, list) and turns:
        dialect = OPENAI if isinstance(turns[0], dict) and "role" in turns[0] else SHAREGPT
    messages, weight = read_turns(turns, field, dialect)
    last = len(messages) - 1
    end = f"{field}[{len(turns) - 1}]"
    if messages[last].role != "assistant":
        raise BadRow(f"is the {messages[last].role}'s; the last message has to be the assistant's answer", field=end)
    if last == 0 or messages[last - 1].role != "user":
        raise BadRow("answers no user message; put the user's turn before it", field=end)
    answer = messages.pop().content
    return Labeled(tuple(messages), answer, f"{end}.{dialect.content}", tools=tools_text(row.get(tools), tools), weight=weight)


def _with_system(system: Any, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    if system is None or system == "":
        return messages
    if messages[0].role == "system":
        raise BadRow("stands beside a conversation that begins with a system message; keep one of them", field="system")
    return (Message("system", visible_text(system, "system")), *messages)


def _text_label(row: Mapping[str, Any]) -> Labeled:
    """Classification as a text and its label. A whole number is a label, too; a text is always a string."""
    label = row.get("label")
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    text = visible_text(row.get("text"), "text")
    return Labeled((Message("user", text),), visible_text(label, "label"), "label")


def _prompt_completion(row: Mapping[str, Any]) -> Labeled:
    """A prompt and its completion, each a string, or chat messages (the completion then one of the assistant's)."""
    if isinstance(row.get("label"), bool):
        # Ratings of single answers (KTO): half of them are answers that nobody wants.
        what = "is a rating of the completion; give only good completions, without it, or pairs of chosen and rejected"
        raise BadRow(what, field="label")
    messages = _ask(row.get("prompt"), "prompt")
    reply = _reply(row.get("completion"), "completion", messages)
    return Labeled(messages, reply.text, reply.field, weight=reply.weight)


def _alpaca(row: Mapping[str, Any]) -> Labeled:
    """Alpaca: the user's turn is the instruction, and after a blank line the input where there is one.

    ``history`` is a list of earlier [instruction, output] pairs.
    """
    request = visible_text(row.get("instruction"), "instruction")
    given = row.get("input")
    if given is not None and not (isinstance(given, str) and not given.strip()):
        request = f"{request}\n\n{visible_text(given, 'input')}"
    earlier: list[Message] = []
    history = row.get("history")
    if history is not None and not isinstance(history, list):
        raise BadRow(f"is a {type(history).__name__}; write a list of [instruction, output] pairs", field="history")
    for index, pair in enumerate(history or []):
        field = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRow("is no [instruction, output] pair; write two strings", field=field)
        earlier += (
            Message("user", visible_text(pair[0], f"{field}[0]")),
            Message("assistant", visible_text(pair[1], f"{field}[1]")),
        )
    messages = _with_system(row.get("system"), (*earlier, Message("user", request)))
    return Labeled(messages, visible_text(row.get("output"), "output"), "output")


def _openai_preference(row: Mapping[str, Any]) -> Labeled:
    """OpenAI's preference format: an input of messages, and one assistant's message on each side."""
    asked = row["input"]
    if not isinstance(asked, dict):
        raise BadRow(f"is a {type(asked).__name__}; write an object with messages", field="input")
    unknown = sorted(asked.keys() - {"messages", "tools", "parallel_tool_calls"})
    if unknown:
        raise BadRow(f"unknown key {quoted(unknown[0])}; only messages and tools are supported", field="input")
    messages = _ask(asked.get("messages"), "input.messages", needs_list=True)
    labeled = _pair(row, messages, chosen="preferred_output", rejected="non_preferred_output")
    return labeled._replace(tools=tools_text(asked.get("tools"), "input.tools"))


def _preference(row: Mapping[str, Any]) -> Labeled:
    """Preference pairs as TRL reads them: strings, or messages; a side may repeat the prompt before its answer."""
    return _pair(row, _ask(row.get("prompt"), "prompt"), chosen="chosen", rejected="rejected")


def _pair(row: Mapping[str, Any], messages: tuple[Message, ...], *, chosen: str, rejected: str) -> Labeled:
    good, bad = (_reply(row.get(side), side, messages) for side in (chosen, rejected))
    if good.text == bad.text:
        raise BadRow(f"is the same as {chosen}, so nothing is preferred; take the row out", field=rejected)
    return Labeled(messages, good.text, good.field, rejected=bad.text, weight=good.weight)


def _ask(value: Any, field: str, *, needs_list: bool = False) -> tuple[Message, ...]:
    if not isinstance(value, list) and not needs_list:
        return (Message("user", visible_text(value, field)),)
    if not isinstance(value, list) or not value:
        raise BadRow("has to be a list of messages; write them, the user's turn last", field=field)
    messages = tuple(read_turns(value, field).messages)
    if messages[-1].role != "user":
        raise BadRow(
            f"is the {messages[-1].role}'s; the prompt has to end with the user's turn", field=f"{field}[{len(value) - 1}]"
        )
    return messages


class _Reply(NamedTuple):
    text: str
    field: str
    weight: float


def _reply(value: Any, field: str, asked: tuple[Message, ...]) -> _Reply:
    if not isinstance(value, list):
        return _Reply(visible_text(value, field), field, 1.0)
    messages, weight = read_turns(value, field)
    *before, last = messages
    end = f"{field}[{len(value) - 1}]"
    if last.role != "assistant":
        raise BadRow(f"is the {last.role}'s; give one message, the assistant's", field=end)
    if before and [(m.role, m.content) for m in before] != [(m.role, m.content) for m in asked]:
        raise BadRow("has messages that differ from the prompt's; give one message, the assistant's", field=field)
    return _Reply(last.content, f"{end}.content", weight)


_CHAT = Reader("chat", frozenset({"messages"}), ("jsonl",), _chat, frozenset({"tools", "functions", "parallel_tool_calls"}))
_OPENAI_PREFERENCE = Reader(
    "openai-preference", frozenset({"input", "preferred_output", "non_preferred_output"}), ("jsonl",), _openai_preference
)
READERS = (
    _CHAT,
    Reader("text-label", frozenset({"text", "label"}), ("jsonl", "csv"), _text_label),
    Reader("prompt-completion", frozenset({"prompt", "completion"}), ("jsonl", "csv"), _prompt_completion),
    Reader("sharegpt", frozenset({"conversations"}), ("jsonl",), _sharegpt, frozenset({"system", "tools"})),
    Reader(
        "alpaca", frozenset({"instruction", "output"}), ("jsonl", "csv"), _alpaca, frozenset({"input", "system", "history"})
    ),
    _OPENAI_PREFERENCE,
    Reader("preference", frozenset({"prompt", "chosen", "rejected"}), ("jsonl", "csv"), _preference),
)


def read_stored(row: Mapping[str, Any]) -> Labeled:
    """A row that ``writing`` wrote: one of OpenAI's two formats.

    Raises:
        BadRow: it is of neither.
    """
    for reader in (_CHAT, _OPENAI_PREFERENCE):
        if reader.keys <= row.keys():
            return reader.read(row)
    raise BadRow("is neither a chat row nor a preference pair; store it again")
