"""The sections that let a reader check: conditions, provenance, limitations."""

from __future__ import annotations

from typing import Any

from delivery.report.blocks import Block, Cell, Column, Facts, Folded, Paragraph, Section, Sentences, Table
from delivery.report.language import Language
from delivery.report.making import hash_cell
from delivery.report.systems import Document

FOLD_FROM = 4


def gates_section(document: Document, lang: Language) -> Section:
    """Every condition of promotion, whether it was met, and why."""
    title = lang.say("section.gates")
    columns = (Column(lang.say("gate.name")), Column(lang.say("gate.result")), Column(lang.say("gate.why")))
    rows = tuple(
        (
            Cell(gate["name"].replace("_", " ")),
            Cell(
                f"✓ {lang.say('gate.passed')}" if gate["passed"] else f"✗ {lang.say('gate.failed')}",
                tone="good" if gate["passed"] else "bad",
            ),
            Cell(gate["why"]),
        )
        for gate in document["decision"]["gates"]
    )
    if not rows:
        return Section("gates", title, (Paragraph(lang.say("verdict.no_gates")),))
    return Section("gates", title, (Table(lang.say("gate.caption"), columns, rows),))


def provenance_section(document: Document, lang: Language) -> Section:
    """Versions, seeds and hashes: what it takes to do the same again."""
    facts: list[tuple[str, Cell]] = []
    folded: list[Block] = []
    for key, value in document["provenance"].items():
        name = lang.term("provenance", key)
        if isinstance(value, dict) and len(value) >= FOLD_FROM:
            folded.append(Folded(name, (_mapping(name, value, lang),)))
        else:
            facts.append((name, _value(value, lang)))
    return Section("provenance", lang.say("section.provenance"), (Facts(tuple(facts)), *folded))


def _mapping(name: str, value: dict[str, Any], lang: Language) -> Table:
    columns = (Column(lang.say("provenance.key")), Column(lang.say("provenance.value")))
    return Table(name, columns, tuple((Cell(key), _value(item, lang)) for key, item in value.items()))


def _value(value: Any, lang: Language) -> Cell:
    if value is None or value in ("", {}, []):
        return Cell(lang.say("provenance.none"))
    if isinstance(value, dict):
        return Cell(", ".join(f"{key} {_value(item, lang).text}" for key, item in value.items()))
    if isinstance(value, list):
        return Cell(", ".join(_value(item, lang).text for item in value))
    return hash_cell(value) if isinstance(value, str) else Cell(str(value))


def limitations_section(document: Document, lang: Language) -> Section:
    """What the line itself knows to be missing."""
    sentences = tuple(document["limitations"]) or (lang.say("limitation.none"),)
    return Section("limitations", lang.say("section.limitations"), (Sentences(sentences),))
