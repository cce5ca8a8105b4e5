"""Who answered, and whether enough of the answers came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from delivery.artifacts import Answer, Source, SystemName, SystemResult
from delivery.errors import EvalIncompleteError


@dataclass(frozen=True, slots=True)
class System:
    """Who answered: the system's name in the report, its model, the artifact's format and where its answers come from."""

    system: SystemName
    model: str
    artifact: str = ""
    source: Source = "local"
    prompting: str = "zero_shot"
    note: str = ""


def raise_if_incomplete(result: SystemResult, max_errored: float) -> None:
    """Refuse a result of which more than a share ``max_errored`` (0 to 1) of the samples errored.

    Raises:
        EvalIncompleteError: says how many errored, and the most frequent reason.
    """
    errors = [one.error for one in result.samples if one.error]
    _refuse(f"{result.system} ({result.model})", errors, missing=result.n_errored, n=result.n, max_errored=max_errored)


def raise_if_unanswered(system: System, answers: Sequence[Answer], max_errored: float) -> None:
    """The same of answers that are still to be judged. Raises EvalIncompleteError."""
    errors = [answer.error or "" for answer in answers if answer.output is None]
    _refuse(f"{system.system} ({system.model})", errors, missing=len(errors), n=len(answers), max_errored=max_errored)


def _refuse(who: str, errors: Sequence[str], *, missing: int, n: int, max_errored: float) -> None:
    if missing <= max_errored * n:
        return
    reasons = Counter(errors).most_common(1)
    most = reasons[0][0] if reasons else "no reason recorded"
    raise EvalIncompleteError(
        f"{who}: {missing} of {n} samples have no answer, more than evaluation.max_errored={max_errored:g} allows; "
        f"most often: {most}"
    )
