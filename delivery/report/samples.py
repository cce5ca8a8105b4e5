"""``samples.csv``: every answer behind every number, one row per sample and system."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from delivery.artifacts import Report, Scored, SuiteResult, SystemResult

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A spreadsheet runs a cell that starts with one of these (OWASP, CSV Injection)."""


class SampleRow(NamedTuple):
    """One sample as one system answered it. ``correct`` is None where the sample could not be scored."""

    suite: str
    id: str
    system: str
    model: str
    artifact: str
    expected: str
    output: str | None
    parsed: str | None
    correct: bool | None
    error: str | None


def sample_rows(report: Report) -> Iterator[SampleRow]:
    """All answers, sample by sample, so that the systems' answers to one sample stand below each other.

    A published baseline has a score and no answers, so it has no rows.
    """
    for suite in report.suites:
        yield from _suite_rows(suite)


def _suite_rows(suite: SuiteResult) -> Iterator[SampleRow]:
    by_system = [(system, {scored.sample_id: scored for scored in system.samples}) for system in suite.systems]
    order = dict.fromkeys(scored.sample_id for system in suite.systems for scored in system.samples)
    for sample_id in order:
        for system, answers in by_system:
            if sample_id in answers:
                yield _row(suite.suite, system, answers[sample_id])


def _row(suite: str, system: SystemResult, scored: Scored) -> SampleRow:
    return SampleRow(
        suite=suite,
        id=scored.sample_id,
        system=system.system,
        model=system.model,
        artifact=system.artifact,
        expected=scored.expected,
        output=scored.output,
        parsed=scored.parsed,
        correct=scored.correct,
        error=scored.error,
    )


def samples_csv(rows: Iterable[SampleRow]) -> bytes:
    """RFC 4180 in UTF-8. A cell that a spreadsheet would run as a formula gets a leading apostrophe.

    ``correct`` is ``true``, ``false`` or empty; what is missing is empty.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(SampleRow._fields)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: str | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value
