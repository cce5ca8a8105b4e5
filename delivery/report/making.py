"""The sections about how the model was made: training, artifacts."""

from __future__ import annotations

from delivery.report import numerals
from delivery.report.blocks import Block, Cell, Column, Facts, Figure, Folded, Heading, Section, Sentences, Table
from delivery.report.chart_data import Line, LineChart
from delivery.report.headline import VERDICT_TONES
from delivery.report.language import Language
from delivery.report.results import difference_text
from delivery.report.systems import Document

_TAKEN = ("seconds", "peak_memory_bytes", "usd")


def hash_cell(value: str) -> Cell:
    """A hash cut short, with the whole one at hand."""
    return Cell(numerals.short_hash(value), title=value)


def training_section(document: Document, lang: Language) -> Section:
    """Base model, plan against measurement, and the loss."""
    training, base = document["training"], document["base_model"]
    detail = lang.say(
        "training.base_detail",
        parameters=numerals.count(base["parameters"]),
        licence=base["licence"],
        source=base["source"],
    )
    tokens = lang.say(
        "training.loss_tokens_of",
        supervised=numerals.count(training["supervised_tokens"]),
        tokens=numerals.count(training["tokens"]),
    )
    facts = Facts(
        (
            (lang.say("training.base_model"), Cell(base["name"], sub=detail, title=base["sha256"])),
            (lang.say("training.device"), Cell(training["device"])),
            (lang.say("training.loss_tokens"), Cell(tokens)),
        )
    )
    blocks: list[Block] = [facts, _planned_and_measured(training, lang)]
    figure = _loss_figure(training, lang)
    blocks += [figure] if figure else []
    if told := (*training["notes"], *training["incidents"]):
        blocks.append(Sentences(told))
    if training["plan"]["why"]:
        blocks.append(Folded(lang.say("training.why"), (Sentences(tuple(training["plan"]["why"])),)))
    return Section("training", lang.say("section.training"), tuple(blocks))


def _planned_and_measured(training: Document, lang: Language) -> Table:
    plan = training["plan"]
    # Documents from before both stood side by side have neither.
    predicted, measured = (training.get(side) or dict.fromkeys(_TAKEN) for side in ("predicted", "measured"))
    rank, planned_rank = (
        lang.say("training.rank_of", rank=source["rank"], alpha=source["alpha"]) for source in (training, plan)
    )
    rows = (
        ("method", plan["method"], training["method"]),
        ("rank", planned_rank, rank),
        ("epochs", numerals.decimal(plan["epochs"], 2), numerals.decimal(training["epochs"], 2)),
        ("steps", numerals.count(plan["steps"]), numerals.count(training["steps"])),
        ("batch_size", numerals.count(plan["batch_size"]), numerals.DASH),
        ("learning_rate", numerals.significant(plan["learning_rate"], 2), numerals.DASH),
        ("seconds", numerals.duration(predicted["seconds"]), numerals.duration(measured["seconds"])),
        ("steps_alone", numerals.DASH, numerals.duration(training["seconds"])),
        ("peak", numerals.file_size(predicted["peak_memory_bytes"]), numerals.file_size(measured["peak_memory_bytes"])),
        ("money", numerals.money(predicted["usd"]), numerals.money(measured["usd"])),
        ("speed", numerals.DASH, numerals.count(training["tokens_per_second"])),
        ("useful", numerals.DASH, numerals.percent(training["effective_training_time"])),
        ("matrix", numerals.DASH, numerals.percent(training["matrix_rate_share"])),
    )
    columns = (
        Column(lang.say("training.quantity")),
        Column(lang.say("training.planned"), numeric=True),
        Column(lang.say("training.measured"), numeric=True),
    )
    cells = tuple((Cell(lang.say(f"training.{key}")), Cell(before), Cell(after)) for key, before, after in rows)
    return Table(lang.say("training.table"), columns, cells)


def _loss_figure(training: Document, lang: Language) -> Figure | None:
    losses, kept = training["losses"], training.get("kept_step", 0)
    train = tuple((p["step"], p["loss"]) for p in losses if p["loss"] is not None)
    validation = tuple((p["step"], p["validation"]) for p in losses if p["validation"] is not None)
    if len(train) < 2:
        return None
    label = lang.say("training.chart", **_ends(train))
    lines = [Line(lang.say("training.train"), train, "candidate")]
    if validation:
        label += " " + lang.say("training.chart_validation", **_ends(validation))
        lines.append(Line(lang.say("training.validation"), validation, "baseline", marked=True))
    # Where the last step's weights ship there is nothing to mark.
    marker = (float(kept), lang.say("training.kept", step=numerals.count(kept))) if 0 < kept < train[-1][0] else None
    chart = LineChart(tuple(lines), lang.say("training.x"), lang.say("training.y"), marker=marker)
    return Figure(chart, label, lang.say("training.caption"))


def _ends(points: tuple[tuple[float, float], ...]) -> dict[str, str]:
    (first_step, first), (last_step, last) = points[0], points[-1]
    return {
        "first": numerals.significant(first),
        "first_step": numerals.count(first_step),
        "last": numerals.significant(last),
        "last_step": numerals.count(last_step),
    }


def artifacts_section(document: Document, lang: Language) -> Section:
    """The files that were made, and what each form of them costs in quality."""
    columns = (
        Column(lang.say("artifact.format")),
        Column(lang.say("artifact.size"), numeric=True),
        Column(lang.say("artifact.files"), numeric=True),
        Column(lang.say("artifact.sha256")),
    )
    rows = tuple(
        (
            Cell(each["format"], sub=lang.say("artifact.shipped") if each["format"] == document["shipped"] else ""),
            Cell(numerals.file_size(each["bytes"])),
            Cell(numerals.count(len(each["files"]))),
            hash_cell(each["sha256"]),
        )
        for each in document["artifacts"]
    )
    blocks: list[Block] = [Table(lang.say("artifact.caption"), columns, rows)]
    blocks += _recovery(document["recovery"], lang)
    blocks.append(Folded(lang.say("artifact.all_files"), (_files(document["artifacts"], lang),)))
    return Section("artifacts", lang.say("section.artifacts"), tuple(blocks))


def _files(artifacts: list[Document], lang: Language) -> Table:
    columns = (Column(lang.say("artifact.file")), Column(lang.say("artifact.sha256")))
    rows = tuple(
        (Cell(f"{each['format']}/{name}"), Cell(sha256)) for each in artifacts for name, sha256 in each["files"].items()
    )
    return Table(lang.say("artifact.all_files"), columns, rows)


def _recovery(recovery: list[Document], lang: Language) -> list[Block]:
    if not recovery:
        return []
    columns = (
        Column(lang.say("artifact.format")),
        Column(lang.say("artifact.suite")),
        Column(lang.say("artifact.value"), numeric=True),
        Column(lang.say("artifact.difference"), numeric=True),
        Column(lang.say("artifact.verdict")),
    )
    rows = tuple(
        (
            Cell(each["format"]),
            Cell(lang.term("suites", each["suite"])),
            Cell(numerals.percent(each["value"])),
            Cell(difference_text(each, lang)),
            Cell(lang.term("verdicts", each["verdict"]), tone=VERDICT_TONES.get(each["verdict"], "")),
        )
        for each in recovery
    )
    return [Heading(lang.say("artifact.recovery")), Table(lang.say("artifact.recovery_caption"), columns, rows)]
