"""The sections about running the model: speed and cost."""

from __future__ import annotations

import math
from itertools import chain

from delivery.report import numerals
from delivery.report.blocks import Block, Cell, Column, Facts, Figure, Paragraph, Section, Table
from delivery.report.chart_data import Line, LineChart
from delivery.report.language import Language
from delivery.report.systems import Document, sale_ended

HOURS_PER_MONTH = 730
"""A year of 8,760 hours over twelve; what the cost estimate rents a machine for."""
CHART_MODELS = 3
CHART_POINTS = 120
STAIRS_DRAWN = 60


def latency_section(document: Document, lang: Language) -> Section:
    """Time to the first token and to the whole answer, at each concurrency."""
    title = lang.say("section.latency")
    if not document["latency"]:
        return Section("latency", title, (Paragraph(lang.say("latency.none")),))
    columns = (
        Column(lang.say("latency.concurrency")),
        Column(lang.say("latency.ttft"), numeric=True),
        Column(lang.say("latency.e2e"), numeric=True),
        Column(lang.say("latency.output"), numeric=True),
        Column(lang.say("latency.requests"), numeric=True),
        Column(lang.say("latency.n"), numeric=True),
    )
    rows = tuple(
        (
            Cell(concurrency),
            Cell(_triple(point["ttft_ms"], lang)),
            Cell(_triple(point["e2e_ms"], lang)),
            Cell(numerals.decimal(point["output_tokens_per_second"])),
            Cell(numerals.decimal(point["requests_per_second"], 2)),
            Cell(numerals.count(point["requests"])),
        )
        for concurrency, point in sorted(document["latency"].items(), key=lambda item: int(item[0]))
    )
    intro = Paragraph(lang.say("latency.intro", shipped=document["shipped"]))
    return Section("latency", title, (intro, Table(lang.say("latency.caption"), columns, rows)))


def _triple(percentiles: Document, lang: Language) -> str:
    texts = {name: numerals.milliseconds(percentiles.get(name)) for name in ("p50", "p95", "p99")}
    return lang.say("latency.triple", **texts)


def cost_section(document: Document, lang: Language) -> Section:
    """What a request costs here and at the APIs, and from which volume on owning pays."""
    blocks: list[Block] = [_own(document["cost"], lang), _apis(document, lang)]
    figure = _cost_figure(document["cost"], lang)
    blocks += [figure] if figure else []
    return Section("cost", lang.say("section.cost"), tuple(blocks))


def _own(cost: Document, lang: Language) -> Facts:
    tokens = lang.say(
        "cost.tokens_of",
        prompt=numerals.decimal(cost["prompt_tokens_per_request"]),
        completion=numerals.decimal(cost["completion_tokens_per_request"]),
    )
    requests = numerals.count(cost["requests_per_month"])
    return Facts(
        (
            (lang.say("cost.hardware"), Cell(cost["hardware"])),
            (lang.say("cost.hourly"), Cell(numerals.money(cost["hourly_usd"], digits=4))),
            (lang.say("cost.utilisation"), Cell(numerals.percent(cost["utilisation"]))),
            (lang.say("cost.rate"), Cell(numerals.decimal(cost["requests_per_second"], 2))),
            (lang.say("cost.tokens"), Cell(tokens)),
            (lang.say("cost.per_1000"), Cell(numerals.money(cost["usd_per_1000_requests"]))),
            (lang.say("cost.per_million"), Cell(numerals.money(cost["usd_per_million_tokens"]))),
            (lang.say("cost.monthly", requests=requests), Cell(numerals.money(cost["monthly_usd_own"]))),
            (lang.say("cost.as_of"), Cell(cost["prices_as_of"])),
        )
    )


def _apis(document: Document, lang: Language) -> Table:
    cost = document["cost"]
    volume = numerals.count(cost["requests_per_month"])
    columns = (
        Column(lang.say("cost.model")),
        Column(lang.say("cost.api_per_1000"), numeric=True),
        Column(lang.say("cost.ratio"), numeric=True),
        Column(lang.say("cost.break_even"), numeric=True),
        Column(lang.say("cost.cheaper", requests=volume)),
        Column(lang.say("cost.until")),
        Column(lang.say("cost.source")),
    )
    rows = []
    for model, api in cost["api"].items():
        volume_from = api["break_even_requests_per_month"]
        reference = lang.say("cost.reference") if model == cost["reference_model"] else ""
        rows.append(
            (
                Cell(lang.term("models", model), sub=reference),
                Cell(numerals.money(api["usd_per_1000_requests"])),
                Cell(numerals.ratio(api["ratio"])),
                Cell(lang.say("cost.never") if volume_from is None else numerals.count(volume_from)),
                Cell(lang.say(f"cost.cheaper_{api['cheaper']}")),
                Cell(_until(api, document["created_at"], lang)),
                Cell(api["source"]),
            )
        )
    return Table(lang.say("cost.caption"), columns, tuple(rows))


def _until(api: Document, created_at: str, lang: Language) -> str:
    if api["available_until"] is None:
        return lang.say("cost.still")
    ended = sale_ended(api, created_at)
    return lang.say("cost.ended", date=api["available_until"]) if ended else str(api["available_until"])


def own_monthly(cost: Document, requests: float) -> float:
    """Dollars a month for so many requests, on as many whole machines as they take."""
    capacity = cost["requests_per_second"] * cost["utilisation"] * 3600 * HOURS_PER_MONTH
    return float(max(1, math.ceil(requests / capacity)) * cost["hourly_usd"] * HOURS_PER_MONTH)


def _cost_figure(cost: Document, lang: Language) -> Figure | None:
    volume = cost["requests_per_month"]
    if not cost["requests_per_second"] or not cost["utilisation"] or not cost["hourly_usd"]:
        return None
    lines = [_staircase(cost, *_range(cost), lang)]
    priced = {model: api for model, api in cost["api"].items() if api["usd_per_1000_requests"]}
    ranked = sorted(priced, key=lambda model: (model != cost["reference_model"], -priced[model]["usd_per_1000_requests"]))
    for model in ranked[:CHART_MODELS]:
        price = priced[model]["usd_per_1000_requests"] / 1000
        points = tuple((requests, requests * price) for requests in _range(cost))
        lines.append(Line(lang.term("models", model), points, "baseline"))
    at_volume = [(lines[0].label, own_monthly(cost, volume))]
    at_volume += [(lang.term("models", m), priced[m]["usd_per_1000_requests"] * volume / 1000) for m in ranked[:CHART_MODELS]]
    rows = "; ".join(lang.say("cost.chart_row", label=label, money=numerals.money(usd)) for label, usd in at_volume)
    chart = LineChart(
        lines=tuple(lines),
        x_title=lang.say("cost.x"),
        y_title=lang.say("cost.y"),
        logarithmic=True,
        money=True,
        marker=(volume, lang.say("cost.marker", requests=numerals.count(volume))),
    )
    label = lang.say("cost.chart", requests=numerals.count(volume), rows=rows)
    return Figure(chart, label, lang.say("cost.chart_caption"))


def _range(cost: Document) -> tuple[float, float]:
    """A decade to either side of the client's volume and of the break-even, in requests a month."""
    landmarks = [cost["requests_per_month"], cost["break_even_requests_per_month"] or cost["requests_per_month"]]
    return max(1.0, min(landmarks) / 10), max(landmarks) * 10.0


def _staircase(cost: Document, low: float, high: float, lang: Language) -> Line:
    """The cost of owning: exact steps while they can be told apart, dense points beyond."""
    capacity = own_capacity = cost["requests_per_second"] * cost["utilisation"] * 3600 * HOURS_PER_MONTH
    steps = (
        (machines * own_capacity, machines * own_capacity * (1 + 1e-9))
        for machines in range(max(1, math.ceil(low / capacity)), STAIRS_DRAWN)
    )
    dense = (low * (high / low) ** (i / CHART_POINTS) for i in range(CHART_POINTS + 1))
    volumes = sorted(x for x in chain(dense, *steps) if low <= x <= high)
    points = tuple((x, own_monthly(cost, x)) for x in volumes)
    return Line(lang.say("cost.own", hardware=cost["hardware"]), points, "candidate")
