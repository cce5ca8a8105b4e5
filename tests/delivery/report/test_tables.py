"""Tables that fit the page, however much was measured."""

from __future__ import annotations

from copy import deepcopy

import pytest

from delivery.report.blocks import Table
from delivery.report.language import language
from delivery.report.results import suite_section
from tests.delivery.report.conftest import rendered_once


@pytest.mark.parametrize(("others", "widest"), [(1, 5), (9, 7)])
def test_many_metrics_stand_one_below_the_other(others: int, widest: int) -> None:
    suite = deepcopy(rendered_once("recorded").document["suites"][0])
    for system in suite["systems"]:
        named = {f"metric {n}": {"value": 0.01 * n, "ci95": [0.0, 0.99]} for n in range(others)}
        system["metrics"] = {suite["primary_metric"]: system["metrics"][suite["primary_metric"]], **named}
    tables = [block for block in suite_section(1, suite, language("en")).blocks if isinstance(block, Table)]
    mine = [table for table in tables if any("(0.0–99.0)" in cell.text for row in table.rows for cell in row)]
    assert [len(table.columns) for table in mine] == [widest]
    shown = {cell.text for row in mine[0].rows for cell in row}
    assert {f"{n}.0 % (0.0–99.0)" for n in range(others)} <= shown
