"""What the client ordered beside its own task."""

from __future__ import annotations

from collections.abc import Iterator

from delivery import evaluation
from delivery.evaluation.suites.ordering import Ordered
from flows.line import Line


def further_suites(line: Line) -> Iterator[Ordered]:
    """The suites that the client ordered beside the one of its own task, with the rules of their judges.

    Raises:
        ConfigError: one is not there, or is wrong, or cannot be run here; names file and key.
    """
    for name in dict.fromkeys(line.config.evaluation.suites):
        if name != "use_case":
            yield evaluation.order_suite(name, line.workspace, relative_to=line.config.folder)
