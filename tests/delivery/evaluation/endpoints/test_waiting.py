from __future__ import annotations

from datetime import UTC, datetime

import pytest

from delivery.evaluation.endpoints.waiting import wait_seconds

NOW = datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "20"}, 0.02),
        ({"retry-after": "Mon, 23 Nov 2026 06:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 06:00:30"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 05:00:00 GMT"}, 0.0),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "121"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 08:00:00 GMT"}, None),
    ],
)
def test_what_the_server_asks_for_is_waited_for_but_not_for_ever(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_seconds(0, headers, first=0.5, now=NOW) == seconds


@pytest.mark.parametrize("said", ["", "soon", "-1", "nan", "inf", "Mon, 99 Nov 2026"])
def test_without_a_time_that_can_be_read_the_wait_doubles_up_to_eight_seconds(said: str) -> None:
    for attempt, most in enumerate((0.5, 1, 2, 4, 8, 8, 8)):
        seconds = wait_seconds(attempt, {"retry-after": said}, first=0.5, now=NOW)
        assert seconds is not None
        assert 0.75 * most <= seconds <= most
