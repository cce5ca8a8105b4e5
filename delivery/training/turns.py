"""Which turns of an example are learned. Pure."""

from __future__ import annotations

from typing import NamedTuple

from delivery.artifacts import Example, Message


class Turn(NamedTuple):
    """What is asked, the answer to learn, and the weight of its tokens."""

    messages: tuple[Message, ...]
    answer: str
    weight: float


def learned_turns(example: Example) -> tuple[Turn, ...]:
    """The assistant's earlier turns that carry a weight, and the answer, in their order.

    Each is a question of its own, with all that was said before, because that is what the model is asked in serving: a
    template may show an earlier answer otherwise than it is to be given, and tokens may join over its borders. What
    the turns have in common is computed once all the same (``packing``).
    """
    earlier = (
        Turn(example.messages[:place], message.content, message.weight)
        for place, message in enumerate(example.messages)
        if message.role == "assistant" and message.weight > 0
    )
    return (*earlier, Turn(example.messages, example.answer, example.weight))
