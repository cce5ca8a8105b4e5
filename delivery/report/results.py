"""The sections about what was measured: one per suite."""

from __future__ import annotations

from collections.abc import Sequence

from delivery.report import numerals
from delivery.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Folded,
    Heading,
    Notice,
    Paragraph,
    Section,
    Table,
)
from delivery.report.chart_data import IntervalChart, IntervalRow, Role
from delivery.report.document import JUDGE_MEASURES
from delivery.report.headline import VERDICT_TONES
from delivery.report.language import Language
from delivery.report.systems import Document, is_stand_in, name_in, name_system

SLICES_SHOWN = 12

_MANY_METRICS = 4
"""Beside the one that decides: more do not stand side by side on a page."""


def suite_section(index: int, suite: Document, lang: Language) -> Section:
    """Systems with their intervals, the comparisons, and the parts of the suite; the first one explains the verdicts."""
    own = suite["kind"] == "use_case"
    intro = lang.say(
        "suite.intro" if own else "suite.intro_general",
        n=numerals.count(suite["n"]),
        metric=lang.term("metrics", suite["primary_metric"]),
        kind=lang.term("suite_kinds", suite["kind"]),
    )
    blocks: list[Block] = [Paragraph(intro), *_how_judged(suite, lang), *_systems(suite, lang)]
    chart = _interval_figure(suite, lang)
    blocks += [chart] if chart else []
    blocks += _comparisons(suite, lang)
    blocks += [Paragraph(lang.say("comparison.legend"))] if index == 1 and suite["comparisons"] else []
    blocks += _judging(suite, lang)
    blocks += _clean(suite, lang)
    blocks += _slices(suite, lang)
    title = lang.say("section.results", suite=lang.term("suites", suite["suite"]))
    return Section(id=f"results-{index}", title=title, blocks=tuple(blocks))


def _how_judged(suite: Document, lang: Language) -> list[Block]:
    """What a judge's figure means; first of all whether it means anything."""
    judging = suite["judging"]
    if judging is None:
        return []
    blocks: list[Block] = [Paragraph(lang.say("judge.role_play"))]
    if suite["primary_metric"] == "win_rate":
        own = any(system["system"] == "baseline" for system in suite["systems"])
        reference = name_in(suite, "baseline", lang).phrase if own else lang.say("judge.written")
        blocks = [Paragraph(lang.say("judge.pairs", reference=reference))]
    return [Notice(lang.say("judge.no_claim")), *blocks] if judging["withheld"] else blocks


def _judging(suite: Document, lang: Language) -> list[Block]:
    """Who judged, whether anything may be claimed, and what the judge is worth."""
    judging = suite["judging"]
    if judging is None:
        return []
    reasons = "; ".join(judging["withheld"])
    verdict: Block = Notice(lang.say("judge.withheld", reasons=reasons)) if reasons else Paragraph(lang.say("judge.allowed"))
    rows = [
        *((lang.say(f"judge.{name}"), judging[name], judging["labeled"]) for name in JUDGE_MEASURES),
        *((lang.say("judge.canary", name=one["name"].replace("_", " ")), one, one["n"]) for one in judging["canaries"]),
    ]
    columns = (
        Column(lang.say("judge.measure")),
        Column(lang.say("judge.value"), numeric=True),
        Column(lang.say("slice.n"), numeric=True),
    )
    cells = tuple((Cell(label), _ratio(estimate), Cell(numerals.count(n))) for label, estimate, n in rows)
    heading = Heading(lang.say("judge.heading", model=judging["model"]))
    measured = Table(lang.say("judge.caption"), columns, cells)
    return [heading, verdict, measured, *_beside(suite, lang), *map(Paragraph, judging["limitations"])]


def _beside(suite: Document, lang: Language) -> list[Block]:
    found = suite["judging"]["beside"]
    kinds = list(dict.fromkeys(kind for of_one in found.values() for kind in of_one))
    if not kinds:
        return []
    columns = (Column(lang.say("suite.system")), *(Column(lang.say(f"judge.{kind}"), numeric=True) for kind in kinds))
    rows = tuple(
        (Cell(name_in(suite, name, lang).label), *(_estimate(of_one.get(kind)) for kind in kinds))
        for name, of_one in found.items()
    )
    return [Table(lang.say("judge.beside"), columns, rows)]


def _ratio(estimate: Document) -> Cell:
    """A kappa is no share: it can be negative, so all of these are given as numbers."""
    if estimate["value"] is None:
        return Cell(numerals.DASH)
    low, high = (numerals.decimal(bound, 2) for bound in estimate["ci95"])
    return Cell(f"{numerals.decimal(estimate['value'], 2)} ({low} to {high})")


def _clean(suite: Document, lang: Language) -> list[Block]:
    """What training rows know of the suite, and the scores without it."""
    clean = suite["clean"]
    if clean is None:
        return []
    if not clean["contaminated"]:
        return [Paragraph(lang.say("clean.none", n=numerals.count(clean["n"])))]
    counts = {"contaminated": numerals.count(clean["contaminated"]), "n": numerals.count(clean["n"])}
    rows = tuple(
        (Cell(named.label, badge=named.badge), _estimate(_of(system)), _estimate(clean["values"][system["system"]]))
        for system, named in ((system, name_system(system, lang)) for system in _first_of_each(suite["systems"]))
        if system["system"] in clean["values"]
    )
    metric = lang.term("metrics", suite["primary_metric"])
    columns = (
        Column(lang.say("suite.system")),
        Column(lang.say("clean.all"), numeric=True),
        Column(lang.say("clean.clean", n=counts["n"]), numeric=True),
    )
    return [Paragraph(lang.say("clean.some", **counts)), Table(lang.say("clean.caption", metric=metric), columns, rows)]


def _of(system: Document) -> Document:
    return {"value": system["value"], "ci95": system["ci95"]}


def _first_of_each(systems: Sequence[Document]) -> list[Document]:
    return list({system["system"]: system for system in reversed(systems)}.values())[::-1]


def _metrics(suite: Document) -> list[str]:
    """The suite's metrics, the one that decides first."""
    seen = dict.fromkeys(metric for system in suite["systems"] for metric in system["metrics"])
    return [suite["primary_metric"], *(metric for metric in seen if metric != suite["primary_metric"])]


def _systems(suite: Document, lang: Language) -> list[Table]:
    decides, *others = _metrics(suite)
    if len(others) < _MANY_METRICS:
        return [_who(suite, [decides, *others], lang)]
    # Turned round, the metrics have room however many there are.
    columns = [
        Column(lang.say("comparison.metric")),
        *(Column(_told_apart(s, suite, lang), numeric=True) for s in suite["systems"]),
    ]
    rows = [
        (Cell(lang.term("metrics", metric)), *(_estimate(system["metrics"].get(metric)) for system in suite["systems"]))
        for metric in others
    ]
    return [_who(suite, [decides], lang), Table(lang.say("suite.others"), tuple(columns), tuple(rows))]


def _who(suite: Document, metrics: Sequence[str], lang: Language) -> Table:
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
            label=_told_apart(s, suite, lang),
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


def _told_apart(system: Document, suite: Document, lang: Language) -> str:
    """A system's name, with its prompt where the same model was asked in several ways."""
    name = name_system(system, lang).short
    asked = [one for one in suite["systems"] if one["system"] == system["system"]]
    return f"{name}, {lang.term('prompting', system['prompting'])}" if len(asked) > 1 else name


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
        Cell(numerals.p_value(comparison["p_value"]), sub=_adjusted(comparison, lang)),
        Cell(found),
        Cell(numerals.count(comparison["n"]), sub=_reach(comparison, lang)),
    )


def _adjusted(comparison: Document, lang: Language) -> str:
    adjusted = comparison["p_adjusted"]
    return "" if adjusted is None else lang.say("comparison.adjusted", p=numerals.p_value(adjusted))


def _reach(comparison: Document, lang: Language) -> str:
    """What so many samples can show, how many groups they are, and how many had no answer."""
    parts = []
    if comparison["detectable"] is not None:
        parts.append(lang.say("comparison.detects", points=numerals.decimal(comparison["detectable"] * 100)))
    if comparison["clusters"] is not None:
        parts.append(lang.say("comparison.clusters", count=numerals.count(comparison["clusters"])))
    if comparison["dropped"]:
        parts.append(lang.say("comparison.dropped", count=numerals.count(comparison["dropped"])))
    return " · ".join(parts)


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


def _tested(part: Document) -> tuple[Cell, ...]:
    found = part["difference"]
    if not found or part["q_value"] is None:
        return Cell(numerals.DASH), Cell(numerals.DASH)
    low, high = (numerals.points(bound) for bound in found["ci95"])
    return Cell(f"{numerals.points(found['value'])} ({low} to {high})"), Cell(numerals.p_value(part["q_value"]))


def _slice_table(caption: str, suite: Document, parts: Sequence[Document], lang: Language) -> Table:
    baseline = name_in(suite, "baseline", lang)
    with_baseline = any(part["baseline"] for part in parts)
    tested = any(part["q_value"] is not None for part in parts)
    columns = (
        Column(lang.say("slice.value", name=parts[0]["name"].replace("_", " "))),
        Column(lang.say("slice.n"), numeric=True),
        Column(lang.say("slice.candidate"), numeric=True),
        *((Column(baseline.full, numeric=True),) if with_baseline else ()),
        *((Column(lang.say("slice.difference"), numeric=True), Column(lang.say("slice.q"), numeric=True)) if tested else ()),
    )
    rows = tuple(
        (
            Cell(part["value"]),
            Cell(numerals.count(part["n"])),
            _estimate(part["candidate"]),
            *((_estimate(part["baseline"]),) if with_baseline else ()),
            *(_tested(part) if tested else ()),
        )
        for part in parts
    )
    return Table(caption, columns, rows)
