"""The discordance that an evaluation showed, and what follows for the holdout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from delivery.artifacts import SuiteResult
from flows.power import discordance_of
from tests.delivery.report.factory import recorded_baseline, systems, use_case_suite


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
