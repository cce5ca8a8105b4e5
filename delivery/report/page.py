"""From the document to a page: headline first, then each section in the order in which a reader asks."""

from __future__ import annotations

from delivery.report import numerals
from delivery.report.blocks import Page
from delivery.report.data import data_section
from delivery.report.headline import build_headline
from delivery.report.language import Language
from delivery.report.making import artifacts_section, training_section
from delivery.report.mistakes import mistakes_section
from delivery.report.proof import gates_section, limitations_section, provenance_section
from delivery.report.results import suite_section
from delivery.report.running import cost_section, latency_section
from delivery.report.systems import Document, primary_suite


def build_page(document: Document, lang: Language) -> Page:
    """The page of a ``delivery.report/1`` document."""
    suite = primary_suite(document)
    return Page(
        title=lang.say("page.title", client=document["client"], use_case=document["use_case"]),
        subtitle=lang.say(
            "page.subtitle",
            vertical=lang.term("verticals", document["vertical"]),
            delivery=document["delivery_id"],
            created=numerals.moment(document["created_at"]),
        ),
        headline=build_headline(document, lang),
        sections=(
            *(suite_section(index, each, lang) for index, each in enumerate(document["suites"], start=1)),
            *((mistakes_section(suite, lang),) if suite else ()),
            cost_section(document, lang),
            latency_section(document, lang),
            gates_section(document, lang),
            data_section(document, lang),
            training_section(document, lang),
            artifacts_section(document, lang),
            limitations_section(document, lang),
            provenance_section(document, lang),
        ),
    )
