"""The sections about what was measured: one per suite, and examples of wrong answers."""

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
from delivery.report.chart_data import IntervalChart, IntervalRow, Role
from delivery.report.headline import VERDICT_TONES
from delivery.report.language import Language
from delivery.report.samples import SampleRow
from delivery.report.systems import Document, Named, find_system, is_stand_in, name_in, name_system

SLICES_SHOWN = 12
EXAMPLES_SHOWN = 8
QUOTE_LENGTH = 600
QUOTE_LINES = 20


def suite_section(index: int, suite: Document, lang: Language) -> Section:
    """Systems with their intervals, the comparisons, and the parts of the suite; the first one explains the verdicts."""
    own = suite["kind"] == "use_case"
    intro = lang.say(
        "suite.intro" if own else "suite.intro_general",
        n=numerals.count(suite["n"]),
        metric=lang.term("metrics", suite["primary_metric"]),
        kind=lang.term("suite_kinds", suite["kind"]),
    )
    blocks: list[Block] = [Paragraph(intro), _systems(suite, lang)]
    chart = _interval_figure(suite, lang)
    blocks += [chart] if chart else []
    blocks += _comparisons(suite, lang)
    blocks += [Paragraph(lang.say("comparison.legend"))] if index == 1 and suite["comparisons"] else []
    blocks += _slices(suite, lang)
    title = lang.say("section.results", suite=lang.term("suites", suite["suite"]))
    return Section(id=f"results-{index}", title=title, blocks=tuple(blocks))


def _metrics(suite: Document) -> list[str]:
    """The suite's metrics, the one that decides first."""
    seen = dict.fromkeys(metric for system in suite["systems"] for metric in system["metrics"])
    return [suite["primary_metric"], *(metric for metric in seen if metric != suite["primary_metric"])]


def _systems(suite: Document, lang: Language) -> Table:
    metrics = _metrics(suite)
    rows = []
    for system in suite["systems"]:
        named = name_system(system, lang)
        model = "" if system["model"] in named.label else system["model"]
        sub = " · ".join(part for part in (model, system["artifact"]) if part)
        answers = " · ".join(
            part for part in (lang.term("sources", system["source"]), lang.term("prompting", system["prompting"])) if part
        )
        scored = lang.say("suite.scored_of", scored=numerals.count(system["n_scored"]), n=numerals.count(system["n"]))
        errored = numerals.count(system["n_errored"])
        rows.append(
            (
                Cell(named.label, sub=sub, badge=named.badge),
                Cell(answers, sub=system["note"]),
                *(_estimate(system["metrics"].get(metric)) for metric in metrics),
                Cell(scored, sub=lang.say("suite.errored", errored=errored) if system["n_errored"] else ""),
            )
        )
    columns = (
        Column(lang.say("suite.system")),
        Column(lang.say("suite.answers")),
        *(Column(lang.term("metrics", metric), numeric=True) for metric in metrics),
        Column(lang.say("suite.scored"), numeric=True),
    )
    return Table(lang.say("suite.caption"), columns, tuple(rows))


def _estimate(estimate: Document | None) -> Cell:
    return Cell(numerals.percent_interval(estimate["value"], estimate["ci95"]) if estimate else numerals.DASH)


def _interval_figure(suite: Document, lang: Language) -> Figure | None:
    measured = [s for s in suite["systems"] if s["value"] is not None and None not in s["ci95"]]
    if not measured:
        return None
    rows = tuple(
        IntervalRow(
            label=name_system(s, lang).short,
            text=numerals.percent_interval(s["value"], s["ci95"]),
            value=s["value"] * 100,
            low=s["ci95"][0] * 100,
            high=s["ci95"][1] * 100,
            role=_role(s["system"]),
            hollow=is_stand_in(s),
        )
        for s in measured
    )
    metric = lang.term("metrics", suite["primary_metric"])
    label = lang.say("suite.chart", metric=metric, rows="; ".join(f"{row.label} {row.text}" for row in rows))
    chart = IntervalChart(rows, lang.say("suite.chart_axis", metric=metric))
    caption = lang.say("suite.chart_caption")
    if any(row.hollow for row in rows):
        caption += " " + lang.say("suite.chart_hollow")
    return Figure(chart, label, caption)


def _role(system: str) -> Role:
    if system == "candidate":
        return "candidate"
    return "baseline" if system == "baseline" else "other"


def _comparisons(suite: Document, lang: Language) -> list[Block]:
    if not suite["comparisons"]:
        return []
    columns = (
        Column(lang.say("comparison.pair")),
        Column(lang.say("comparison.metric")),
        Column(lang.say("comparison.difference"), numeric=True),
        Column(lang.say("comparison.verdict")),
        Column(lang.say("comparison.margin"), numeric=True),
        Column(lang.say("comparison.test")),
        Column(lang.say("comparison.p"), numeric=True),
        Column(lang.say("comparison.discordant"), numeric=True),
        Column(lang.say("comparison.n"), numeric=True),
    )
    rows = tuple(_comparison_row(suite, comparison, lang) for comparison in suite["comparisons"])
    return [
        Heading(lang.say("comparison.heading")),
        Table(lang.say("comparison.caption"), columns, rows),
    ]


def _comparison_row(suite: Document, comparison: Document, lang: Language) -> tuple[Cell, ...]:
    first, second = (name_in(suite, comparison[key], lang) for key in ("a", "b"))
    discordant = comparison["discordant"]
    if discordant is None:
        found = lang.say("comparison.unpaired")
    else:
        a, b = (numerals.count(number) for number in discordant)
        found = lang.say("comparison.discordant_of", a=a, b=b)
    return (
        Cell(lang.say("comparison.pair_of", a=first.label, b=second.label), badge=first.badge or second.badge),
        Cell(lang.term("metrics", comparison["metric"])),
        Cell(difference_text(comparison, lang)),
        Cell(lang.term("verdicts", comparison["verdict"]), tone=VERDICT_TONES.get(comparison["verdict"], "")),
        Cell(numerals.decimal(comparison["margin"] * 100)),
        Cell(lang.term("tests", comparison["test"])),
        Cell(numerals.p_value(comparison["p_value"])),
        Cell(found),
        Cell(numerals.count(comparison["n"])),
    )


def difference_text(measured: Document, lang: Language) -> str:
    """A difference in points with its interval: ``+4.9 (+0.3 to +9.5)``."""
    low, high = (numerals.points(bound) for bound in measured["ci95"])
    return lang.say("comparison.difference_of", value=numerals.points(measured["difference"]), low=low, high=high)


def _slices(suite: Document, lang: Language) -> list[Block]:
    if not suite["slices"]:
        return []
    blocks: list[Block] = [Heading(lang.say("slice.heading"))]
    metric = lang.term("metrics", suite["primary_metric"])
    for name in dict.fromkeys(part["name"] for part in suite["slices"]):
        parts = [part for part in suite["slices"] if part["name"] == name]
        word = name.replace("_", " ")
        if len(parts) <= SLICES_SHOWN:
            blocks.append(_slice_table(lang.say("slice.caption", metric=metric, name=word), suite, parts, lang))
            continue
        weakest = sorted(parts, key=lambda part: part["candidate"]["value"] or 0.0)[:SLICES_SHOWN]
        count = numerals.count(len(parts))
        caption = lang.say("slice.weakest", metric=metric, name=word, shown=SLICES_SHOWN, count=count)
        every = _slice_table(lang.say("slice.caption", metric=metric, name=word), suite, parts, lang)
        blocks.append(_slice_table(caption, suite, weakest, lang))
        blocks.append(Folded(lang.say("slice.all", count=count, name=word), (every,)))
    return [*blocks, Paragraph(lang.say("slice.note"))]


def _slice_table(caption: str, suite: Document, parts: Sequence[Document], lang: Language) -> Table:
    baseline = name_in(suite, "baseline", lang)
    with_baseline = any(part["baseline"] for part in parts)
    columns = (
        Column(lang.say("slice.value", name=parts[0]["name"].replace("_", " "))),
        Column(lang.say("slice.n"), numeric=True),
        Column(lang.say("slice.candidate"), numeric=True),
        *((Column(baseline.full, numeric=True),) if with_baseline else ()),
    )
    rows = tuple(
        (
            Cell(part["value"]),
            Cell(numerals.count(part["n"])),
            _estimate(part["candidate"]),
            *((_estimate(part["baseline"]),) if with_baseline else ()),
        )
        for part in parts
    )
    return Table(caption, columns, rows)


def examples_section(suite: Document, rows: Sequence[SampleRow], lang: Language) -> Section:
    """Up to eight rows that the candidate got wrong, beside what the baseline (or the base model) answered."""
    other = "baseline" if any(r.system == "baseline" for r in rows if r.suite == suite["suite"]) else "base"
    answers: dict[tuple[str, str], SampleRow] = {}
    for row in rows:
        if row.suite == suite["suite"]:
            # Of several prompts of the baseline, the first is the one that was chosen.
            answers.setdefault((row.id, row.system), row)
    scored = [row for (_, system), row in answers.items() if system == "candidate" and row.correct is not None]
    wrong = [row for row in scored if not row.correct]
    partner = name_in(suite, other, lang) if find_system(suite, other) else None
    blocks: list[Block] = [Paragraph(_examples_intro(scored, wrong, partner, lang))]
    chosen = sorted(wrong, key=lambda row: not _right(answers.get((row.id, other))))[:EXAMPLES_SHOWN]
    if chosen:
        blocks.append(Examples(tuple(_example(row, answers.get((row.id, other)), suite, partner, lang) for row in chosen)))
    return Section(id="examples", title=lang.say("section.examples"), blocks=tuple(blocks))


def _right(row: SampleRow | None) -> bool:
    return row is not None and row.correct is True


def _examples_intro(scored: Sequence[SampleRow], wrong: Sequence[SampleRow], partner: Named | None, lang: Language) -> str:
    if not scored:
        return lang.say("example.no_rows")
    values = {
        "wrong": numerals.count(len(wrong)),
        "scored": numerals.count(len(scored)),
        "shown": min(len(wrong), EXAMPLES_SHOWN),
    }
    if not wrong:
        return lang.say("example.none", **values)
    if partner is None:
        return lang.say("example.intro_alone", **values)
    return lang.say("example.intro", other=partner.phrase, **values)


def _example(row: SampleRow, partner_row: SampleRow | None, suite: Document, partner: Named | None, lang: Language) -> Example:
    quotes = [
        Quote(lang.say("example.expected"), shorten(row.expected, lang)),
        _answer(row, name_in(suite, "candidate", lang), lang),
    ]
    if partner_row is not None and partner is not None:
        quotes.append(_answer(partner_row, partner, lang))
    return Example(lang.say("example.row", id=row.id), tuple(quotes))


def _answer(row: SampleRow, named: Named, lang: Language) -> Quote:
    text = row.error if row.output is None else row.output
    shown = shorten(text, lang) if text else lang.say("example.empty")
    if row.correct is None:
        return Quote(named.label, shown, named.badge, lang.say("example.not_scored"), "warn")
    verdict = lang.say("example.right" if row.correct else "example.wrong")
    return Quote(named.label, shown, named.badge, verdict, "good" if row.correct else "bad")


def shorten(text: str, lang: Language) -> str:
    """Text cut to what a page can carry; says so and where the rest is."""
    shown = "\n".join(text[:QUOTE_LENGTH].split("\n")[:QUOTE_LINES])
    if shown == text:
        return text
    return lang.say("example.shortened", text=shown.rstrip(), count=numerals.count(len(text)))
