"""May the candidate go into service? One gate per condition, each with the numbers that decided it."""

from __future__ import annotations

from collections.abc import Sequence

from delivery.artifacts import (
    Comparison,
    DataReport,
    Decision,
    Gate,
    Source,
    SuiteResult,
    SystemName,
    SystemResult,
)
from delivery.client_config import ClientConfig, Gates
from delivery.errors import EvalIncompleteError
from delivery.evaluation.statistics.verdicts import level_of_look

_SOURCE: dict[Source, str] = {
    "local": "measured here",
    "live": "live",
    "recorded": "recorded",
    "published": "published score",
    "stand-in": "local stand-in, not GPT-4",
}
_TEST = {
    "mcnemar_exact": "exact McNemar",
    "cluster_sign_flip": "exact sign-flip test over clusters",
    "paired_bootstrap": "paired bootstrap",
    "cluster_bootstrap": "paired bootstrap over clusters",
    "unpaired": "unpaired",
    "judged_pairs": "bootstrap of judged pairs",
}


def decide(config: ClientConfig, suites: Sequence[SuiteResult], data: DataReport, *, look: int = 1) -> Decision:
    """All gates of a delivery, on the primary metric of the use case's suite; promoted when every one is passed.

    data: nothing refused. baseline: ``require_baseline`` (with a stand-in, which is not the promised baseline, the gate
    says so in its name). base: not worse than the untouched base. general, where suites of that kind were ordered: not
    worse than the untouched base on any of them. quantization: what ships is not worse than the adapter. champion, where
    one is in service: ``require_champion``, at the level of this ``look`` (which test of this champion it is, counted
    from 1). "Not worse" means shown to be within the margin: an inconclusive comparison does not pass. Gates that all
    have to be passed need no adjustment for their number (Berger, "Multiparameter hypothesis testing and acceptance
    sampling", Technometrics 24, 1982); the baseline's of several suites are promises, and adjusted (Holm). Where a judge
    decides and its word is withheld, no gate that needs it is passed.

    Raises:
        EvalIncompleteError: the use case's suite, or the candidate on it, is missing.
    """
    from delivery.evaluation.statistics.multiple import with_promises

    suites = with_promises(suites)
    suite = next((one for one in suites if one.kind == "use_case"), None)
    candidate = suite.system("candidate") if suite is not None else None
    if suite is None or candidate is None:
        raise EvalIncompleteError(f"{config.client}: the candidate has no result on the suite use_case; run it first")
    gates = [_data(data), _baseline(config, suite, candidate), _within(suite, candidate, "base", name="base")]
    general = [one for one in suites if one.kind == "general"]
    if general:
        gates.append(_general(general))
    if candidate.artifact == "adapter":
        gates.append(Gate("quantization", True, "The adapter ships as it was trained; nothing was quantized."))
    else:
        gates.append(_within(suite, candidate, "adapter", name="quantization"))
    champion = suite.system("champion")
    if champion is not None:
        gates.append(_champion(config.evaluation.gates, suite, candidate, champion, look=look))
    return Decision(promote=all(gate.passed for gate in gates), gates=tuple(gates))


def _data(data: DataReport) -> Gate:
    refused = [check for check in data.checks if check.status == "refuse"]
    if refused:
        return Gate("data", False, "Refused: " + "; ".join(f"{c.name} ({c.count}): {c.detail}" for c in refused))
    warned = sum(check.status == "warn" for check in data.checks)
    noted = f", {warned} with a warning" if warned else ""
    return Gate("data", True, f"None of {len(data.checks)} checks on {data.rows} rows refuses the data{noted}.")


def _baseline(config: ClientConfig, suite: SuiteResult, candidate: SystemResult) -> Gate:
    required = config.evaluation.gates.require_baseline
    baseline = suite.system("baseline")
    name = "baseline (stand-in)" if baseline is not None and baseline.source == "stand-in" else "baseline"
    comparison = suite.comparison("candidate", "baseline")
    if baseline is None or comparison is None:
        why = _withheld(suite, "baseline") or f"No answers of {config.baseline.model} to compare with"
        if required == "none":
            return Gate(name, True, f"{why}, and require_baseline is none.")
        return Gate(name, False, f"{why}{': record or import a baseline pack' if baseline is None else ''}.")
    why = _sentence(suite, candidate, baseline, comparison)
    if baseline.source == "stand-in":
        why += f" {baseline.model} stands in for {config.baseline.model} and is not GPT-4: this says nothing about GPT-4."
    if required == "none":
        return Gate(name, True, f"{why} Passed whatever the result: require_baseline is none.")
    accepted = ("better",) if required == "better" else ("better", "not_worse")
    return Gate(name, comparison.verdict in accepted, f"{why} Required: {' or '.join(accepted)}.")


def _within(suite: SuiteResult, candidate: SystemResult, other: SystemName, *, name: str) -> Gate:
    result, comparison = suite.system(other), suite.comparison("candidate", other)
    if result is None or comparison is None:
        why = _withheld(suite, other) or f"The {other} was not measured on {suite.suite}, so nothing is shown against it"
        return Gate(name, False, f"{why}.")
    passed = comparison.verdict in ("better", "not_worse")
    return Gate(name, passed, f"{_sentence(suite, candidate, result, comparison)} Required: better or not_worse.")


def _general(suites: Sequence[SuiteResult]) -> Gate:
    found = []
    for suite in suites:
        candidate = suite.system("candidate")
        if candidate is None:
            found.append(Gate("general", False, f"The candidate was not measured on {suite.suite}."))
        else:
            found.append(_within(suite, candidate, "base", name="general"))
    return Gate("general", all(gate.passed for gate in found), " ".join(gate.why for gate in found))


def _champion(gates: Gates, suite: SuiteResult, candidate: SystemResult, champion: SystemResult, *, look: int) -> Gate:
    comparison = suite.comparison("candidate", "champion")
    if comparison is None:
        why = _withheld(suite, "champion") or f"The champion was not compared on {suite.suite}, so nothing is shown against it"
        return Gate("champion", False, f"{why}.")
    p_value, shown = _p_better(comparison), "better"
    if gates.require_champion == "not_worse":
        p_value = 1.0 if comparison.p_margin is None else comparison.p_margin
        shown = f"not worse by {100 * comparison.margin:.1f} points"
    level = level_of_look(look, alpha=gates.promotion_alpha)
    return Gate(
        "champion",
        p_value <= level,
        f"{_sentence(suite, candidate, champion, comparison)} Required: {shown}, at the level of this look. It is look "
        f"{look} at this champion: one-sided p {_p_value(p_value)} against {level:.2g}, this look's part of the "
        f"{gates.promotion_alpha:g} that all looks share.",
    )


def _p_better(comparison: Comparison) -> float:
    """One-sided p-value that the candidate is no better, from a test that is the same in both directions."""
    return comparison.p_value / 2 if comparison.difference > 0 else 1 - comparison.p_value / 2


def _withheld(suite: SuiteResult, other: SystemName) -> str:
    """Why a judge's word shows nothing against a system, where it is withheld; else empty."""
    judging = suite.judging
    if judging is None or not judging.withheld:
        return ""
    return f"Nothing is shown against the {other} on {suite.suite}, as the judge {judging.model} may not decide: " + "; ".join(
        judging.withheld
    )


def _sentence(suite: SuiteResult, candidate: SystemResult, other: SystemResult, comparison: Comparison) -> str:
    """The two values, or how often the candidate wins, the difference with interval and n, the margin and the verdict."""
    metric = comparison.metric
    who = f"{other.system} {other.model} ({_SOURCE[other.source]})"
    points = f"{_points(comparison.difference)} points"
    if comparison.test == "judged_pairs":
        wins = _percent(comparison.difference + 0.5)
        said = f"The candidate's answers win {wins} of the judged pairs with {who} on {suite.suite}: {points} from a draw"
    else:
        ours, theirs = candidate.metrics[metric].value, other.metrics[metric].value
        words = metric.replace("_", " ")
        said = f"Candidate {_percent(ours)} against {_percent(theirs)} of {who} in {words} on {suite.suite}: {points}"
    return (
        f"{said} (95 % interval {_points(comparison.low)} to {_points(comparison.high)}, "
        f"n={comparison.n}{_detectable(comparison)}, {_TEST[comparison.test]}, p {_p_value(comparison.p_value)}), margin "
        f"{100 * comparison.margin:.1f} points: {comparison.verdict}."
    )


def _detectable(comparison: Comparison) -> str:
    return "" if comparison.detectable is None else f" (detects {100 * comparison.detectable:.1f} points)"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _p_value(value: float) -> str:
    return f"= {value:.2g}" if value >= 0.0001 else "< 0.0001"
