"""The dated price book: what an API charges for tokens, and what a machine costs by the hour."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from delivery.documents import Section, describe, read_yaml
from delivery.errors import ConfigError

BUNDLED = Path(__file__).with_name("prices.yaml")
MONTH = timedelta(days=30)

Usd = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class ApiPrice(Section):
    """US dollars per million tokens of one API model."""

    input: Usd
    output: Usd
    available_until: date | None
    """The day on which the model is shut down; None while none is announced."""
    source: str = Field(min_length=1)
    dated: date


class HardwarePrice(Section):
    """US dollars per hour of one whole machine."""

    hourly_usd: Usd
    machine: str = Field(min_length=1)
    source: str = Field(min_length=1)
    dated: date


class PriceBook(Section):
    """List prices as of a day, each with its own source and date."""

    as_of: date
    api: dict[str, ApiPrice] = Field(min_length=1)
    hardware: dict[str, HardwarePrice] = Field(min_length=1)

    def hourly_usd(self, hardware: str) -> Decimal:
        """What one machine costs by the hour.

        Raises:
            ConfigError: the book does not know the hardware; names those that it knows.
        """
        if hardware not in self.hardware:
            known = ", ".join(sorted(self.hardware))
            raise ConfigError(f"cost.hardware: {hardware!r} is not in the price book of {self.as_of}; known are {known}")
        return self.hardware[hardware].hourly_usd

    def buyable(self, today: date) -> dict[str, ApiPrice]:
        """The models that can still be bought for a whole month from ``today``, the span that volumes are priced for.

        Raises:
            ConfigError: there is none left; the book is too old.
        """
        found = {
            name: price
            for name, price in self.api.items()
            if price.available_until is None or price.available_until >= today + MONTH
        }
        if not found:
            raise ConfigError(f"the price book of {self.as_of} has no API model that is still sold; refresh its prices")
        return found


def load_price_book(path: Path | None = None) -> PriceBook:
    """Read a price book, by default the one that ships with the package.

    Raises:
        ConfigError: the file is missing, not YAML, or a key is wrong; names the file and the key's path.
    """
    place = path or BUNDLED
    document = read_yaml(place)
    if not isinstance(document, dict):
        raise ConfigError(f"{place}: must hold as_of, api and hardware; start from a copy of {BUNDLED.name}")
    try:
        return PriceBook.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{place}: {describe(error)}") from error


def usd_of(hourly: Decimal, seconds: float) -> Decimal:
    """US dollars for so long on a machine, to a hundredth of a cent."""
    return (hourly * Decimal(str(seconds)) / 3600).quantize(Decimal("0.0001"))
