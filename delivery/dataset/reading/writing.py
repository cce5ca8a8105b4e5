"""Examples as rows again: what is stored, exported, or sent out for labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from delivery.artifacts import Example, Message, input_key_of
from delivery.dataset.reading.fields import row_id, row_metadata, row_split, weight_of
from delivery.dataset.reading.formats import read_stored
from delivery.dataset.reading.problems import BadRow
from delivery.errors import ClientDataError

OWN_KEY = "delivery_key"
"""Holds ``Example.key`` where it is not that of the messages, as after redaction. Believed from our own store alone."""


def to_chat_row(example: Example) -> dict[str, Any]:
    """A row that ``load`` reads back as the same example, but for its place (file and line).

    A chat row, or a pair in OpenAI's preference format where there is a rejected answer. ``load`` computes the key anew;
    ``from_chat_row`` keeps it.
    """
    asked = [_turn(message) for message in example.messages]
    answer = _turn(Message("assistant", example.answer))
    # Beside turns with weights of their own the row's weight is the answer's; elsewhere it would multiply theirs.
    several = any(message.weight for message in example.messages)
    if several:
        answer["weight"] = example.weight
    row: dict[str, Any]
    if example.rejected:
        rejected = _turn(Message("assistant", example.rejected))
        row = {"input": {"messages": asked}, "preferred_output": [answer], "non_preferred_output": [rejected]}
    else:
        row = {"messages": [*asked, answer]}
    if example.id:
        row["id"] = example.id
    if example.split is not None:
        row["split"] = example.split
    if example.weight != 1.0 and not several:
        row["weight"] = example.weight
    if example.metadata:
        row["metadata"] = dict(example.metadata)
    if example.key and example.key != input_key_of(example.messages):
        row[OWN_KEY] = example.key
    return row


def from_chat_row(row: Mapping[str, Any], *, source: str = "", line: int = 0) -> Example:
    """The example that ``to_chat_row`` wrote, its key included; only for rows that nobody else could have written.

    Raises:
        ClientDataError: the row is none of those; names ``source`` and ``line``.
    """
    try:
        labeled = read_stored(row)
        return Example(
            id=row_id(row.get("id")),
            messages=labeled.messages,
            answer=labeled.answer,
            split=row_split(row.get("split")),
            weight=weight_of(row.get("weight")) * labeled.weight,
            metadata=row_metadata(row, ()),
            source=source,
            line=line,
            rejected=labeled.rejected,
            key=row.get(OWN_KEY) or input_key_of(labeled.messages),
        )
    except BadRow as bad:
        field = f"{bad.field}: " if bad.field else ""
        raise ClientDataError(f"{source}:{line}: {field}{bad.what}") from bad


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    return turn | {"weight": message.weight} if message.weight else turn
