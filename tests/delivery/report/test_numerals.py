from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.report import numerals
from tests.delivery.report.factory import wilson


def test_the_published_accuracy_of_gpt_4_is_shown_as_it_was_published() -> None:
    fomc = wilson(339, 496)
    assert numerals.percent_interval(fomc.value, (fomc.low, fomc.high)) == "68.3 % (64.1–72.3)"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (numerals.percent, 0.0, "0.0 %"),
        (numerals.percent, 1.0, "100.0 %"),
        (numerals.points, 0.049, "+4.9"),
        (numerals.points, -0.003, "−0.3"),
        (numerals.points, -0.0001, "0.0"),
        (numerals.points, 0.0, "0.0"),
        (numerals.p_value, 0.0052, "0.005"),
        (numerals.p_value, 0.0004, "< 0.001"),
        (numerals.count, 134_515_008, "134,515,008"),
        (numerals.money, 0.0, "$0.00"),
        (numerals.money, 84.607, "$84.61"),
        (numerals.money, 1234.5, "$1,234"),
        (numerals.money, 0.00509, "$0.00509"),
        (numerals.money, 0.4175, "$0.417"),
        (numerals.money, 0.000012, "$0.0000120"),
        (numerals.ratio, 0.0912, "0.09×"),
        (numerals.ratio, 0.00107, "0.001×"),
        (numerals.ratio, 1.42, "1.4×"),
        (numerals.ratio, 230.0, "230×"),
        (numerals.file_size, 144_800_000, "144.8 MB"),
        (numerals.file_size, 512, "512 bytes"),
        (numerals.file_size, 999_999, "1.0 MB"),
        (numerals.duration, 7.24, "7.2 s"),
        (numerals.duration, 59.96, "60.0 s"),
        (numerals.duration, 1243.5, "20 min 44 s"),
        (numerals.duration, 12_000, "3 h 20 min"),
        (numerals.milliseconds, 84.4, "84 ms"),
        (numerals.milliseconds, 12_345, "12.3 s"),
        (numerals.significant, 0.0, "0"),
        (numerals.significant, 0.99999, "1.00"),
    ],
)
def test_how_a_number_is_written(form: Callable[[float], str], value: float, text: str) -> None:
    assert form(value) == text


@pytest.mark.parametrize(
    "form",
    [
        numerals.percent,
        numerals.points,
        numerals.p_value,
        numerals.count,
        numerals.decimal,
        numerals.money,
        numerals.ratio,
        numerals.file_size,
        numerals.duration,
        numerals.milliseconds,
        numerals.significant,
        numerals.short_hash,
        numerals.interval,
    ],
)
def test_what_was_not_measured_is_a_dash(form: Callable[[None], str]) -> None:
    assert form(None) == numerals.DASH


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_significant_digits_keep_the_value(value: float) -> None:
    shown = float(numerals.significant(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.0051)


def test_a_hash_is_cut_and_a_word_is_not() -> None:
    assert numerals.short_hash("ab" * 32) == "abababababab"
    assert numerals.short_hash("a-long-name-that-is-no-hash-but-has-forty-letters") == (
        "a-long-name-that-is-no-hash-but-has-forty-letters"
    )


def test_a_moment_is_shown_in_utc_and_what_is_no_moment_is_left_alone() -> None:
    assert numerals.moment("2026-11-03T04:14:09+02:00") == "2026-11-03 02:14 UTC"
    assert numerals.moment("2026-11-03") == "2026-11-03"
    assert numerals.moment("yesterday") == "yesterday"
