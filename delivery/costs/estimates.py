"""What a request costs on the client's own machine and at an API, and from which volume owning is cheaper.

Everything is exact until it is shown: decimals become fractions, and only results are rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from fractions import Fraction
from typing import NamedTuple

from delivery.artifacts import ApiCost, CostEstimate, Latency
from delivery.client_config import Cost
from delivery.costs.prices import ApiPrice, PriceBook
from delivery.errors import DeliveryError

HOURS_PER_MONTH = 730
"""A year's 8760 hours over twelve."""

ALWAYS_SHOWN = ("gpt-4", "gpt-4o")


class Tokens(NamedTuple):
    """Mean tokens per request, measured under the candidate's tokenizer."""

    prompt: float
    completion: float


@dataclass(frozen=True, slots=True)
class Machine:
    """One rented machine: US dollars for a month, and the requests that it serves in it (not rounded)."""

    monthly_usd: Fraction
    monthly_requests: Fraction

    def monthly_usd_for(self, requests: int) -> Fraction:
        """US dollars a month for a volume. Machines are rented whole, so this is a staircase."""
        return math.ceil(requests / self.monthly_requests) * self.monthly_usd


def estimate(
    cost: Cost,
    *,
    book: PriceBook,
    load: Latency,
    tokens: Tokens,
    baseline_model: str,
    today: date,
) -> CostEstimate:
    """Cost per request from a measured load, beside list prices of APIs for the same measured tokens.

    ``load`` is the measurement at the highest concurrency; at ``cost.utilisation`` of its rate a machine is full.
    The API side is priced on the candidate's token counts, though an API counts with a tokenizer of its own.
    The reference is the cheapest model that can be bought for a whole month from ``today``.

    Raises:
        ConfigError: the hardware is not in the price book, or no model in it is still sold.
        DeliveryError: the load test or the token counts say nothing.
    """
    rate = _measured("requests per second", load.requests_per_second)
    prompt = _measured("prompt tokens per request", tokens.prompt)
    completion = _measured("completion tokens per request", tokens.completion, or_zero=True)
    hourly = Fraction(book.hourly_usd(cost.hardware))
    requests_per_hour = rate * 3600 * _exact(cost.utilisation)
    own = hourly / requests_per_hour
    machine = Machine(hourly * HOURS_PER_MONTH, requests_per_hour * HOURS_PER_MONTH)

    def api_usd(name: str) -> Fraction:
        return usd_per_request(book.api[name], prompt, completion)

    reference = min(book.buyable(today), key=api_usd)
    shown = (name for name in (baseline_model, *ALWAYS_SHOWN, reference) if name in book.api)
    api = {
        name: _api_cost(book.api[name], api_usd(name), own=own, machine=machine, volume=cost.requests_per_month)
        for name in dict.fromkeys(shown)
    }
    return CostEstimate(
        hardware=cost.hardware,
        hourly_usd=money(hourly),
        utilisation=cost.utilisation,
        requests_per_month=cost.requests_per_month,
        prices_as_of=book.as_of.isoformat(),
        prompt_tokens_per_request=float(tokens.prompt),
        completion_tokens_per_request=float(tokens.completion),
        requests_per_second=load.requests_per_second,
        usd_per_million_tokens=money(own / (prompt + completion) * 1_000_000),
        usd_per_1000_requests=money(own * 1000),
        monthly_usd_own=money(machine.monthly_usd_for(cost.requests_per_month)),
        api=api,
        reference_model=reference,
        break_even_requests_per_month=api[reference].break_even_requests_per_month,
        cheaper=api[reference].cheaper,
    )


def usd_per_request(price: ApiPrice, prompt: Fraction, completion: Fraction) -> Fraction:
    """US dollars for one request of so many tokens at an API's list price."""
    return (prompt * Fraction(price.input) + completion * Fraction(price.output)) / 1_000_000


def break_even(machine: Machine, api_usd_per_request: Fraction) -> int | None:
    """The smallest monthly volume at which rented machines cost no more than the API; None when there is none.

    k machines carry n requests and cost no more when k * monthly_usd / api <= n <= k * monthly_requests, so n / k is
    a fraction between the two; the simplest fraction there has the least numerator of all (Stern 1858, Brocot 1861).
    Just above that volume another machine may be due, and the API cheaper again for a while.
    """
    low, high = machine.monthly_usd / api_usd_per_request, machine.monthly_requests
    return None if low > high else _simplest_between(low, high).numerator


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of least numerator and denominator in [low, high], for 0 < low <= high."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    below = whole - 1
    return below + 1 / _simplest_between(1 / (high - below), 1 / (low - below))


def money(amount: Fraction) -> str:
    """US dollars to six significant digits, never with an exponent."""
    rounded = Context(prec=6).divide(Decimal(amount.numerator), Decimal(amount.denominator))
    return format(rounded.normalize(), "f")


def _api_cost(price: ApiPrice, usd: Fraction, *, own: Fraction, machine: Machine, volume: int) -> ApiCost:
    return ApiCost(
        usd_per_1000_requests=money(usd * 1000),
        ratio=float(own / usd),
        available_until=price.available_until.isoformat() if price.available_until else None,
        break_even_requests_per_month=break_even(machine, usd),
        cheaper="own" if machine.monthly_usd_for(volume) <= usd * volume else "api",
        source=f"{price.source} ({price.dated})",
    )


def _exact(value: float) -> Fraction:
    """A measured float as the decimal that it prints as."""
    return Fraction(Decimal(str(value)))


def _measured(what: str, value: float, *, or_zero: bool = False) -> Fraction:
    if not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        raise DeliveryError(f"costs: {value} {what} were measured, so nothing can be priced; run the load bench again")
    return _exact(value)
