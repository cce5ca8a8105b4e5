"""Charts as SVG that takes its colours from the page, so one drawing serves light, dark and print.

Labels are drawn, never linked: a chart has no address in it, no script and no element id.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import altair as alt
import vl_convert

from delivery.report.chart_data import Chart, IntervalChart, LineChart

COLOURS = {"candidate": "var(--candidate)", "baseline": "var(--baseline)", "other": "var(--other)"}
INK, QUIET, LINE, PAPER = "var(--ink)", "var(--quiet)", "var(--line)", "var(--paper)"
ROW_HEIGHT = 46
NAMESPACE = re.compile(r' xmlns(?::xlink)?="[^"]*"')


class Drawing(NamedTuple):
    """The same chart for a wide page and for a telephone."""

    wide: str
    narrow: str


def draw(chart: Chart) -> Drawing:
    """Two SVG elements, 680 and 330 units wide, ready to stand inside HTML."""
    build = _interval if isinstance(chart, IntervalChart) else _line
    return Drawing(*(_svg(build(chart, width)) for width in (680, 330)))  # type: ignore[operator]


def _svg(chart: alt.LayerChart) -> str:
    """The SVG of a chart. HTML needs no namespaces, and without them the page holds no address at all."""
    return NAMESPACE.sub("", vl_convert.vegalite_to_svg(chart.to_dict()))


def _configured(chart: alt.LayerChart, width: int, height: int) -> alt.LayerChart:
    return (
        chart.properties(width=width, height=height, autosize={"type": "fit", "contains": "padding"})
        .configure(background="transparent", font="system-ui, sans-serif", aria=False, padding=4)
        .configure_view(stroke=None)
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
    """Dot and whisker, the label above its whisker so that long names fit a narrow page."""
    rows: list[dict[str, Any]] = [
        {
            "place": index,
            "label": row.label,
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
    dot = {"size": 110, "opacity": 1, "strokeWidth": 2.5, "yOffset": 8}
    layers = alt.layer(
        data.mark_rule(strokeWidth=2.5, yOffset=8, y2Offset=8).encode(
            x=alt.X("low:Q", scale=x_scale, title=chart.x_title), x2="high:Q", y=y, color=_role_colour()
        ),
        data.transform_filter("!datum.hollow").mark_point(filled=True, **dot).encode(x=x, y=y, color=_role_colour()),
        data.transform_filter("datum.hollow").mark_point(fill=PAPER, **dot).encode(x=x, y=y, stroke=_role_colour()),
        data.mark_text(align="left", dy=-10, fontSize=13, limit=width - 16).encode(
            x=alt.value(0), y=y, text="label:N", color=alt.value(INK)
        ),
    )
    return _configured(layers, width, ROW_HEIGHT * len(rows) + 40)


def _line(chart: LineChart, width: int) -> alt.LayerChart:
    """Lines, each named at its right end."""
    rows = [
        {"name": str(order), "x": x, "y": y, "role": line.role, "marked": line.marked}
        for order, line in enumerate(chart.lines)
        for x, y in line.points
    ]
    kind = "log" if chart.logarithmic else "linear"
    scale_x = alt.Scale(type=kind, nice=False, zero=False)
    scale_y = alt.Scale(type=kind, zero=not chart.logarithmic)
    count = max(3, width // 110)
    x_axis = alt.Axis(tickCount=count, grid=False, format="~s")
    y_axis = alt.Axis(tickCount=5, format="$~s" if chart.money else "~g")
    x = alt.X("x:Q", title=chart.x_title, scale=scale_x, axis=x_axis)
    y = alt.Y("y:Q", title=chart.y_title, scale=scale_y, axis=y_axis)
    data = alt.Chart(alt.InlineData(values=rows))
    dash = alt.StrokeDash("name:N", scale=alt.Scale(domain=_names(chart), range=_dashes(chart)), legend=None)
    layers = [
        data.mark_line(strokeWidth=2).encode(x=x, y=y, detail="name:N", color=_role_colour(), strokeDash=dash),
        data.transform_filter("datum.marked").mark_point(filled=True, size=45, opacity=1).encode(x=x, y=y, color=_role_colour()),
        *_names_at_ends(chart, x, y),
    ]
    if chart.marker is not None:
        layers += _marker(chart.marker, x, scale_x)
    return _configured(alt.layer(*layers), width, 300 if width > 400 else 280)


def _names(chart: LineChart) -> list[str]:
    return [str(order) for order in range(len(chart.lines))]


def _dashes(chart: LineChart) -> list[list[int]]:
    """Lines of one colour differ in their dashes."""
    patterns = [[1, 0], [6, 3], [2, 3], [8, 3, 2, 3]]
    return [patterns[order % len(patterns)] for order in range(len(chart.lines))]


def _names_at_ends(chart: LineChart, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    ends = [{"x": line.points[-1][0], "y": line.points[-1][1], "label": line.label, "role": line.role} for line in chart.lines]
    mark = alt.Chart(alt.InlineData(values=ends)).mark_text(align="right", dx=-4, dy=-9, fontSize=12, limit=220)
    return [mark.encode(x=x, y=y, text="label:N", color=_role_colour())]


def _marker(marker: tuple[float, str], x: alt.X, scale: alt.Scale) -> list[alt.Chart]:
    data = alt.Chart(alt.InlineData(values=[{"x": marker[0], "label": marker[1]}]))
    rule = data.mark_rule(strokeDash=[3, 3], color=QUIET).encode(x=x)
    text = data.mark_text(align="left", dx=5, fontSize=12, color=QUIET, baseline="top").encode(
        x=x, y=alt.value(2), text="label:N"
    )
    return [rule, text]
