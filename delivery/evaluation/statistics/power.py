"""What a holdout of a given size can show, before anything is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from delivery.artifacts import Check

ALPHA = 0.05
POWER = 0.80
ASSUMED_DISCORDANCE = 0.25
"""Share of samples on which exactly one of two systems is right, before anything was measured."""


ASSUMED_CHANGED = {"general": 0.10, "quantization": 0.02}
"""Share of answers that training, and that eight-bit weights, make right or wrong, before anything was measured."""
ASSUMED_DECIDED = 0.25
"""Share of judged pairs of such answers that are no tie, likewise."""


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


@dataclass(frozen=True, slots=True)
class Guard:
    """What a gate against a loss is given: ``n`` samples of a suite, and how many answers change from one to the other side.

    ``changed`` is the share of samples on which exactly one of two systems is right, or of pairs that a judge decides; None
    where nothing was measured yet.
    """

    suite: str
    n: int
    changed: float | None
    judged: bool = False


def guard_check(gate: Literal["general", "quantization"], guards: Sequence[Guard], *, margin: float) -> Check:
    """Whether suites are large enough for a gate that has to rule out a loss beyond ``margin`` (0 to 1).

    A candidate that is as good passes with 80 % power where so many samples would show a difference as large as the margin.
    A judged pair scores 1, 0.5 or 0 against a draw, half as far apart as right and wrong. The count is that of the suites that
    are too small.
    """
    said, short, widest = [], 0, 0.0
    for guard in guards:
        assumed = ASSUMED_DECIDED if guard.judged else ASSUMED_CHANGED[gate]
        changed = assumed if guard.changed is None else guard.changed
        least = detectable_difference(guard.n, discordance=changed / 4 if guard.judged else changed)
        short, widest = short + (least > margin), max(widest, least)
        source = "assumed" if guard.changed is None else "seen"
        said.append(
            f"{guard.n} samples of {guard.suite} rule out a loss of {100 * least:.1f} points (80 % power, "
            f"{100 * changed:.0f} % of {'judged pairs decided' if guard.judged else 'answers changed'}, {source})"
        )
    key = f"evaluation.gates.{gate}_margin"
    detail = f"{'; '.join(said)}; {key} allows {100 * margin:.1f}"
    if not short:
        return Check(f"power_{gate}", "ok", 0, detail)
    detail += f": the gate {gate} may hold back a candidate that is as good"
    wanted = math.ceil(100 * widest) / 100
    remedy = f"set {key} to {wanted:g} if that loss is bearable, or give it more samples"
    return Check(f"power_{gate}", "warn", short, detail, remedy)
