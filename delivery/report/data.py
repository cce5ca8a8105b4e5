"""The section about the client's data: what came in, how it was divided, what the checks found, and what it looks like."""

from __future__ import annotations

from collections import defaultdict

from delivery.report import numerals
from delivery.report.blocks import Block, Cell, Column, Facts, Figure, Folded, Paragraph, Section, Sentences, Table, Tone
from delivery.report.chart_data import Bar, BarChart
from delivery.report.language import Language
from delivery.report.making import hash_cell
from delivery.report.results import difference_text
from delivery.report.systems import Document

STATUS_TONES: dict[str, Tone] = {"ok": "good", "warn": "warn", "refuse": "bad"}
SIDES = ("train", "validation", "test")
MOST_BARS = 20
MOST_FIELDS = 6
MOST_SUSPECTS = 10


def data_section(document: Document, lang: Language) -> Section:
    """Facts, checks with the rows that they name, and charts of labels, lengths, copies and identifiers."""
    data = document["dataset"]
    splits = {side: numerals.count(rows) for side, rows in data["splits"].items()}
    facts = Facts(
        (
            (lang.say("data.rows"), Cell(numerals.count(data["rows"]))),
            (lang.say("data.splits"), Cell(lang.say("data.splits_of", **splits))),
            (lang.say("data.format"), Cell(data["format"])),
            (lang.say("data.fingerprint"), hash_cell(data["fingerprint"])),
        )
    )
    profile = data["profile"]
    blocks: list[Block] = [facts, _checks(data["checks"], lang), *_examples(data["checks"], lang)]
    blocks += [*_labels(profile["labels"], lang), *_lengths(profile["lengths"], lang), *_copies(profile["copies"], lang)]
    blocks += [*_identifiers(profile["identifiers"], lang), *_suspects(profile["suspects"], lang)]
    blocks += _rounds(document["rounds"], lang)
    return Section("data", lang.say("section.data"), tuple(blocks))


def _checks(checks: list[Document], lang: Language) -> Table:
    columns = (
        Column(lang.say("data.check")),
        Column(lang.say("data.status")),
        Column(lang.say("data.count"), numeric=True),
        Column(lang.say("data.detail")),
        Column(lang.say("data.remedy")),
    )
    rows = tuple(
        (
            Cell(lang.term("checks", check["name"])),
            Cell(lang.term("statuses", check["status"]), tone=STATUS_TONES.get(check["status"], "")),
            Cell(numerals.count(check["count"])),
            Cell(check["detail"]),
            Cell(check["remedy"] or numerals.DASH),
        )
        for check in checks
    )
    return Table(lang.say("data.checks"), columns, rows)


def _examples(checks: list[Document], lang: Language) -> list[Block]:
    named = [(check, tuple(check["examples"])) for check in checks if check["status"] != "ok" and check["examples"]]
    return [
        Folded(
            lang.say("data.examples", check=lang.term("checks", check["name"]), count=numerals.count(check["count"])),
            (Sentences(examples),),
        )
        for check, examples in named
    ]


def _labels(labels: list[Document], lang: Language) -> list[Block]:
    by_field: dict[str, list[Document]] = defaultdict(list)
    for label in labels:
        by_field[label["field"]].append(label)
    return [_label_figure(field, found, lang) for field, found in list(by_field.items())[:MOST_FIELDS]]


def _label_figure(field: str, labels: list[Document], lang: Language) -> Figure:
    shown = [(label["value"], [label["rows"].get(side, 0) for side in SIDES]) for label in labels[:MOST_BARS]]
    rest = labels[MOST_BARS:]
    if rest:
        sizes = [sum(label["rows"].get(side, 0) for label in rest) for side in SIDES]
        shown.append((lang.say("data.other_labels", count=numerals.count(len(rest))), sizes))
    name = lang.say("data.answers") if field == "label" else lang.say("data.field", field=field)
    parts = tuple(lang.term("sides", side) for side in SIDES)
    bars = tuple(Bar(value, tuple(sizes), numerals.count(sum(sizes))) for value, sizes in shown)
    return _figure(bars, parts, lang.say("data.labels_caption", name=name, count=numerals.count(len(labels))), lang)


def _lengths(bins: list[Document], lang: Language) -> list[Block]:
    if not bins:
        return []
    bars = tuple(
        Bar(
            lang.say("data.characters", low=numerals.count(b["low"]), high=numerals.count(b["high"] - 1)),
            (b["rows"],),
            numerals.count(b["rows"]),
        )
        for b in bins
    )
    return [_figure(bars, (lang.say("data.rows"),), lang.say("data.lengths_caption"), lang)]


def _copies(copies: Document, lang: Language) -> list[Block]:
    if not any(copies.get(kind) for kind in ("exact", "near", "left_out")):
        return []
    bars = tuple(Bar(lang.term("copies", kind), (rows,), numerals.count(rows)) for kind, rows in copies.items())
    return [_figure(bars, (lang.say("data.rows"),), lang.say("data.copies_caption"), lang)]


def _identifiers(identifiers: Document, lang: Language) -> list[Block]:
    if not identifiers:
        return []
    ranked = sorted(identifiers.items(), key=lambda item: -item[1])
    bars = tuple(Bar(lang.term("identifiers", kind), (count,), numerals.count(count)) for kind, count in ranked)
    return [_figure(bars, (lang.say("data.found"),), lang.say("data.identifiers_caption"), lang, x=lang.say("data.found"))]


def _suspects(suspects: list[Document], lang: Language) -> list[Block]:
    if not suspects:
        return []
    columns = (
        Column(lang.say("data.row")),
        Column(lang.say("data.label_field")),
        Column(lang.say("data.given")),
        Column(lang.say("data.predicted")),
    )
    rows = tuple(
        (Cell(s["place"]), Cell(s["field"] or numerals.DASH), Cell(s["given"]), Cell(s["predicted"]))
        for s in suspects[:MOST_SUSPECTS]
    )
    return [Table(lang.say("data.suspects"), columns, rows)]


def _rounds(rounds: list[Document], lang: Language) -> list[Block]:
    if not rounds:
        return []
    columns = (
        Column(lang.say("data.round")),
        Column(lang.say("data.round_rows"), numeric=True),
        Column(lang.say("data.round_value"), numeric=True),
        Column(lang.say("data.round_gain")),
    )
    rows = tuple(
        (
            Cell(numerals.count(each["round"]) if each["round"] else lang.say("data.round_zero")),
            Cell(numerals.count(each["rows"])),
            Cell(numerals.percent_interval(each["value"], each["ci95"])),
            Cell(difference_text(each["gain"], lang) if each["gain"] else numerals.DASH),
        )
        for each in rounds
    )
    return [Table(lang.say("data.rounds"), columns, rows), Paragraph(lang.say("data.rounds_note"))]


def _figure(bars: tuple[Bar, ...], parts: tuple[str, ...], caption: str, lang: Language, x: str | None = None) -> Figure:
    said = "; ".join(f"{bar.label}: {bar.text}" for bar in bars)
    return Figure(BarChart(bars, parts, x or lang.say("data.rows")), f"{caption} {said}", caption)
