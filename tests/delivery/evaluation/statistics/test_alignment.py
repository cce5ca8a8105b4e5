from __future__ import annotations

from dataclasses import replace

import pytest

from delivery.artifacts import Scored
from delivery.client_config import Gates
from delivery.errors import IntegrityError
from delivery.evaluation import compare
from delivery.evaluation.statistics.alignment import require_aligned
from tests.delivery.evaluation.cases import classification, result

SUITE = classification(["dovish"] * 4)
BASE = result(SUITE, ["dovish"] * 4, "base")


def extra(name: str) -> Scored:
    return replace(BASE.samples[0], sample_id=name)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (BASE.samples[:-1], r"base \(m\) lacks 1 sample\(s\), the first 'row-3'"),
        ((*BASE.samples, extra("row-9")), "has the unknown 1 sample"),
        ((*BASE.samples, extra("row-2")), "has twice 1 sample"),
    ],
)
def test_other_ids_are_refused_in_one_line(samples: tuple[Scored, ...], said: str) -> None:
    with pytest.raises(IntegrityError, match=said) as refused:
        compare(SUITE, [result(SUITE, ["dovish"] * 4), replace(BASE, samples=samples)], gates=Gates())
    assert "\n" not in str(refused.value)


def test_other_inputs_under_the_same_ids_are_refused() -> None:
    other = classification(["dovish"] * 3 + ["hawkish"])
    with pytest.raises(IntegrityError, match="other samples or inputs"):
        compare(SUITE, [result(SUITE, ["dovish"] * 4), result(other, ["dovish"] * 4, "base")], gates=Gates())


def test_errored_samples_are_dropped_in_pairs_and_counted() -> None:
    ours, theirs = (
        result(SUITE, ["dovish", None, "dovish", "neutral"]),
        result(SUITE, ["dovish", "dovish", None, "dovish"], "base"),
    )
    found = compare(SUITE, [ours, theirs], gates=Gates()).comparison("candidate", "base")
    assert found is not None
    assert (found.n, found.dropped, found.discordant) == (2, 2, (0, 1))


def test_a_published_score_has_no_samples_to_align() -> None:
    require_aligned(SUITE, [replace(BASE, samples=(), suite_sha256="")])
