"""Numbers as text. Metrics are shares between 0 and 1 and are shown in per cent; what was not measured is a dash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

DASH = "–"
MINUS = "−"


def percent(value: float | None) -> str:
    """``0.683`` as ``68.3 %``."""
    return DASH if value is None else f"{value * 100:.1f} %"


def interval(ci95: Sequence[float | None] | None) -> str:
    """An interval of shares as ``64.1–72.3``, in per cent."""
    low, high = ci95 or (None, None)
    return DASH if low is None or high is None else f"{low * 100:.1f}–{high * 100:.1f}"


def percent_interval(value: float | None, ci95: Sequence[float | None] | None) -> str:
    """``68.3 % (64.1–72.3)``: never a value without its interval."""
    return DASH if value is None else f"{percent(value)} ({interval(ci95)})"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, signed: ``+4.9``, ``−0.3``, ``0.0``."""
    if value is None:
        return DASH
    text = f"{value * 100:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def p_value(value: float | None) -> str:
    """A p-value with three decimals, or ``< 0.001``."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: float | None) -> str:
    """A whole number with separators: ``100,000``."""
    return DASH if value is None else f"{round(value):,}"


def decimal(value: float | None, digits: int = 1) -> str:
    """A plain number with a fixed count of decimals."""
    return DASH if value is None else f"{value:,.{digits}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """A plain number with so many significant digits, never in exponents."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    whole = f"{value:.{digits - 1}e}"
    exponent = int(whole.partition("e")[2])
    return f"{float(whole):,.{max(0, digits - 1 - exponent)}f}"


def money(value: float | None, *, digits: int = 3) -> str:
    """US dollars: whole from a thousand, cents from one, so many significant digits below."""
    if value is None:
        return DASH
    if value == 0 or value >= 0.995:
        return f"${value:,.0f}" if value >= 1000 else f"${value:,.2f}"
    return f"${significant(value, digits)}"


def ratio(value: float | None) -> str:
    """A factor with two significant digits: ``0.09×``, ``1.4×``, ``23×``."""
    if value is None:
        return DASH
    digits = 1 if value < 0.1 else 2
    return f"{significant(value, digits)}×"


def file_size(value: float | None) -> str:
    """Bytes in decimal units: ``138.4 MB``."""
    if value is None:
        return DASH
    size = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.95 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float | None) -> str:
    """A time span: ``7.2 s``, ``12 min 5 s``, ``3 h 20 min``."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def milliseconds(value: float | None) -> str:
    """``84 ms``; seconds from ten thousand on."""
    if value is None:
        return DASH
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:,.0f} ms"


def short_hash(value: str | None) -> str:
    """The first twelve digits of a hash; anything else unchanged."""
    if value is None:
        return DASH
    return value[:12] if re.fullmatch(r"[0-9a-f]{40,128}", value) else value


def moment(value: str) -> str:
    """An ISO 8601 time as ``2026-11-03 02:14 UTC``; anything else unchanged."""
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return value
    if parsed.tzinfo is None or len(value) <= len("2026-11-03"):
        return value
    return f"{parsed.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
