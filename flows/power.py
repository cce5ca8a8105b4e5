"""What a client's holdout can show, at the discordance that its own evaluations showed."""

from __future__ import annotations

from dataclasses import replace

from delivery.artifacts import DataReport, SuiteResult
from delivery.evaluation.statistics.power import Power, power_check, power_of
from flows.line import Line, store_of


def power(line: Line, test_rows: int, *, seen: float | None) -> Power:
    """The detectable difference beside the client's promise."""
    return power_of(test_rows, promise=line.config.evaluation.promise.beat_baseline_by, seen=seen)


def with_power(line: Line, report: DataReport, *, seen: float | None) -> DataReport:
    """Findings about the data with the one about its holdout's size.

    It is no part of ``check_data``: what an evaluation showed must not make the data of the next delivery look new.
    """
    found = power_check(power(line, report.splits.get("test", 0), seen=seen), test_share=line.config.data.splits.test)
    return replace(report, checks=(*report.checks, found))


def discordance_of(suite: SuiteResult) -> float | None:
    """The share of samples on which exactly one of candidate and baseline was right, drawn a little to the middle.

    None where they were not paired, and where answers are right in parts: then whole answers that differ say nothing about
    the metric.
    """
    pair = suite.comparison("candidate", "baseline")
    if pair is None or pair.discordant is None or pair.metric != "accuracy":
        return None
    return (sum(pair.discordant) + 1) / (pair.n + 2)


def discordance_seen(line: Line) -> float | None:
    """The same in the client's last delivery that reached its end; None before there was one."""
    repository = store_of(line.workspace).client(line.config.client)
    for row in repository.deliveries():
        compared = repository.stage(row.id, "compare") if row.state == "done" else None
        if compared is not None and (line.folder(f"compare/{compared.key}") / "output.json").is_file():
            return discordance_of(line.read(SuiteResult, f"compare/{compared.key}"))
    return None
