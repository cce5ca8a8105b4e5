from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from delivery.costs import load_price_book
from delivery.costs.prices import BUNDLED
from delivery.errors import ConfigError


def test_the_bundled_book_is_whole_and_dated() -> None:
    book = load_price_book()
    listed = {name: (price.input, price.output) for name, price in book.api.items()}
    assert listed["gpt-4"] == (Decimal(30), Decimal(60))
    assert listed["gpt-4-turbo"] == (Decimal(10), Decimal(30))
    assert listed["gpt-4o"] == (Decimal("2.50"), Decimal(10))
    assert listed["gpt-6-luna"] == (Decimal("0.10"), Decimal("0.50"))
    assert book.hourly_usd("cpu-2core") == Decimal("0.11592")
    assert all(price.dated <= book.as_of and price.source for price in (*book.api.values(), *book.hardware.values()))


def test_a_model_is_sold_as_long_as_a_whole_month_is_left() -> None:
    book = load_price_book()
    assert "gpt-4" not in book.buyable(date(2026, 11, 22))
    assert "gpt-5-nano" in book.buyable(date(2026, 11, 11))
    assert "gpt-5-nano" not in book.buyable(date(2026, 11, 12))
    assert "gpt-4o" in book.buyable(date(2026, 11, 22))
    stale = book.model_copy(update={"api": {"gpt-4": book.api["gpt-4"]}})
    with pytest.raises(ConfigError, match="no API model that is still sold"):
        stale.buyable(date(2026, 11, 22))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("input: 30", "input: -1", r"api\.gpt-4\.input: .*greater than 0"),
        ("input: 30", "input: .nan", r"api\.gpt-4\.input: "),
        ("input: 30", "input: cheap", r"api\.gpt-4\.input: "),
        ("input: 30", "inputs: 30", r"api\.gpt-4\.inputs?: "),
        ("hourly_usd: 0.11592", "hourly_usd: 0", r"hardware\.cpu-2core\.hourly_usd: "),
        ("as_of: 2026-11-22", "as_of: soon", r"as_of: "),
        ("as_of: 2026-11-22", "", r"as_of: is missing"),
        ("gpt-4-turbo:", "gpt-4:", r"given twice"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "prices.yaml"
    text = BUNDLED.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=says) as caught:
        load_price_book(path)
    assert str(path) in str(caught.value)


def test_no_book(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_price_book(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="must hold as_of"):
        load_price_book(tmp_path / "list.yaml")
