"""Do labelers agree, and what is the label where several saw a row?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from delivery.artifacts import Example, Message, write_atomic
from delivery.client_config import UseCase
from delivery.dataset.labeling.labels import Label, Labels, as_object, canonical, refuse_two_minds
from delivery.dataset.labeling.pool import Unlabeled
from delivery.dataset.labeling.spreadsheet import table
from delivery.dataset.reading.problems import BadRow, Problems, quoted

ABSENT = "(absent)"
"""The value of a field that a labeler left out; JSON text is never in parentheses."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row of which labelers said different things: (labeler, answer) each. ``settled`` is the majority's, or empty."""

    id: str
    text: str
    said: tuple[tuple[str, str], ...]
    settled: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a labeling round brings.

    ``examples`` are the rows with one label, or one that more than half of their labelers gave. ``alpha`` is
    Krippendorff's, over all fields of an extraction together and for each in ``alpha_by_field``; None where it is
    undefined, and then ``alpha_note`` says why. ``overlapping`` counts the rows that several labelers saw, ``pending``
    the rows with no label yet.
    """

    examples: tuple[Example, ...]
    alpha: float | None
    alpha_by_field: Mapping[str, float | None]
    alpha_note: str
    disagreements: tuple[Disagreement, ...]
    labelers: Mapping[str, int]
    overlapping: int
    pending: int

    @property
    def unsettled(self) -> tuple[Disagreement, ...]:
        """The disagreements without a majority: their rows are not among the examples."""
        return tuple(one for one in self.disagreements if not one.settled)


def agree(labels: Labels, rows: Sequence[Unlabeled], *, use_case: UseCase | None) -> Agreed:
    """Join labels to the rows that they are about, and settle rows that several labelers saw by strict majority.

    ``rows`` are the queue's or the pool's (``read_unlabeled``): a label file is trusted for labels alone, because a
    spreadsheet may have changed its texts. A row is found by its id or, where a spreadsheet reshaped that, by its text.
    Examples carry the use case's system prompt as those of ``load`` do, and the place of their first label.

    Raises:
        RowProblems: a label is about no row; names the first by file and line, and holds up to 20.
    """
    by_row, problems = _joined(labels.given, rows)
    problems.raise_if_any()
    system = (Message("system", use_case.system_prompt),) if use_case is not None else ()
    examples, disagreements = [], []
    for row in rows:
        given = by_row.get(row.id, [])
        if not given:
            continue
        settled = _majority(given)
        if len({canonical(label.answer) for label in given}) > 1:
            said = tuple((label.labeler, label.answer) for label in given)
            disagreements.append(Disagreement(row.id, row.text, said, settled))
        if settled:
            messages = row.messages if row.messages[0].role == "system" else (*system, *row.messages)
            place = given[0]
            examples.append(Example(row.id, messages, settled, metadata=row.metadata, source=place.source, line=place.line))
    several = [given for given in by_row.values() if len(given) > 1]
    by_field = _by_field(several)
    value = alpha(list(by_field.values()))
    return Agreed(
        examples=tuple(examples),
        alpha=value,
        alpha_by_field={name: alpha([units]) for name, units in by_field.items() if name},
        alpha_note=_why_none(several) if value is None else "",
        disagreements=tuple(disagreements),
        labelers=dict(Counter(label.labeler for label in labels.given)),
        overlapping=len(several),
        pending=len(labels.pending),
    )


def alpha(fields: Sequence[Sequence[Sequence[str]]]) -> float | None:
    """Krippendorff's alpha for nominal values; None where fewer than two values can be paired or only one occurs.

    ``fields`` holds, for each field, the values that each unit was given. One minus the disagreement observed over that
    expected by chance (Krippendorff, "Content Analysis", 4th edition, 2018, chapter 12). A unit with one value tells
    nothing and is passed over. Of several fields, both disagreements are summed over the fields before dividing: values
    of one field are never expected in another, so that many fields do not make chance agreement look rare.
    """
    observed = expected = 0.0
    for units in fields:
        totals: Counter[str] = Counter()
        for unit in units:
            if len(unit) > 1:
                counts = Counter(unit)
                totals.update(counts)
                observed += _unequal_pairs(counts) / (len(unit) - 1)
        if totals.total() > 1:
            expected += _unequal_pairs(totals) / (totals.total() - 1)
    return 1 - observed / expected if expected else None


def write_disagreements(disagreements: Iterable[Disagreement], path: Path) -> None:
    """Write the rows to talk about as CSV, whole or not at all.

    Columns: id, text, said (who said what), settled (by majority, or empty), and label and labeler to be filled in: the
    file comes back the way a queue does.
    """
    rows = [
        {
            "id": one.id,
            "text": one.text,
            "said": "; ".join(f"{who}: {answer}" for who, answer in one.said),
            "settled": one.settled,
        }
        for one in disagreements
    ]
    write_atomic(path, table(("id", "text", "said", "settled", "label", "labeler"), rows))


def _unequal_pairs(counts: Counter[str]) -> int:
    """Ordered pairs of different values."""
    return counts.total() ** 2 - sum(count**2 for count in counts.values())


class _Joined(NamedTuple):
    by_row: dict[str, list[Label]]
    problems: Problems


def _joined(given: Sequence[Label], rows: Sequence[Unlabeled]) -> _Joined:
    known = {row.id for row in rows}
    by_text: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_text[_folded(row.text)].append(row.id)
    by_row: dict[str, dict[str, Label]] = defaultdict(dict)
    problems = Problems()
    for label in given:
        alike = by_text.get(_folded(label.text), []) if label.text else []
        name = label.id if label.id in known else alike[0] if len(alike) == 1 else None
        if name is None:
            what = f"{quoted(label.id)} is the id of no row that was asked for, and its text is that of none"
            problems.add(label.source, label.line, BadRow(f"{what}; keep the queue's ids", field="id"))
            continue
        try:
            refuse_two_minds(label, by_row[name].setdefault(label.labeler, label))
        except BadRow as bad:
            problems.add(label.source, label.line, bad)
    return _Joined({name: list(said.values()) for name, said in by_row.items()}, problems)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _majority(given: Sequence[Label]) -> str:
    """The answer of more than half of the labelers as the first of them wrote it, or nothing."""
    counts = Counter(canonical(label.answer) for label in given)
    answer, times = counts.most_common(1)[0]
    if 2 * times <= len(given):
        return ""
    return next(label.answer for label in given if canonical(label.answer) == answer)


def _by_field(several: Sequence[Sequence[Label]]) -> dict[str, list[list[str]]]:
    """Field -> the values that each row was given. A row with an answer that is no object has the one field ``""``."""
    units: dict[str, list[list[str]]] = defaultdict(list)
    names = sorted({name for given in several for label in given for name in as_object(label.answer) or {}})
    for given in several:
        objects = [as_object(label.answer) for label in given]
        if any(found is None for found in objects):
            units[""].append([canonical(label.answer) for label in given])
            continue
        for name in names:
            values = [_value(found[name]) if found and name in found else ABSENT for found in objects]
            if set(values) != {ABSENT}:
                units[name].append(values)
    return units


def _value(value: object) -> str:
    """A field's value as the scorer compares it: strings stripped and case-folded."""
    folded = value.strip().casefold() if isinstance(value, str) else value
    return orjson.dumps(folded, option=orjson.OPT_SORT_KEYS).decode()


def _why_none(several: Sequence[Sequence[Label]]) -> str:
    if not several:
        return "no row was labeled by two labelers, so agreement is not known"
    return "every label given to these rows is the same one, so chance agreement cannot be told from real agreement"
