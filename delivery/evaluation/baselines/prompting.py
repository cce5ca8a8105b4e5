"""What is sent for a sample: as it stands, or with worked examples before it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from delivery.artifacts import Example, Message, Sample, Suite
from delivery.client_config import Prompting
from delivery.evaluation.endpoints.endpoint import Request
from delivery.evaluation.scoring.parsing import first_json_object

SHOTS = 4
"""Worked examples in a prompt that has any."""
SHOT_CHARACTERS = 6_000
"""Room for all shots together; about 1,500 tokens of English."""


Prompt = Callable[[Sample], Request]


def prompt_of(prompting: Prompting, train: Sequence[Example], *, suite: Suite) -> Prompt:
    """How a sample is asked. Shots come from ``train`` only: the same balanced few for all, or those most like each sample."""
    if prompting == "zero_shot":
        return zero_shot
    if prompting == "few_shot":
        shots = choose_shots(train, SHOTS, suite=suite)
        return lambda sample: few_shot(sample, shots)
    from delivery.evaluation.baselines.retrieval import Retriever

    retriever = Retriever(train)
    return lambda sample: few_shot(sample, retriever.shots(sample, SHOTS, characters=SHOT_CHARACTERS))


def zero_shot(sample: Sample) -> Request:
    """The sample's own messages and nothing else."""
    return Request(sample.id, sample.messages)


def few_shot(sample: Sample, shots: Sequence[Example]) -> Request:
    """The sample after worked examples, each a user's turn and the assistant's answer behind the system message."""
    system = tuple(message for message in sample.messages if message.role == "system")
    turns = [
        turn
        for shot in shots
        for turn in (*(m for m in shot.messages if m.role != "system"), Message("assistant", shot.answer))
    ]
    asked = tuple(message for message in sample.messages if message.role != "system")
    return Request(sample.id, (*system, *turns, *asked))


def choose_shots(
    train: Sequence[Example], n: int, *, suite: Suite, seed: int = 7, characters: int = SHOT_CHARACTERS
) -> tuple[Example, ...]:
    """``n`` training rows to show: the same for the same rows, whatever their order.

    Balanced over labels (classification) or over the values of the first schema property (extraction): every label once
    before any twice. Of each, a row no longer than the median one is drawn. Rows that would go beyond ``characters`` in
    all are passed over, so fewer than ``n`` may come back. No row whose input stands in the suite is chosen.
    """
    asked = {sample.input_sha256 for sample in suite.samples}
    rows = [row for row in sorted(train, key=lambda row: row.id) if row.input_sha256 not in asked]
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(_group(row, suite), []).append(row)
    generator = random.Random(seed)
    queues = []
    for name in sorted(groups):
        by_length = sorted(groups[name], key=lambda row: (_size(row), row.id))
        short, long = by_length[: (len(by_length) + 1) // 2], by_length[(len(by_length) + 1) // 2 :]
        generator.shuffle(short)
        queues.append(short + long)
    generator.shuffle(queues)
    return _take(queues, n, characters)


def _take(queues: Sequence[list[Example]], n: int, characters: int) -> tuple[Example, ...]:
    chosen: list[Example] = []
    left = characters
    depth = max((len(queue) for queue in queues), default=0)
    for position in range(depth):
        for queue in queues:
            if len(chosen) == n:
                return tuple(chosen)
            if position < len(queue) and _size(queue[position]) <= left:
                chosen.append(queue[position])
                left -= _size(queue[position])
    return tuple(chosen)


def _size(row: Example) -> int:
    return len(row.answer) + sum(len(message.content) for message in row.messages if message.role != "system")


def _group(row: Example, suite: Suite) -> str:
    if suite.scorer == "classification":
        return row.answer.strip().casefold()
    first = next(iter((suite.json_schema or {}).get("properties") or {}), "")
    found = first_json_object(row.answer) or {}
    return str(found.get(first))
