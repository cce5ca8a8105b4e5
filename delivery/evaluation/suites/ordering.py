"""What stands in ``evaluation.suites`` of a client: a suite by its name, or ``reader:file`` of a public benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

from delivery.artifacts import Suite
from delivery.evaluation.judging.rules import JudgeRules, read_rules
from delivery.evaluation.suites.loading import PublicReader, find_suite, read_suite, read_suite_file
from delivery.evaluation.suites.public import public_suite
from delivery.settings import Workspace


class Ordered(NamedTuple):
    """A suite, and what it demands of its judge; None where no judge decides."""

    suite: Suite
    rules: JudgeRules | None


def order_suite(entry: str, workspace: Workspace, *, relative_to: Path) -> Ordered:
    """``general_core``, or ``mmlu_pro:/data/mmlu_pro.parquet``; a file's name is relative to the client's folder.

    Raises:
        ConfigError: there is no such suite, reader or file, or one is wrong; names file, line and key.
    """
    reader, colon, path = entry.partition(":")
    if colon:
        suite = public_suite(cast(PublicReader, reader), relative_to / path)
        return Ordered(suite, JudgeRules() if suite.judged else None)
    folder = find_suite(entry, workspace)
    suite = read_suite(folder)
    if not suite.judged:
        return Ordered(suite, None)
    return Ordered(suite, read_rules(read_suite_file(folder).judge or {}, where=folder / "suite.yaml"))
