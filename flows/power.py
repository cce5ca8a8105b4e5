"""What a client's holdout and suites can show, at the disagreement that its own evaluations showed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from delivery.artifacts import JUDGED, Check, DataReport, SuiteResult, SystemName
from delivery.evaluation.statistics.power import Guard, Power, guard_check, power_check, power_of
from flows.line import Line, store_of
from flows.ordered import further_suites


def power(line: Line, test_rows: int, *, seen: float | None) -> Power:
    """The detectable difference beside the client's promise."""
    return power_of(test_rows, promise=line.config.evaluation.promise.beat_baseline_by, seen=seen)


def with_power(line: Line, report: DataReport, *, seen: float | None) -> DataReport:
    """Findings about the data with those about the size of its holdout and of the suites that gates look at.

    They are no part of ``check_data``: what an evaluation showed must not make the data of the next delivery look new.
    """
    rows = report.splits.get("test", 0)
    found = power_check(power(line, rows, seen=seen), test_share=line.config.data.splits.test)
    return replace(report, checks=(*report.checks, found, *guards(line, rows)))


def guards(line: Line, test_rows: int) -> Iterator[Check]:
    """Whether the gates ``quantization`` and ``general`` have the samples that their margins take.

    Of a role play, whose scores are no shares, nothing can be said before they are measured.
    """
    gates, kind = line.config.evaluation.gates, line.config.use_case.type
    if line.config.ship != "adapter" and kind != "role_play" and test_rows:
        own = Guard("use_case", test_rows, _seen(line, "use_case", "adapter"), judged=kind in JUDGED)
        yield guard_check("quantization", [own], margin=gates.quantization_margin)
    general = [one.suite for one in further_suites(line) if one.suite.kind == "general" and not one.suite.judged]
    if general:
        asked = [Guard(one.name, len(one.samples), _seen(line, one.name, "base")) for one in general]
        yield guard_check("general", asked, margin=gates.general_margin)


def discordance_of(suite: SuiteResult) -> float | None:
    """The share of samples on which exactly one of candidate and baseline was right, drawn a little to the middle.

    None where they were not paired, and where answers are right in parts: then whole answers that differ say nothing about
    the metric.
    """
    return _changed(suite, "baseline") if suite.judging is None else None


def _changed(suite: SuiteResult, against: SystemName) -> float | None:
    """The same against any system; of pairs that a judge saw, the share that were no tie."""
    pair = suite.comparison("candidate", against)
    if pair is None or pair.discordant is None or (pair.metric != "accuracy" and pair.test != "judged_pairs"):
        return None
    return (sum(pair.discordant) + 1) / (pair.n + 2)


def discordance_seen(line: Line) -> float | None:
    """The discordance in the client's last delivery that reached its end; None before there was one."""
    found = _last(line, "use_case")
    return discordance_of(found) if found is not None else None


def _last(line: Line, suite: str) -> SuiteResult | None:
    repository = store_of(line.workspace).client(line.config.client)
    name = "compare" if suite == "use_case" else f"compare_on_{suite}"
    for row in repository.deliveries():
        compared = repository.stage(row.id, name) if row.state == "done" else None
        if compared is not None and (line.folder(f"{name}/{compared.key}") / "output.json").is_file():
            return line.read(SuiteResult, f"{name}/{compared.key}")
    return None


def _seen(line: Line, suite: str, against: SystemName) -> float | None:
    found = _last(line, suite)
    return _changed(found, against) if found is not None else None
