"""What a holdout of a given size can show, before anything is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from delivery.artifacts import Check

ALPHA = 0.05
POWER = 0.80
ASSUMED_DISCORDANCE = 0.25
"""Share of samples on which exactly one of two systems is right, before anything was measured."""


@dataclass(frozen=True, slots=True)
class Power:
    """What ``n`` samples can show beside what was promised. ``needed`` is set where the promise may not be shown."""

    n: int
    detectable: float
    promise: float
    needed: int | None
    sentence: str


def needed_samples(difference: float, *, discordance: float) -> int:
    """Samples that McNemar's two-sided 5 % test takes to show a difference of two accuracies with 80 % power.

    ``discordance`` is the share of samples on which exactly one system is right; it is at least ``difference``.
    Source: Connor, "Sample size for testing differences in proportions for the paired-sample design", Biometrics 1987.
    His formula is for the approximate test. The exact one takes about 1 / ``difference`` samples more: with them its power,
    counted out, is 79 to 81 % for differences of 2 to 15 points (without them 76 to 79 %).
    """
    discordance = max(discordance, difference)
    z_alpha, z_beta = NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(POWER)
    spread = z_alpha * math.sqrt(discordance) + z_beta * math.sqrt(max(discordance - difference**2, 0.0))
    return math.ceil((spread / difference) ** 2 + 1 / difference)


def detectable_difference(n: float, *, discordance: float) -> float:
    """The smallest difference (0 to 1) that ``n`` samples show with 80 % power; 1.0 when even that is too small."""
    low, high = 1e-6, 1.0
    if n < needed_samples(high, discordance=discordance):
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if needed_samples(middle, discordance=discordance) <= n else (middle, high)
    return high


def detectable_by_error(error: float) -> float:
    """The difference that shows with 80 % power where the difference of two systems has this standard error."""
    return min(1.0, (NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(POWER)) * error)


def power_of(n: int, *, promise: float, seen: float | None = None) -> Power:
    """Detectable difference of ``n`` samples, and the samples that a promised difference (0 to 1) takes.

    ``seen`` is the share of discordant pairs that the client's last evaluation showed; without one it is assumed.
    """
    discordance = ASSUMED_DISCORDANCE if seen is None else seen
    detectable = detectable_difference(n, discordance=discordance)
    source = "assumed" if seen is None else "seen"
    sentence = (
        f"{n} test rows can show a difference of {100 * detectable:.1f} points "
        f"(80 % power, {100 * discordance:.0f} % discordant pairs {source})"
    )
    needed = None
    if promise and detectable > promise:
        needed = needed_samples(promise, discordance=discordance)
        sentence += f"; the promised {100 * promise:.1f} points take about {needed:,} test rows: they may not be shown"
    return Power(n, detectable, promise, needed, sentence)


def power_check(power: Power, *, test_share: float) -> Check:
    """Whether the holdout can show what the contract promises; the count is the test rows that are missing."""
    if power.needed is None:
        return Check("power", "ok", 0, power.sentence)
    missing = power.needed - power.n
    remedy = f"label about {math.ceil(missing / test_share):,} more rows, {missing:,} of them for the test"
    return Check("power", "warn", missing, power.sentence, f"{remedy}, or promise less, before money is spent on training")
