"""Rows that the tiny model's tokenizer knows, and a machine to plan for."""

from __future__ import annotations

from delivery.artifacts import Example, Machine, Message, Splits

TINY_MACHINE = Machine(device="cpu", threads=1, memory_bytes=8 * 2**30, bf16=False, matrix_flops=1e10)


def example(number: int, words: int) -> Example:
    text = " ".join(f"w{(number * 7 + i) % 50}" for i in range(words))
    messages = (Message("system", "sort the text"), Message("user", text))
    return Example(
        id=str(number), messages=messages, answer=f"w{number % 3} w{number % 5}", source="rows.jsonl", line=number + 1
    )


def tiny_splits() -> Splits:
    rows = [example(n, 3 + n * 5 % 17) for n in range(60)]
    return Splits(train=tuple(rows[:48]), validation=tuple(rows[48:54]), test=tuple(rows[54:]))
