"""Who took part: finding systems in the document, and naming them so that a stand-in is never taken for GPT-4."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from delivery.report.language import Language

Document = dict[str, Any]
SNAPSHOT = re.compile(r"(.+?)-(?:\d{4}|\d{8}|\d{4}-\d{2}-\d{2})")


class Named(NamedTuple):
    """A system's name, and the marker that has to stand wherever its score does."""

    label: str
    badge: str
    phrase: str
    """The name within a sentence, with its marker."""
    short: str
    """The name where there is little room, with its marker."""

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
    word, phrase = lang.term("systems", system["system"]), lang.term("phrases", system["system"])
    if system["system"] != "baseline":
        return Named(word, "", phrase, word)
    model = model_name(system["model"], lang)
    label = lang.say("suite.label", system=word, model=model)
    if not is_stand_in(system):
        return Named(label, "", model, label)
    badge = lang.say("badge.stand_in")
    return Named(label, badge, lang.term("phrases", "stand-in"), lang.say("suite.model", name=word, model=badge))


def model_name(model: str, lang: Language) -> str:
    """A model as people call it; of a dated snapshot, the whole name too."""
    family = SNAPSHOT.fullmatch(model)
    if family is None or lang.term("models", family[1]) == family[1]:
        return lang.term("models", model)
    return lang.say("suite.model", name=lang.term("models", family[1]), model=model)


def name_in(suite: Document, name: str, lang: Language) -> Named:
    """The name of a system that a comparison mentions."""
    system = find_system(suite, name)
    if system is not None:
        return name_system(system, lang)
    word = lang.term("systems", name)
    return Named(word, "", lang.term("phrases", name), word)


def api_of(model: str, cost: Document) -> str | None:
    """The API model of the price list that a model is: itself, or the one that it is a dated snapshot of."""
    if model in cost["api"]:
        return model
    dated = SNAPSHOT.fullmatch(model)
    return dated[1] if dated and dated[1] in cost["api"] else None


def sale_ended(api: Document, created_at: str) -> bool:
    """Whether an API model was off the market when the report was made. ISO 8601 dates sort as text."""
    until = api["available_until"]
    return until is not None and str(until) <= created_at[:10]
