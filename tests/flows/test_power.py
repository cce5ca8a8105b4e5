"""The discordance that an evaluation showed, and what follows for the holdout and for the suites that gates look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from delivery.artifacts import OnProgress, SuiteResult
from delivery.client_config import load_client
from delivery.evaluation.statistics.power import Guard, detectable_difference, guard_check
from delivery.settings import Workspace
from flows.power import discordance_of, guards
from tests.delivery.report.factory import recorded_baseline, systems, use_case_suite
from tests.flows.conftest import new_line


@pytest.fixture
def suite() -> SuiteResult:
    return use_case_suite(systems(recorded_baseline()))


def test_it_is_the_share_of_samples_on_which_one_was_right(suite: SuiteResult) -> None:
    pair = suite.comparison("candidate", "baseline")
    assert pair is not None
    assert pair.discordant is not None
    assert discordance_of(suite) == pytest.approx(sum(pair.discordant) / pair.n, abs=0.01)


def test_no_disagreement_is_not_taken_for_certainty_and_parts_of_answers_are_not_counted(suite: SuiteResult) -> None:
    def changed(**changes: object) -> SuiteResult:
        pairs = tuple(replace(c, **changes) if c.b == "baseline" else c for c in suite.comparisons)  # type: ignore[arg-type]
        return replace(suite, comparisons=pairs)

    agreed = discordance_of(changed(discordant=(0, 0)))
    assert agreed is not None
    assert 0 < agreed < 0.01
    assert discordance_of(changed(metric="field_micro_f1")) is None
    assert discordance_of(changed(discordant=None)) is None


def test_a_suite_that_is_too_small_for_its_gate_is_said_with_the_margin_that_it_can_show() -> None:
    found = guard_check("general", [Guard("general_core", 387, None)], margin=0.02)
    assert (found.name, found.status, found.count) == ("power_general", "warn", 1)
    assert (
        "387 samples of general_core rule out a loss of 4.6 points (80 % power, 10 % of answers changed, assumed)"
        in found.detail
    )
    assert "evaluation.gates.general_margin allows 2.0: the gate general may hold back" in found.detail
    assert "general_margin to 0.05" in found.remedy
    assert guard_check("general", [Guard("general_core", 387, None)], margin=0.05).status == "ok"
    assert guard_check("general", [Guard("a", 387, 0.01), Guard("b", 50, None)], margin=0.05).count == 1


def test_a_judged_pair_scores_half_as_far_from_a_draw() -> None:
    found = guard_check("quantization", [Guard("use_case", 200, 0.4, judged=True)], margin=0.01)
    half = detectable_difference(200, discordance=0.1)
    assert f"rule out a loss of {100 * half:.1f} points (80 % power, 40 % of judged pairs decided, seen)" in found.detail


def test_a_clients_gates_are_looked_at_with_what_its_last_delivery_showed(workspace: Workspace, suite: SuiteResult) -> None:
    path = workspace.clients / "acme" / "client.yaml"
    path.write_text(path.read_text() + "evaluation: {suites: [use_case, general_core]}\n")
    line = new_line(workspace)
    line.config = load_client(workspace.clients, "acme")
    first, general = guards(line, 200)
    assert (first.name, general.name) == ("power_quantization", "power_general")
    assert "2 % of answers changed, assumed" in first.detail
    assert "387 samples of general_core" in general.detail

    def work(_: Path, __: OnProgress) -> SuiteResult:
        return replace(
            suite, comparisons=tuple(replace(c, b="adapter", discordant=(9, 10), n=198) for c in suite.comparisons[:1])
        )

    line.stage("compare", {}, work)
    line.delivery.repository.set_state(line.delivery.delivery_id, "done")
    assert "10 % of answers changed, seen" in next(guards(line, 200)).detail
