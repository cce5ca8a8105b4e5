"""How long to wait before a request that failed is sent again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 120.0
"""A server that asks for more is not waited for."""
LONGEST_BACKOFF_SECONDS = 8.0


def wait_seconds(attempt: int, headers: Mapping[str, str], *, first: float, now: datetime | None = None) -> float | None:
    """Seconds before attempt number ``attempt`` + 1 (the first is 0): what ``Retry-After`` says, as seconds or as an HTTP
    date (RFC 9110, 10.2.3), else ``first`` doubling up to 8 s, less up to a quarter by chance so that callers spread out.

    None where the server asks for more than ``LONGEST_SECONDS``.
    """
    asked = _retry_after(headers, now or datetime.now(UTC))
    if asked is None:
        return min(first * 2.0**attempt, LONGEST_BACKOFF_SECONDS) * random.uniform(0.75, 1)
    return asked if asked <= LONGEST_SECONDS else None


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return None
    # An HTTP date is in UTC whether or not it says so.
    return max(0.0, (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
