"""The section about what went wrong: mistakes beside the other's answers, confusions, changes against the champion."""

from __future__ import annotations

from collections.abc import Sequence

from delivery.report import numerals
from delivery.report.blocks import (
    Block,
    Cell,
    Column,
    Example,
    Examples,
    Figure,
    Folded,
    Heading,
    Paragraph,
    Quote,
    Section,
    Table,
)
from delivery.report.chart_data import GridCell, GridChart
from delivery.report.language import Language
from delivery.report.systems import Document, name_in

CONFUSIONS_SHOWN = 10
LABELS_DRAWN = 12
LABEL_LENGTH = 60
QUOTE_LENGTH = 600
QUOTE_LINES = 20


def mistakes_section(suite: Document, lang: Language) -> Section:
    """Up to eight samples that the candidate got wrong, what it takes for what, and what changed against the champion.

    Where a judge decided, those that it did not prefer; where none could, samples to read for oneself.
    """
    analysis = suite["analysis"]
    blocks: list[Block] = [Paragraph(_intro(suite, lang))]
    if analysis:
        blocks += _confusions(suite, analysis["confusions"], lang)
        blocks += [_examples(suite, analysis["samples"], lang)] if analysis["samples"] else []
        blocks += _changes(suite, analysis["changes"], lang)
    return Section(id="examples", title=lang.say("section.examples"), blocks=tuple(blocks))


def _intro(suite: Document, lang: Language) -> str:
    analysis = suite["analysis"]
    if not analysis or not (analysis["scored"] or analysis["samples"]):
        return lang.say("example.no_rows")
    shown = len(analysis["samples"])
    values = {"wrong": numerals.count(analysis["wrong"]), "scored": numerals.count(analysis["scored"]), "shown": shown}
    if suite["judging"] is not None:
        counts = not suite["judging"]["withheld"]
        return lang.say(f"example.{suite['primary_metric']}" if counts else "example.to_read", **values)
    if not analysis["wrong"]:
        return lang.say("example.none", **values)
    beside = next((a["system"] for a in analysis["samples"][0]["answers"] if a["system"] != "candidate"), None)
    if beside is None:
        return lang.say("example.intro_alone", **values)
    return lang.say("example.intro", other=name_in(suite, beside, lang).phrase, **values)


def _examples(suite: Document, samples: Sequence[Document], lang: Language) -> Examples:
    return Examples(tuple(_example(suite, sample, lang) for sample in samples))


def _example(suite: Document, sample: Document, lang: Language) -> Example:
    written = lang.say("example.expected" if suite["judging"] is None else "example.written")
    quotes = [Quote(written, shorten(sample["expected"], lang))] if sample["expected"] else []
    quotes += [_answer(suite, answer, lang) for answer in sample["answers"]]
    return Example(lang.say("example.row", id=sample["id"]), shorten(sample["asked"], lang), tuple(quotes))


def _answer(suite: Document, answer: Document, lang: Language) -> Quote:
    named = name_in(suite, answer["system"], lang)
    shown = shorten(answer["said"], lang) if answer["said"] else lang.say("example.empty")
    if suite["judging"] is not None:
        return Quote(named.label, shown, named.badge)
    if answer["correct"] is None:
        return Quote(named.label, shown, named.badge, lang.say("example.not_scored"), "warn")
    verdict = lang.say("example.right" if answer["correct"] else "example.wrong")
    return Quote(named.label, shown, named.badge, verdict, "good" if answer["correct"] else "bad")


def _confusions(suite: Document, confusions: Sequence[Document], lang: Language) -> list[Block]:
    mistakes = [one for one in confusions if one["expected"] != one["said"]]
    if not mistakes:
        return []
    labels = list(dict.fromkeys(name for one in confusions for name in (one["expected"], one["said"])))
    fields = any(one["field"] for one in confusions)
    chart = [] if fields or len(labels) > LABELS_DRAWN else [_grid(confusions, lang)]
    table = _confusion_table(suite, mistakes[:CONFUSIONS_SHOWN], lang)
    rest = mistakes[CONFUSIONS_SHOWN : 4 * CONFUSIONS_SHOWN]
    more = [Folded(lang.say("confusion.more", count=len(rest)), (_confusion_table(suite, rest, lang),))] if rest else []
    return [Heading(lang.say("confusion.heading")), *chart, table, *more]


def _said(one: Document, lang: Language) -> str:
    return _cut(one["said"]) if one["said"] else lang.say("confusion.invalid")


def _cut(text: str) -> str:
    return text if len(text) <= LABEL_LENGTH else f"{text[: LABEL_LENGTH - 1]}…"


def _grid(confusions: Sequence[Document], lang: Language) -> Figure:
    expected = sorted({one["expected"] for one in confusions})
    said = sorted({one["said"] for one in confusions if one["said"]} | set(expected))
    if any(not one["said"] for one in confusions):
        said.append(lang.say("confusion.invalid"))
    totals = {name: sum(one["candidate"] for one in confusions if one["expected"] == name) for name in expected}
    cells = tuple(
        GridCell(one["expected"], _said(one, lang), one["candidate"], one["candidate"] / max(totals[one["expected"]], 1))
        for one in confusions
    )
    chart = GridChart(tuple(expected), tuple(said), cells, lang.say("confusion.expected"), lang.say("confusion.said"))
    label = "; ".join(f"{cell.row}: {cell.column} {cell.count}" for cell in cells if cell.count)
    return Figure(chart, lang.say("confusion.chart", cells=label), lang.say("confusion.caption"))


def _confusion_table(suite: Document, mistakes: Sequence[Document], lang: Language) -> Table:
    fields = any(one["field"] for one in mistakes)
    baseline = name_in(suite, "baseline", lang)
    compared = any(one["baseline"] is not None for one in mistakes)
    columns = (
        *((Column(lang.say("confusion.field")),) if fields else ()),
        Column(lang.say("confusion.expected")),
        Column(lang.say("confusion.said")),
        Column(lang.say("slice.candidate"), numeric=True),
        *((Column(baseline.full, numeric=True),) if compared else ()),
    )
    rows = tuple(
        (
            *((Cell(one["field"]),) if fields else ()),
            Cell(_cut(one["expected"])),
            Cell(_said(one, lang)),
            Cell(numerals.count(one["candidate"])),
            *((Cell(numerals.count(one["baseline"] or 0)),) if compared else ()),
        )
        for one in mistakes
    )
    return Table(lang.say("confusion.table"), columns, rows)


def _changes(suite: Document, changes: Document | None, lang: Language) -> list[Block]:
    if not changes:
        return []
    said = lang.say(
        "changes.intro" if suite["judging"] is None else "changes.judged",
        fixed=numerals.count(changes["fixed"]),
        broken=numerals.count(changes["broken"]),
    )
    blocks: list[Block] = [Heading(lang.say("changes.heading")), Paragraph(said)]
    return [*blocks, _examples(suite, changes["samples"], lang)] if changes["samples"] else blocks


def shorten(text: str, lang: Language) -> str:
    """Text cut to what a page can carry; says so and where the rest is."""
    shown = "\n".join(text[:QUOTE_LENGTH].split("\n")[:QUOTE_LINES])
    if shown == text:
        return text
    return lang.say("example.shortened", text=shown.rstrip(), count=numerals.count(len(text)))
