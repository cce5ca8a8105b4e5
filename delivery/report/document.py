"""``report.json``: the contract ``delivery.report/1``, built from a ``Report``. ``schema.json`` is its published schema."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any

from delivery.artifacts import (
    Artifact,
    CleanScores,
    Comparison,
    CostEstimate,
    Estimate,
    Judging,
    Latency,
    Recovery,
    Report,
    RoundGain,
    SliceResult,
    SuiteResult,
    SystemResult,
)

SCHEMA = "delivery.report/1"

JUDGE_MEASURES = ("agreement", "kappa", "order_consistency", "pick_first_rate")


def build(report: Report) -> dict[str, Any]:
    """The document of one delivery. No path of the machine that made it is in it."""
    provenance: dict[str, Any] = {
        "package_versions": {},
        "seeds": {},
        "baseline_pack_sha256": None,
        "judge": None,
        "code_version": None,
    }
    document = {
        "schema": SCHEMA,
        "client": report.client,
        "vertical": report.vertical,
        "use_case": report.use_case,
        "delivery_id": report.delivery_id,
        "created_at": report.created_at,
        "dataset": asdict(report.data),
        "base_model": _without(asdict(report.base_model), "path"),
        "training": asdict(report.training) | {"plan": asdict(report.plan)} | _foreseen(report),
        "artifacts": [_artifact(artifact) for artifact in report.artifacts],
        "shipped": report.shipped,
        "suites": [_suite(suite) for suite in report.suites],
        "recovery": [_recovery(recovery) for recovery in report.recovery],
        "latency": {str(point.concurrency): _latency(point) for point in report.latency},
        "cost": _cost(report.cost),
        "decision": asdict(report.decision),
        "provenance": provenance | report.provenance,
        "limitations": report.limitations,
        "rounds": [_round(gain) for gain in report.rounds],
    }
    return {key: _plain(value) for key, value in document.items()}


def _foreseen(report: Report) -> dict[str, Any]:
    """What training was expected to take and what it took: wall seconds, peak bytes, dollars at the same price of an hour."""
    hourly = Decimal(report.cost.hourly_usd)

    def taken(seconds: float, peak: int) -> dict[str, Any]:
        usd = hourly * Decimal(str(seconds)) / 3600 if math.isfinite(seconds) else None
        return {"seconds": seconds, "peak_memory_bytes": peak, "usd": usd}

    return {
        "predicted": taken(report.plan.predicted_seconds, report.plan.predicted_peak_bytes),
        "measured": taken(report.training.wall_seconds, report.training.peak_memory_bytes),
    }


def _round(gain: RoundGain) -> dict[str, Any]:
    return {
        "round": gain.round,
        "rows": gain.rows,
        "value": gain.value.value,
        "ci95": [gain.value.low, gain.value.high],
        "gain": None if gain.gain is None else _comparison(gain.gain),
    }


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


def _artifact(artifact: Artifact) -> dict[str, Any]:
    return {"format": artifact.format, "bytes": artifact.bytes, "sha256": artifact.sha256, "files": artifact.files}


def _suite(suite: SuiteResult) -> dict[str, Any]:
    return {
        "suite": suite.suite,
        "kind": suite.kind,
        "primary_metric": suite.primary_metric,
        "n": suite.n,
        "systems": [_system(system, suite.primary_metric) for system in suite.systems],
        "comparisons": [_comparison(comparison) for comparison in suite.comparisons],
        "slices": [_slice(part) for part in suite.slices],
        "analysis": asdict(suite.analysis) if suite.analysis else None,
        "clean": _clean(suite.clean) if suite.clean else None,
        "judging": _judging(suite.judging) if suite.judging else None,
    }


def _judging(judging: Judging) -> dict[str, Any]:
    measured = {name: _estimate(getattr(judging, name)) for name in JUDGE_MEASURES}
    canaries = [{"name": one.name, "n": one.n, **_estimate(one.rate)} for one in judging.canaries]
    beside = {name: {kind: _estimate(value) for kind, value in found.items()} for name, found in judging.beside.items()}
    return asdict(judging) | measured | {"canaries": canaries, "beside": beside}


def _clean(clean: CleanScores) -> dict[str, Any]:
    values = {name: _estimate(estimate) for name, estimate in clean.values.items()}
    return {"contaminated": clean.contaminated, "n": clean.n, "values": values}


def _estimate(estimate: Estimate | None) -> dict[str, Any]:
    if estimate is None:
        return {"value": None, "ci95": None}
    return {"value": estimate.value, "ci95": [estimate.low, estimate.high]}


def _system(system: SystemResult, primary_metric: str) -> dict[str, Any]:
    return {
        "system": system.system,
        "model": system.model,
        "artifact": system.artifact,
        "source": system.source,
        "prompting": system.prompting,
        **_estimate(system.metrics.get(primary_metric)),
        "n": system.n,
        "n_scored": system.n_scored,
        "n_errored": system.n_errored,
        "metrics": {name: _estimate(estimate) for name, estimate in system.metrics.items()},
        "note": system.note,
        "prompt_tokens": system.prompt_tokens,
        "completion_tokens": system.completion_tokens,
        "seconds": system.seconds,
        "pack_sha256": system.pack_sha256 or None,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "a": comparison.a,
        "b": comparison.b,
        "metric": comparison.metric,
        "test": comparison.test,
        "difference": comparison.difference,
        "ci95": [comparison.low, comparison.high],
        "p_value": comparison.p_value,
        "n": comparison.n,
        "discordant": comparison.discordant,
        "margin": comparison.margin,
        "verdict": comparison.verdict,
        "p_margin": comparison.p_margin,
        "p_adjusted": comparison.p_adjusted,
        "detectable": comparison.detectable,
        "dropped": comparison.dropped,
        "clusters": comparison.clusters,
    }


def _slice(part: SliceResult) -> dict[str, Any]:
    return {
        "name": part.name,
        "value": part.value,
        "n": part.n,
        "candidate": _estimate(part.candidate),
        "baseline": None if part.baseline is None else _estimate(part.baseline),
        "difference": None if part.difference is None else _estimate(part.difference),
        "q_value": part.q_value,
    }


def _recovery(recovery: Recovery) -> dict[str, Any]:
    return {
        "format": recovery.format,
        "suite": recovery.suite,
        "value": recovery.value,
        "difference": recovery.difference,
        "ci95": [recovery.low, recovery.high],
        "verdict": recovery.verdict,
    }


def _latency(point: Latency) -> dict[str, Any]:
    return _without(asdict(point), "concurrency")


def _cost(cost: CostEstimate) -> dict[str, Any]:
    document = asdict(cost)
    for key in ("hourly_usd", "usd_per_million_tokens", "usd_per_1000_requests", "monthly_usd_own"):
        document[key] = Decimal(document[key])
    for api in document["api"].values():
        api["usd_per_1000_requests"] = Decimal(api["usd_per_1000_requests"])
    return document


def _plain(value: Any) -> Any:
    """A value as JSON types: JSON has neither infinity nor lone surrogates, and both can come out of a measurement."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else str(value)
