"""A hard budget: the worst that a call can cost is taken from it before the call, and what it did cost is entered after.

The journal is JSON lines, ``{"id", "key", "usd"}`` before a call and ``{"id", "usd"}`` after it. A call of which only the
first is there is counted at its worst, so a process that is killed with calls on the way has spent them.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import orjson
from filelock import FileLock

from delivery.artifacts import Message
from delivery.errors import IntegrityError

MESSAGE_TOKENS = 16
"""More than any chat format puts around a message (OpenAI's takes 3 and one for a name)."""
PROMPT_TOKENS = 32
"""More than any puts around them all."""

TokenBound = Callable[[Sequence[Message]], int]
"""The most tokens that an endpoint can count for messages."""


class TokenPrice(NamedTuple):
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal

    def usd(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """The exact price of a call."""
        return (prompt_tokens * self.input + completion_tokens * self.output).scaleb(-6)


class Reservation(NamedTuple):
    """Money that is set aside for one call."""

    id: str
    usd: Decimal


class Spending(NamedTuple):
    """US dollars that calls have cost, and that are set aside for calls on the way or lost sight of."""

    settled: Decimal
    reserved: Decimal

    @property
    def total(self) -> Decimal:
        """What has to be counted as spent."""
        return self.settled + self.reserved


def tokens_at_most(messages: Sequence[Message]) -> int:
    """Every token of a byte-level vocabulary stands for at least one byte, so UTF-8 bytes bound the tokens of a text."""
    texts = sum(len(m.role.encode()) + len(m.content.encode("utf-8", "surrogatepass")) for m in messages)
    return texts + MESSAGE_TOKENS * len(messages) + PROMPT_TOKENS


class Budget:
    """At most ``limit_usd`` for all calls that share a journal, from any number of threads and processes."""

    def __init__(self, path: Path, *, limit_usd: Decimal, price: TokenPrice, bound: TokenBound = tokens_at_most) -> None:
        self.limit_usd = limit_usd
        self.price = price
        self._bound = bound
        self._path = path
        self._here = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._others = FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)
        self._read = 0
        self._settled = self._reserved = Decimal(0)
        self._open: dict[str, Decimal] = {}

    @property
    def spending(self) -> Spending:
        """What is spent and set aside at this moment."""
        with self._here, self._others:
            return self._catch_up()

    def worst(self, messages: Sequence[Message], max_new_tokens: int) -> Decimal:
        """The most that a call can cost."""
        return self.price.usd(self._bound(messages), max_new_tokens)

    def reserve(self, key: str, usd: Decimal) -> Reservation | None:
        """Set money aside for a call, or None where it would pass the limit. The call may go out once this returns."""
        with self._here, self._others:
            if self._catch_up().total + usd > self.limit_usd:
                return None
            held = Reservation(uuid.uuid4().hex, usd)
            self._append({"id": held.id, "key": key, "usd": str(usd)})
            return held

    def settle(self, held: Reservation, usd: Decimal) -> None:
        """Enter what a call has cost in the place of what was set aside for it."""
        with self._here, self._others:
            self._catch_up()
            self._append({"id": held.id, "usd": str(usd)})

    def _append(self, entry: dict[str, str]) -> None:
        with self._path.open("ab", buffering=0) as stream:
            stream.write(orjson.dumps(entry) + b"\n")

    def _catch_up(self) -> Spending:
        """Read what was appended since, by whomever, and cut off an entry that a kill has torn: its call never went out."""
        with self._path.open("a+b", buffering=0) as stream:
            stream.seek(self._read)
            content = stream.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(self._path, self._read + whole)
        for line in content[:whole].splitlines():
            self._enter(line)
        self._read += whole
        return Spending(self._settled, self._reserved)

    def _enter(self, line: bytes) -> None:
        try:
            entry = orjson.loads(line)
            name, usd = str(entry["id"]), Decimal(entry["usd"])
            if not usd.is_finite() or usd < 0:
                raise ValueError(usd)
        except (orjson.JSONDecodeError, ArithmeticError, KeyError, TypeError, ValueError):
            # What is not known to be left must not be spent.
            raise IntegrityError(f"{self._path}: holds a line that is no entry; what was spent is not known any more") from None
        if "key" in entry:
            self._open[name] = usd
            self._reserved += usd
        elif name in self._open:
            self._reserved -= self._open.pop(name)
            self._settled += usd
