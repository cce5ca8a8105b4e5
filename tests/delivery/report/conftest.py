"""Each kind of report is rendered once for all tests that read it, and equal charts are drawn once for all reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from delivery.artifacts import Report
from delivery.report import charts, html, report_json
from delivery.report.html import render
from delivery.report.samples import SampleRow, sample_rows
from tests.delivery.report import factory


class Rendered(NamedTuple):
    report: Report
    document: dict[str, Any]
    rows: tuple[SampleRow, ...]
    html: str


KINDS: dict[str, Callable[[], Report]] = {
    "recorded": factory.report,
    "stand_in": factory.stand_in_report,
    "worse": factory.worse_report,
    "published": factory.published_report,
    "many_labels": factory.many_labels_report,
    "judged": factory.judged_report,
}


@cache
def rendered_once(kind: str) -> Rendered:
    report = KINDS[kind]()
    document, rows = report_json(report), tuple(sample_rows(report))
    return Rendered(report, document, rows, render(document))


@pytest.fixture(scope="session", autouse=True)
def _drawn_once() -> Iterator[None]:
    """Drawing is nearly all of rendering, and most reports differ from another in one chart or in none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "draw", cache(charts.draw))
        yield


@pytest.fixture(params=sorted(KINDS))
def any_report(request: pytest.FixtureRequest) -> Rendered:
    return rendered_once(request.param)


@pytest.fixture
def rendered() -> Callable[[str], Rendered]:
    return rendered_once
