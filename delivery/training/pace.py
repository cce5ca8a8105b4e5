"""How often to save a checkpoint: rarely enough to cost little, often enough to lose little. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt

ASSUMED_SECONDS = 900.0
"""Between two failures, before any was seen: that of machines which may be taken away."""


@dataclass(slots=True)
class Pace:
    """The interval of least loss, the root of twice the time that saving takes times the time between failures.

    Young, "A First Order Approximation to the Optimum Checkpoint Interval" (1974). Both times are as measured: the first
    in this attempt, the second over all. When a checkpoint is saved decides nothing about the weights.
    """

    between_failures: float = ASSUMED_SECONDS
    clock: Callable[[], float] = time.monotonic
    _cost: float = 0.3
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def due(self) -> bool:
        """Whether it is time to save."""
        return self.clock() - self._last >= sqrt(2.0 * self._cost * self.between_failures)

    def saved(self, seconds: float) -> None:
        """A checkpoint was saved just now, and it took this long."""
        self._cost, self._last = seconds, self.clock()


def between_failures(seconds: float, restarts: int) -> float:
    """Seconds between failures as seen over an attempt's predecessors, with the assumption as one observation more."""
    return (ASSUMED_SECONDS + seconds) / (1 + restarts)
