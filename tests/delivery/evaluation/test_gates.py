from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from delivery.artifacts import (
    Check,
    DataReport,
    Decision,
    Gate,
    Judging,
    Scored,
    Suite,
    SuiteResult,
    SystemName,
    SystemResult,
)
from delivery.client_config import Gates
from delivery.errors import EvalIncompleteError
from delivery.evaluation import System, compare, decide, summarise
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
        r"\(95 % interval \+2\d\.\d to \+3\d\.\d, n=400 \(detects 7\.\d points\), exact McNemar, p < 0\.0001\), "
        r"margin 2\.0 points: better\.",
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
    assert not decision(candidate=300, baseline=100, champion=340).promote


def against_champion(wins: int, *, look: int = 1, **gates: object) -> Gate:
    suite = classification(["dovish"] * N)
    order = config(evaluation={"gates": {**GATES, **gates}})
    systems = [system(suite, 300 + wins, "candidate"), system(suite, 300, "champion")]
    found = decide(order, [compare(suite, systems, gates=order.evaluation.gates)], report(OK), look=look)
    return gate(found, "champion")


def test_a_champion_is_replaced_by_a_better_one_only_and_later_looks_ask_for_more() -> None:
    assert not against_champion(0).passed
    assert not against_champion(5).passed
    assert against_champion(6).passed
    assert not against_champion(6, look=2).passed
    assert against_champion(8, look=2).passed
    assert not against_champion(8, look=90).passed
    assert against_champion(16, look=90).passed
    assert not against_champion(6, promotion_alpha=0.01).passed


def test_the_sentence_says_the_look_its_level_and_the_p_value() -> None:
    why = against_champion(7, look=3).why
    assert "It is look 3 at this champion: one-sided p = 0.0078 against 0.0037, this look's part of the 0.05" in why
    assert "Required: better, at the level of this look." in why


def test_a_champion_that_may_be_replaced_by_its_equal_is_still_protected_at_every_look() -> None:
    assert against_champion(0, require_champion="not_worse").passed
    assert not against_champion(-4, require_champion="not_worse").passed
    assert not against_champion(0, require_champion="not_worse", champion_margin=0.01).passed
    assert not against_champion(0, require_champion="not_worse", look=30).passed
    assert "Required: not worse by 2.0 points" in against_champion(0, require_champion="not_worse").why


def test_a_promise_is_weighed_with_the_other_promises() -> None:
    order = config(evaluation={"gates": {**GATES, "require_baseline": "better"}})

    def promised(name: str, wins: int) -> SuiteResult:
        suite = replace(classification(["dovish"] * N), name=name, kind="use_case" if name == "use_case" else "general")
        systems = [system(suite, 300 + wins, "candidate"), system(suite, 300, "baseline", source="recorded")]
        return compare(suite, systems, gates=order.evaluation.gates)

    alone = decide(order, [promised("use_case", 6)], report(OK))
    assert gate(alone, "baseline").passed
    among_three = decide(order, [promised("use_case", 6), promised("a", 0), promised("b", 0)], report(OK))
    assert not gate(among_three, "baseline").passed
    # p = 0.031, three times that; 9 wins to none are enough for three.
    assert gate(decide(order, [promised("use_case", 9), promised("a", 0), promised("b", 0)], report(OK)), "baseline").passed


def general(loss: int, *, base: bool = True) -> SuiteResult:
    suite = replace(classification(["dovish"] * 1_000), name=f"general_{loss}", kind="general")
    systems = [result(suite, ["dovish"] * (900 - loss) + ["neutral"] * (100 + loss))]
    if base:
        systems.append(result(suite, ["dovish"] * 900 + ["neutral"] * 100, "base"))
    return compare(suite, systems, gates=config().evaluation.gates)


def test_general_ability_must_be_shown_on_every_general_suite() -> None:
    suite = classification(["dovish"] * N)
    own = compare(suite, [system(suite, 300, "candidate")], gates=config().evaluation.gates)

    def decided(*suites: SuiteResult) -> Gate:
        return gate(decide(config(), [own, *suites], report(OK)), "general")

    assert decided(general(0), general(3)).passed
    lost = decided(general(0), general(30))
    assert not lost.passed
    assert "on general_0" in lost.why
    assert "on general_30" in lost.why
    assert "margin 2.0 points: worse" in lost.why
    # Not significant is not safe: 13 of 1,000 more wrong may be 2 points in truth.
    assert not decided(general(13)).passed
    assert not decided(general(0, base=False)).passed
    assert "general" not in [one.name for one in decide(config(), [own], report(OK)).gates]


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


def test_where_a_judge_may_not_decide_no_gate_that_needs_it_is_passed() -> None:
    suite = classification(["dovish"] * N)
    names: tuple[SystemName, ...] = ("candidate", "baseline", "base", "adapter", "champion")
    found = compare(suite, [system(suite, 300, name) for name in names], gates=config().evaluation.gates)
    judging = Judging("claude-x", "pairwise 1", "0" * 64, 48, None, None, None, None, (), ("its kappa is 0.31",), ())
    withheld = decide(config(), [replace(found, comparisons=(), judging=judging)], report(OK))
    assert [one.name for one in withheld.gates if one.passed] == ["data"]
    for one in withheld.gates[1:]:
        assert "as the judge claude-x may not decide: its kappa is 0.31." in one.why


def test_judged_pairs_are_told_as_wins_from_a_draw() -> None:
    suite = replace(classification(["dovish"] * N), scorer="generation")
    wins = [Scored(f"row-{i}", "", "x", None, valid=True, correct=i % 4 > 0, score=float(i % 4 > 0)) for i in range(N)]
    names: tuple[SystemName, ...] = ("candidate", "adapter")
    systems = [summarise(suite, wins, system=System(name, "m")) for name in names]
    found = compare(suite, systems, gates=config().evaluation.gates, duels={"adapter": wins})
    (only,) = found.comparisons
    assert (only.test, only.difference, only.discordant, only.verdict) == ("judged_pairs", 0.25, (300, 100), "better")
    why = gate(decide(config(), [found], report(OK)), "quantization").why
    assert "win 75.0 % of the judged pairs with adapter m (measured here) on use_case: +25.0 points from a draw" in why


def test_a_draw_on_few_pairs_is_not_shown_to_be_no_loss() -> None:
    suite = replace(classification(["dovish"] * N), scorer="generation")
    ties = [Scored(f"row-{i}", "", "x", None, valid=True, correct=False, score=0.5) for i in range(N)]
    systems = [summarise(suite, ties, system=System(name, "m")) for name in ("candidate", "adapter")]

    def verdict(n: int) -> str:
        compared = compare(suite, systems, gates=Gates(quantization_margin=0.01), duels={"adapter": ties[:n]})
        return compared.comparisons[0].verdict

    assert (verdict(60), verdict(N)) == ("inconclusive", "not_worse")
