"""Who took part: finding systems in the document, and naming them so that a stand-in is never taken for GPT-4."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from delivery.report.language import Language

Document = dict[str, Any]


class Named(NamedTuple):
    """A system's name, and the marker that has to stand wherever its score does."""

    label: str
    badge: str

    @property
    def full(self) -> str:
        """Both in one line, for places that have no room for a marker."""
        return f"{self.label} ({self.badge})" if self.badge else self.label


def primary_suite(document: Document) -> Document | None:
    """The suite on the client's own task, or the first one, or None where nothing was evaluated."""
    suites: list[Document] = document["suites"]
    return next((s for s in suites if s["kind"] == "use_case"), suites[0] if suites else None)


def find_system(suite: Document, name: str) -> Document | None:
    """A suite's result of one system, or None where it did not take part."""
    return next((s for s in suite["systems"] if s["system"] == name), None)


def find_comparison(suite: Document, a: str, b: str) -> Document | None:
    """The comparison of two systems on the suite's primary metric, or None."""
    wanted = (a, b, suite["primary_metric"])
    return next((c for c in suite["comparisons"] if (c["a"], c["b"], c["metric"]) == wanted), None)


def is_stand_in(system: Document | None) -> bool:
    """Whether a local model answered in GPT-4's place."""
    return system is not None and system["source"] == "stand-in"


def name_system(system: Document, lang: Language) -> Named:
    """The name of a system; a baseline is named with its model."""
    label = lang.term("systems", system["system"])
    if system["system"] == "baseline":
        label = lang.say("suite.label", system=label, model=lang.term("models", system["model"]))
    return Named(label, lang.say("badge.stand_in") if is_stand_in(system) else "")


def name_in(suite: Document, name: str, lang: Language) -> Named:
    """The name of a system that a comparison mentions."""
    system = find_system(suite, name)
    return Named(lang.term("systems", name), "") if system is None else name_system(system, lang)


def api_of(model: str, cost: Document) -> str | None:
    """The API model of the price list that a model is: itself, or the one that it is a dated snapshot of."""
    if model in cost["api"]:
        return model
    dated = re.fullmatch(r"(.+?)-(?:\d{4}|\d{8}|\d{4}-\d{2}-\d{2})", model)
    return dated[1] if dated and dated[1] in cost["api"] else None


def sale_ended(api: Document, created_at: str) -> bool:
    """Whether an API model was off the market when the report was made. ISO 8601 dates sort as text."""
    until = api["available_until"]
    return until is not None and str(until) <= created_at[:10]
