from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from delivery.artifacts import CostEstimate, Latency
from delivery.client_config import Cost
from delivery.costs import PriceBook, Tokens, estimate, load_price_book
from delivery.costs.estimates import Machine, break_even, money
from delivery.errors import ConfigError, DeliveryError

TODAY = date(2026, 11, 22)


def load_of(requests_per_second: float) -> Latency:
    return Latency(4, 100, {}, {}, 10.0, 100.0, requests_per_second)


def estimated(
    *,
    rate: float = 2.0,
    prompt: float = 400.0,
    completion: float = 100.0,
    cost: Cost | None = None,
    baseline: str = "gpt-4",
    today: date = TODAY,
) -> CostEstimate:
    return estimate(
        cost or Cost(requests_per_month=2_000_000, utilisation=0.5),
        book=load_price_book(),
        load=load_of(rate),
        tokens=Tokens(prompt, completion),
        baseline_model=baseline,
        today=today,
    )


def test_the_arithmetic_by_hand() -> None:
    """2/s at 50 % is 3600 requests an hour for 0.11592 dollars; a month of it is 2 628 000 requests for 84.6216."""
    result = estimated()
    assert result.usd_per_1000_requests == "0.0322"
    assert result.usd_per_million_tokens == "0.0644"
    assert result.monthly_usd_own == "84.6216"
    gpt4 = result.api["gpt-4"]
    assert gpt4.usd_per_1000_requests == "18"
    assert gpt4.ratio == pytest.approx(0.0322 / 18, rel=1e-15)
    assert gpt4.break_even_requests_per_month == math.ceil(Decimal("84.6216") / Decimal("0.018"))
    assert (gpt4.cheaper, gpt4.available_until) == ("own", "2026-10-23")
    assert "OpenAI" in gpt4.source
    assert "2026-10-14" in gpt4.source
    luna = result.api[result.reference_model]
    assert result.reference_model == "gpt-6-luna"
    assert (luna.usd_per_1000_requests, luna.available_until) == ("0.09", None)
    assert result.break_even_requests_per_month == luna.break_even_requests_per_month == 940_240
    assert result.cheaper == luna.cheaper == "own"


def test_machines_are_rented_whole() -> None:
    one, two = (
        estimated(cost=Cost(requests_per_month=volume, utilisation=0.5)).monthly_usd_own for volume in (2_628_000, 2_628_001)
    )
    assert (one, two) == ("84.6216", "169.243")


def test_a_slow_machine_never_breaks_even_and_says_so() -> None:
    result = estimated(rate=0.05)
    assert (result.break_even_requests_per_month, result.cheaper) == (None, "api")
    assert result.api["gpt-4"].break_even_requests_per_month == 4702
    assert result.api["gpt-4"].cheaper == "own"


def test_which_models_are_listed() -> None:
    assert list(estimated(baseline="gpt-4-turbo").api) == ["gpt-4-turbo", "gpt-4", "gpt-4o", "gpt-6-luna"]
    assert list(estimated(baseline="unheard-of").api) == ["gpt-4", "gpt-4o", "gpt-6-luna"]
    assert estimated(today=date(2026, 1, 1)).reference_model == "gpt-5-nano"


@pytest.mark.parametrize(
    ("rate", "prompt", "completion"),
    [(0.0, 1, 1), (-1, 1, 1), (math.nan, 1, 1), (math.inf, 1, 1), (1, 0, 1), (1, math.nan, 1), (1, 1, -1), (1, 1, math.inf)],
)
def test_measurements_that_say_nothing_are_refused(rate: float, prompt: float, completion: float) -> None:
    with pytest.raises(DeliveryError, match="nothing can be priced; run the load bench again"):
        estimated(rate=rate, prompt=prompt, completion=completion)


def test_unknown_hardware_names_the_known() -> None:
    with pytest.raises(
        ConfigError, match=r"cost\.hardware: 'tpu' is not in the price book of 2026-11-22; known are .*cpu-2core"
    ):
        estimated(cost=Cost(hardware="tpu"))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("1234567.8", "1234570"), ("0.0000001234567", "0.000000123457"), ("18.0", "18"), ("0.1000", "0.1"), ("1e9", "1000000000")],
)
def test_money_has_six_digits_and_no_exponent(amount: str, shown: str) -> None:
    assert money(Fraction(amount)) == shown


small = st.fractions(min_value=Fraction(1, 8), max_value=12, max_denominator=8)


def slowly(machine: Machine, price: Fraction, most: int) -> int | None:
    costs = ((volume, math.ceil(volume / machine.monthly_requests) * machine.monthly_usd) for volume in range(1, most))
    return next((volume for volume, usd in costs if usd <= price * volume), None)


@given(monthly_usd=small, monthly_requests=small, price=small)
@example(monthly_usd=Fraction(5, 2), monthly_requests=Fraction(5, 2), price=Fraction(1))
@example(monthly_usd=Fraction(9, 4), monthly_requests=Fraction(19, 8), price=Fraction(1))
@example(monthly_usd=Fraction(3), monthly_requests=Fraction(2), price=Fraction(1))
def test_break_even_is_the_first_volume_that_counting_up_finds(
    monthly_usd: Fraction, monthly_requests: Fraction, price: Fraction
) -> None:
    """Requests a month are n/8 with n up to 96: n of them on 8 full machines decide, where anything does."""
    machine = Machine(monthly_usd, monthly_requests)
    assert break_even(machine, price) == slowly(machine, price, 97)


@given(
    hourly=st.decimals("0.01", "50", places=4),
    rate=st.floats(0.01, 500),
    utilisation=st.floats(0.01, 1),
    prompt=st.floats(1, 1e5),
    completion=st.floats(0, 1e4),
    volume=st.integers(1, 10**9),
)
def test_any_measured_estimate_is_consistent(
    hourly: Decimal, rate: float, utilisation: float, prompt: float, completion: float, volume: int
) -> None:
    book = load_price_book()
    price = book.hardware["cpu-2core"].model_copy(update={"hourly_usd": hourly})
    result = estimate(
        Cost(requests_per_month=volume, utilisation=utilisation),
        book=PriceBook(as_of=book.as_of, api=book.api, hardware={"cpu-2core": price}),
        load=load_of(rate),
        tokens=Tokens(prompt, completion),
        baseline_model="gpt-4",
        today=TODAY,
    )
    assert all("e" not in shown.lower() for shown in (result.usd_per_1000_requests, result.usd_per_million_tokens))
    for api in result.api.values():
        own, theirs = float(result.usd_per_1000_requests), float(api.usd_per_1000_requests)
        assert api.ratio == pytest.approx(own / theirs, rel=3e-5)
        even = api.break_even_requests_per_month
        assert api.ratio == 1 or (even is None) == (api.ratio > 1)
        if api.cheaper == "own":
            assert even is not None
            assert even <= volume
    cheapest = min(result.api.values(), key=lambda api: float(api.usd_per_1000_requests))
    assert result.api[result.reference_model].usd_per_1000_requests == cheapest.usd_per_1000_requests
