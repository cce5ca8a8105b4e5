"""Which samples two systems have in common. Systems are compared on the same samples or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from delivery.artifacts import Scored, Suite, SystemResult
from delivery.errors import EvalIncompleteError, IntegrityError


class Pairs(NamedTuple):
    """The outcomes of two systems on the samples that both answered, in one order, and how many samples are left out."""

    a: list[Scored]
    b: list[Scored]
    dropped: int

    @property
    def clusters(self) -> list[str]:
        """Each sample's cluster, empty where it has none."""
        return [one.cluster for one in self.a]


def require_aligned(suite: Suite, systems: Sequence[SystemResult]) -> None:
    """Refuse systems that were not asked exactly the suite's samples; a published score has none.

    Raises:
        IntegrityError: names the suite, the system, and the first ids that are missing, unknown or given twice.
    """
    wanted = {sample.id for sample in suite.samples}
    for result in systems:
        if result.suite_sha256 and result.suite_sha256 != suite.sha256:
            raise IntegrityError(
                f"suite {suite.name}: {result.system} ({result.model}) was scored on other samples or inputs (suite "
                f"{result.suite_sha256[:12]}, this is {suite.sha256[:12]}); evaluate it again"
            )
        if not result.samples:
            continue
        times = Counter(one.sample_id for one in result.samples)
        for what, ids in (
            ("lacks", wanted - times.keys()),
            ("has the unknown", times.keys() - wanted),
            ("has twice", {name for name, count in times.items() if count > 1}),
        ):
            if ids:
                raise IntegrityError(
                    f"suite {suite.name}: {result.system} ({result.model}) {what} {len(ids)} sample(s), the first "
                    f"{min(ids)!r}; evaluate it again on this suite"
                )


def pair(suite: Suite, a: SystemResult, b: SystemResult) -> Pairs:
    """The outcomes of both systems on the samples that both answered, in a's order.

    Raises:
        EvalIncompleteError: there is no such sample.
    """
    theirs = {one.sample_id: one for one in b.samples if one.correct is not None}
    ours = [one for one in a.samples if one.correct is not None and one.sample_id in theirs]
    if not ours:
        raise EvalIncompleteError(f"suite {suite.name}: {a.system} and {b.system} have no answered sample in common")
    return Pairs(ours, [theirs[one.sample_id] for one in ours], len(a.samples) - len(ours))
