"""A suite's name by content: whatever decides a score is in its hash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from delivery.artifacts import Suite, sha256_json


def frozen(suite: Suite, **further: Any) -> Suite:
    """The suite with its ``sha256``: of samples, scorer, rule, labels, schema, and of ``further`` such as a judge's rubric."""
    named = {
        "samples": [
            [
                one.id,
                one.expected,
                one.slices,
                [[message.role, message.content] for message in one.messages],
                one.cluster,
                one.scorer,
                one.reference,
            ]
            for one in suite.samples
        ],
        "scorer": suite.scorer,
        "labels": suite.labels,
        "schema": suite.json_schema,
        "parse": suite.parse,
        "further": further,
    }
    return replace(suite, sha256=sha256_json(named))
