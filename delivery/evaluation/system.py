"""Who answered, and whether enough of the answers came."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from delivery.artifacts import Source, SystemName, SystemResult
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
    if result.n_errored <= max_errored * result.n:
        return
    reasons = Counter(one.error for one in result.samples if one.error).most_common(1)
    most = reasons[0][0] if reasons else "no reason recorded"
    raise EvalIncompleteError(
        f"{result.system} ({result.model}): {result.n_errored} of {result.n} samples have no answer, more than "
        f"evaluation.max_errored={max_errored:g} allows; most often: {most}"
    )
