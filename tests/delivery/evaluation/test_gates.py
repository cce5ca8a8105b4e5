from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from delivery.artifacts import Check, DataReport, Decision, Gate, Suite, SystemName, SystemResult
from delivery.errors import EvalIncompleteError
from delivery.evaluation import compare, decide
from tests.delivery.evaluation.cases import classification, config, result

N = 400
OK = Check("schema", "ok", 0, "fine")
GATES = {"baseline_margin": 0.02, "quantization_margin": 0.02, "champion_margin": 0.02}


def report(*checks: Check) -> DataReport:
    return DataReport(1_000, "chat-jsonl", "f" * 64, {"train": 600, "test": N}, checks)


def system(suite: Suite, right: int, name: SystemName, **about: str) -> SystemResult:
    return result(suite, ["dovish"] * right + ["neutral"] * (N - right), name, **about)


def decision(
    *, candidate: int, baseline: int, base: int = 40, adapter: int | None = None, champion: int | None = None, **changes: str
) -> Decision:
    suite = classification(["dovish"] * N)
    systems = [
        system(suite, candidate, "candidate", artifact="gguf-q8_0", model="ours"),
        system(suite, baseline, "baseline", source=changes.get("source", "recorded"), model="gpt-4"),
        system(suite, base, "base"),
        system(suite, candidate if adapter is None else adapter, "adapter"),
    ]
    if champion is not None:
        systems.append(system(suite, champion, "champion"))
    return decide_on(suite, systems, changes.get("require", "not_worse"))


def decide_on(suite: Suite, systems: Sequence[SystemResult], require: str = "not_worse", *checks: Check) -> Decision:
    order = config(evaluation={"gates": {**GATES, "require_baseline": require}})
    return decide(order, [compare(suite, systems, gates=order.evaluation.gates)], report(*(checks or (OK,))))


def gate(found: Decision, name: str) -> Gate:
    return next(g for g in found.gates if g.name == name)


def test_a_better_candidate_passes_with_its_numbers() -> None:
    found = decision(candidate=320, baseline=200)
    assert found.promote
    assert [g.name for g in found.gates] == ["data", "baseline", "base", "quantization"]
    why = gate(found, "baseline").why
    assert re.search(
        r"Candidate 80\.0 % against 50\.0 % of baseline gpt-4 \(recorded\) in accuracy on use_case: \+30\.0 points "
        r"\(95 % interval \+2\d\.\d to \+3\d\.\d, n=400, exact McNemar, p < 0\.0001\), margin 2\.0 points: better\.",
        why,
    )


@pytest.mark.parametrize(
    ("candidate", "baseline", "require", "passed"),
    [
        (320, 280, "better", True),
        (320, 320, "better", False),
        (320, 320, "not_worse", True),
        (320, 324, "not_worse", False),
        (280, 320, "not_worse", False),
        (280, 320, "none", True),
    ],
)
def test_what_is_required_of_the_baseline(candidate: int, baseline: int, require: str, passed: bool) -> None:
    found = decision(candidate=candidate, baseline=baseline, require=require)
    assert gate(found, "baseline").passed is passed
    assert found.promote is passed


def test_a_stand_in_is_never_taken_for_gpt_4() -> None:
    found = gate(decision(candidate=320, baseline=200, source="stand-in"), "baseline (stand-in)")
    assert found.passed
    assert "is not GPT-4" in found.why
    assert not gate(decision(candidate=200, baseline=320, source="stand-in"), "baseline (stand-in)").passed


def test_each_other_comparison_can_stop_it() -> None:
    assert not gate(decision(candidate=200, baseline=100, base=320), "base").passed
    assert not gate(decision(candidate=300, baseline=100, adapter=330), "quantization").passed
    assert not gate(decision(candidate=300, baseline=100, champion=340), "champion").passed
    assert gate(decision(candidate=300, baseline=100, champion=300), "champion").passed
    assert not decision(candidate=300, baseline=100, champion=340).promote


def test_refused_data_stops_it_and_a_warning_does_not() -> None:
    suite = classification(["dovish"] * N)
    systems = [system(suite, 300, name) for name in ("candidate", "adapter")]
    systems += [system(suite, 100, "base"), system(suite, 100, "baseline", source="recorded")]
    warned = decide_on(suite, systems, "not_worse", OK, Check("rare_labels", "warn", 2, "two"))
    assert gate(warned, "data") == Gate("data", True, "None of 2 checks on 1000 rows refuses the data, 1 with a warning.")
    refused = decide_on(suite, systems, "not_worse", Check("too_long", "refuse", 3, "rows.jsonl:7 has 9000 tokens"))
    assert not refused.promote
    assert "too_long (3): rows.jsonl:7" in gate(refused, "data").why


def test_what_was_not_measured_is_not_passed() -> None:
    suite = classification(["dovish"] * N)
    found = decide_on(suite, [system(suite, 300, "candidate")])
    assert {g.name: g.passed for g in found.gates} == {"data": True, "baseline": False, "base": False, "quantization": False}
    assert "record or import" in gate(found, "baseline").why
    assert gate(decide_on(suite, [system(suite, 300, "candidate")], "none"), "baseline").passed
    with pytest.raises(EvalIncompleteError, match="candidate has no result"):
        decide_on(suite, [system(suite, 300, "base")])


def test_an_adapter_that_ships_as_it_is_was_not_quantized() -> None:
    suite = classification(["dovish"] * N)
    found = decide_on(suite, [system(suite, 300, "candidate", artifact="adapter")])
    assert gate(found, "quantization").passed
