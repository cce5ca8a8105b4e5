"""Charts as SVG that takes its colours from the page, so one drawing serves light, dark and print.

Labels are drawn, never linked: a chart has no address in it, no script and no element id.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import altair as alt
import vl_convert

from delivery.report.chart_data import BarChart, Chart, GridChart, IntervalChart, LineChart

COLOURS = {"candidate": "var(--candidate)", "baseline": "var(--baseline)", "other": "var(--other)"}
INK, QUIET, LINE, PAPER = "var(--ink)", "var(--quiet)", "var(--line)", "var(--paper)"
DASHES = [[1, 0], [6, 3], [2, 3], [8, 3, 2, 3]]
NAMESPACE = re.compile(r' xmlns(?::xlink)?="[^"]*"')
MONEY = "datum.value < 1 ? format(datum.value, '$~g') : format(datum.value, '$~s')"
"""A tick in dollars: below one the suffix would be m, which reads as million."""


class Drawing(NamedTuple):
    """The same chart for a wide page and for a telephone."""

    wide: str
    narrow: str


def draw(chart: Chart) -> Drawing:
    """Two SVG elements, 680 and 330 units wide, ready to stand inside HTML."""
    return Drawing(wide=_svg(chart, 680), narrow=_svg(chart, 330))


def _svg(chart: Chart, width: int) -> str:
    """The SVG of a chart. HTML needs no namespaces, and without them the page holds no address at all."""
    match chart:
        case IntervalChart():
            drawn = _interval(chart, width)
        case BarChart():
            drawn = _bars(chart, width)
        case LineChart():
            drawn = _line(chart, width)
        case GridChart():
            drawn = _grid(chart, width)
    return NAMESPACE.sub("", vl_convert.vegalite_to_svg(drawn.to_dict(validate=False)))


def _configured(chart: alt.LayerChart, width: int, height: int) -> alt.LayerChart:
    return (
        chart.properties(width=width, height=height, autosize={"type": "fit", "contains": "padding"})
        .configure(background="transparent", font="system-ui, sans-serif", aria=False, padding=4)
        .configure_view(stroke=None)
        .configure_legend(labelColor=INK, labelFontSize=12)
        .configure_axis(
            labelColor=QUIET,
            titleColor=QUIET,
            gridColor=LINE,
            domainColor=LINE,
            tickColor=LINE,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
    )


def _role_colour() -> alt.Color:
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    return alt.Color("role:N", scale=scale, legend=None)


def _interval(chart: IntervalChart, width: int) -> alt.LayerChart:
    """Dot and whisker under what they mean: one line of it on a wide page, two on a narrow one."""
    wide = width > 400
    rows: list[dict[str, Any]] = [
        {
            "place": index,
            "label": f"{row.label}  {row.text}" if wide else row.label,
            "text": row.text,
            "value": row.value,
            "low": row.low,
            "high": row.high,
            "role": row.role,
            "hollow": row.hollow,
        }
        for index, row in enumerate(chart.rows)
    ]
    low, high = min(row.low for row in chart.rows), max(row.high for row in chart.rows)
    room = max((high - low) * 0.06, 1.0)
    domain = [max(0.0, low - room), min(100.0, high + room)]
    data = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y("place:O", axis=None)
    x_scale = alt.Scale(domain=domain, nice=False, zero=False)
    x = alt.X("value:Q", title=chart.x_title, scale=x_scale, axis=alt.Axis(tickCount=6))
    below = 8 if wide else 14
    dot = {"size": 110, "opacity": 1, "strokeWidth": 2.5, "yOffset": below}
    layers = alt.layer(
        data.mark_rule(strokeWidth=2.5, yOffset=below, y2Offset=below).encode(
            x=alt.X("low:Q", scale=x_scale, title=chart.x_title), x2="high:Q", y=y, color=_role_colour()
        ),
        data.transform_filter("!datum.hollow").mark_point(filled=True, **dot).encode(x=x, y=y, color=_role_colour()),
        data.transform_filter("datum.hollow").mark_point(fill=PAPER, **dot).encode(x=x, y=y, stroke=_role_colour()),
        *(
            data.mark_text(align="left", dy=dy, fontSize=13, limit=width - 16).encode(
                x=alt.value(0), y=y, text=field, color=alt.value(INK)
            )
            for field, dy in ((("label:N", -10),) if wide else (("label:N", -20), ("text:N", -5)))
        ),
    )
    return _configured(layers, width, (46 if wide else 62) * len(rows) + 40)


def _line(chart: LineChart, width: int) -> alt.LayerChart:
    """Lines told apart by colour and dashes, named above the plot."""
    rows = [{"name": line.label, "x": x, "y": y, "marked": line.marked} for line in chart.lines for x, y in line.points]
    kind = "log" if chart.logarithmic else "linear"
    x_axis = alt.Axis(tickCount=max(3, width // 110), grid=False, format="~s")
    y_axis = alt.Axis(tickCount=5, labelExpr=MONEY if chart.money else "format(datum.value, '~g')")
    x = alt.X("x:Q", title=chart.x_title, scale=alt.Scale(type=kind, nice=False, zero=False), axis=x_axis)
    y = alt.Y("y:Q", title=chart.y_title, scale=alt.Scale(type=kind, zero=not chart.logarithmic), axis=y_axis)
    names = [line.label for line in chart.lines]
    legend = alt.Legend(
        orient="top",
        title=None,
        columns=2 if width < 400 else 4,
        symbolType="stroke",
        symbolSize=400,
        columnPadding=20,
        labelLimit=150,
    )
    colour = alt.Color(
        "name:N", scale=alt.Scale(domain=names, range=[COLOURS[line.role] for line in chart.lines]), legend=legend
    )
    dash = alt.StrokeDash(
        "name:N", scale=alt.Scale(domain=names, range=[DASHES[i % len(DASHES)] for i in range(len(names))]), legend=legend
    )
    data = alt.Chart(alt.InlineData(values=rows))
    layers = [
        data.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash),
        data.transform_filter("datum.marked").mark_point(filled=True, size=45, opacity=1).encode(x=x, y=y, color=colour),
    ]
    return _configured(alt.layer(*layers, *_marker(chart, x)), width, 300)


def _bars(chart: BarChart, width: int) -> alt.LayerChart:
    """Bars with their names above them and their numbers beside them, so that no name is too long."""
    rows = [
        {"place": place, "part": name, "order": order, "rows": size, "label": bar.label, "text": bar.text}
        for place, bar in enumerate(chart.bars)
        for order, (name, size) in enumerate(zip(chart.parts, bar.parts, strict=True))
    ]
    longest = max(sum(bar.parts) for bar in chart.bars)
    data = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y("place:O", axis=None)
    room = 1.0 + (60 if width > 400 else 110) / width
    scale = alt.Scale(domain=[0, longest * room], nice=False)
    axis = alt.Axis(tickCount=max(3, width // 130), format="~s")
    legend = alt.Legend(orient="top", title=None, labelLimit=200) if len(chart.parts) > 1 else None
    colours = [COLOURS["candidate"], COLOURS["baseline"], COLOURS["other"]][: len(chart.parts)]
    bars = data.mark_bar(height=10, yOffset=8).encode(
        x=alt.X("rows:Q", title=chart.x_title, scale=scale, axis=axis, stack="zero"),
        y=y,
        color=alt.Color("part:N", scale=alt.Scale(domain=list(chart.parts), range=colours), legend=legend),
        order=alt.Order("order:Q"),
    )
    heads = [{"place": place, "label": f"{bar.label}: {bar.text}"} for place, bar in enumerate(chart.bars)]
    names = (
        alt.Chart(alt.InlineData(values=heads))
        .mark_text(align="left", dy=-7, fontSize=12, limit=width - 16)
        .encode(x=alt.value(0), y=y, text="label:N", color=alt.value(INK))
    )
    return _configured(alt.layer(bars, names), width, 34 * len(chart.bars) + 70)


def _marker(chart: LineChart, x: alt.X) -> list[alt.Chart]:
    """A rule with its name on the side that has more room."""
    if chart.marker is None:
        return []
    place, label = chart.marker
    xs = [at for line in chart.lines for at, _ in line.points]
    middle = math.sqrt(min(xs) * max(xs)) if chart.logarithmic else (min(xs) + max(xs)) / 2
    align, dx = ("left", 5) if place < middle else ("right", -5)
    data = alt.Chart(alt.InlineData(values=[{"x": place, "label": label}]))
    rule = data.mark_rule(strokeDash=[3, 3], color=QUIET).encode(x=x)
    text = data.mark_text(align=align, dx=dx, fontSize=12, color=QUIET, baseline="top")
    return [rule, text.encode(x=x, y=alt.value(2), text="label:N")]


def _grid(chart: GridChart, width: int) -> alt.LayerChart:
    """Cells shaded by their share of the row, right answers on the diagonal in the candidate's colour."""
    counts = {(cell.row, cell.column): cell for cell in chart.cells}
    rows: list[dict[str, Any]] = [
        {"row": row, "column": column, "count": cell.count, "share": cell.share, "right": row == column}
        for row in chart.rows
        for column in chart.columns
        if (cell := counts.get((row, column))) is not None and cell.count
    ]
    limit = max(60, width // (len(chart.columns) + 2))
    data = alt.Chart(alt.InlineData(values=rows))
    x = alt.X(
        "column:N",
        title=chart.column_title,
        sort=list(chart.columns),
        scale=alt.Scale(domain=list(chart.columns)),
        axis=alt.Axis(orient="top", labelLimit=limit, labelAngle=0 if len(chart.columns) <= 5 and width > 400 else -40),
    )
    y = alt.Y(
        "row:N",
        title=chart.row_title,
        sort=list(chart.rows),
        scale=alt.Scale(domain=list(chart.rows)),
        axis=alt.Axis(labelLimit=140 if width > 400 else 90, titlePadding=14),
    )
    colour = alt.Color(
        "right:N",
        scale=alt.Scale(domain=[True, False], range=[COLOURS["candidate"], COLOURS["baseline"]]),
        legend=None,
    )
    shade = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.1, 0.75]), legend=None)
    layers = alt.layer(
        data.mark_rect(stroke=PAPER, strokeWidth=2).encode(x=x, y=y, color=colour, opacity=shade),
        data.mark_text(fontSize=13).encode(x=x, y=y, text="count:Q", color=alt.value(INK)),
    )
    return _configured(layers, width, 34 * len(chart.rows) + 90)
