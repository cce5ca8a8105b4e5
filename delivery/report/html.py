"""The report as one HTML page that asks nothing of any other machine: styles and charts are inside it."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from delivery.report.blocks import Figure
from delivery.report.charts import draw
from delivery.report.language import language
from delivery.report.page import build_page
from delivery.report.systems import Document

TEMPLATES = Path(__file__).with_name("templates")


def render(document: Document, *, code: str = "en") -> str:
    """The page of a ``delivery.report/1`` document, in the language of a code.

    Everything that came from outside is escaped; a content security policy in the page forbids scripts and requests.
    """
    lang = language(code)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    page = build_page(document, lang)
    template = environment.get_template("report.html.j2")
    return template.render(page=page, say=lang.say, style=style, draw=_draw)


def _draw(figure: Figure) -> dict[str, Markup]:
    """A figure's SVG in both widths; the drawing escapes the labels itself."""
    drawing = draw(figure.chart)
    return {"wide": Markup(drawing.wide), "narrow": Markup(drawing.narrow)}
