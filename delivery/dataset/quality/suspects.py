"""Labels that are probably wrong, the most suspicious first, for a person to look at.

Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70) counts how many labels are wrong: those where a model that never saw the row finds another label as likely as it
finds that label, on average, in the rows that bear it. Which ones it is, the margin of the label given tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from delivery.artifacts import Check, Example, Suspect
from delivery.artifacts.storing import write_atomic
from delivery.client_config import UseCase
from delivery.dataset.labeling.spreadsheet import table
from delivery.dataset.places import SHOWN, line_of
from delivery.dataset.quality.outoffold import Reading, Target, characters_read, out_of_fold
from delivery.dataset.quality.values import LABEL, SEEN, values_by_field
from delivery.dataset.reading.problems import quoted

NAME = "suspect_labels"
COLUMNS = ("id", "file", "line", "text", "field", "given", "predicted", "margin")
MIN_ROWS = 50
MAX_ROWS = 200_000
MAX_LABELS = 200
MAX_RANKED = 20_000
TRUSTED_FROM = 0.75

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Suspects(NamedTuple):
    """The finding, and every label that the encoder disagrees with, the most suspicious first.

    The check's count says how many of them, from the top, are probably wrong.
    """

    check: Check
    ranked: tuple[Suspect, ...]


def find_suspects(examples: Sequence[Example], use_case: UseCase | None) -> Suspects:
    """Labels of a classification, and fields of few values of an extraction, that do not fit what their rows say.

    Values seen fewer than ``SEEN`` times are not judged, nor are fields about which the texts say nothing to the encoder,
    nor rows beyond ``MAX_ROWS``, which are left out by their hash. The same rows give the same result in any order.
    """
    judged = _sample(examples)
    fields = {name: _Labels(values) for name, values in values_by_field(judged, use_case).items()}
    fields = {name: labels for name, labels in fields.items() if labels.can_be_judged}
    if not fields:
        return Suspects(
            Check(NAME, "ok", 0, f"not measured: no {MIN_ROWS} rows have labels that are each seen {SEEN} times"), ()
        )
    texts = [example.asked for example in judged]
    targets = [Target(labels.given, len(labels.names)) for labels in fields.values()]
    readings = out_of_fold(texts, [example.input_key for example in judged], targets)
    informed = [
        _Field(name, labels, reading)
        for (name, labels), reading in zip(fields.items(), readings, strict=True)
        if reading.informed
    ]
    if not informed:
        return Suspects(Check(NAME, "ok", 0, "not measured: the words of the texts do not tell one label from another"), ())
    ranked = nsmallest(MAX_RANKED, (one for field in informed for one in field.suspects(judged)), key=_suspicion)
    return Suspects(_check(ranked, informed, _bounds(texts, all_rows=len(examples))), tuple(ranked))


def write_review(suspects: Sequence[Suspect], examples: Sequence[Example], path: Path) -> None:
    """Write a CSV for the people who know the labels: ``COLUMNS``, a row a suspect, guarded against formulas.

    The file is written whole or not at all.
    """
    rows = {example.id: example for example in examples}

    def cells(suspect: Suspect) -> dict[str, str]:
        example = rows[suspect.id]
        return {
            "id": suspect.id,
            "file": PurePath(example.source).name,
            "line": str(example.line),
            "text": example.asked,
            "field": suspect.field,
            "given": suspect.given,
            "predicted": suspect.predicted,
            "margin": f"{suspect.margin:.4f}",
        }

    write_atomic(path, table(COLUMNS, map(cells, suspects), numbers=("line", "margin")))


class _Labels:
    """A field's values as numbers: ``given`` is -1 where a value is too rare to be judged."""

    def __init__(self, values: Sequence[str]) -> None:
        self.names = sorted(name for name, rows in Counter(values).items() if rows >= SEEN)
        number = {name: place for place, name in enumerate(self.names)}
        self.given: Ints = np.array([number.get(value, -1) for value in values], np.int64)

    @property
    def can_be_judged(self) -> bool:
        return 2 <= len(self.names) <= MAX_LABELS and int(np.count_nonzero(self.given >= 0)) >= MIN_ROWS


class _Field:
    """What the encoder makes of one field."""

    def __init__(self, name: str, labels: _Labels, reading: Reading) -> None:
        self.name, self._labels = name, labels
        self._rows = np.flatnonzero(labels.given >= 0)
        self._given = labels.given[self._rows]
        self._probabilities = reading.probabilities[self._rows]
        self._predicted = self._probabilities.argmax(axis=1)

    @property
    def judged(self) -> int:
        return len(self._rows)

    @property
    def agreed(self) -> int:
        return int(np.count_nonzero(self._predicted == self._given))

    def count_wrong(self) -> int:
        """Rows off the diagonal of the confident joint (Northcutt et al. 2021, equation 1): the label that reaches its own
        rows' mean probability, and among such labels the likeliest, is another than the one given.
        """
        sums = np.bincount(self._given, self._probabilities[np.arange(self.judged), self._given], len(self._labels.names))
        means = sums / np.bincount(self._given, minlength=len(self._labels.names))
        confident = np.where(self._probabilities >= means, self._probabilities, -1)
        wrong = (confident.argmax(axis=1) != self._given) & (confident.max(axis=1) >= 0)
        return min(int(np.count_nonzero(wrong)), self.judged - self.agreed)

    def suspects(self, examples: Sequence[Example]) -> Iterator[Suspect]:
        """Every row on whose label the encoder disagrees."""
        names = self._labels.names
        for at in np.flatnonzero(self._predicted != self._given):
            example = examples[self._rows[at]]
            given, predicted = int(self._given[at]), int(self._predicted[at])
            own, other = float(self._probabilities[at, given]), float(self._probabilities[at, predicted])
            margin = (own - other) / (own + other)
            yield Suspect(example.id, line_of(example), self.name, names[given], names[predicted], margin)


def _suspicion(suspect: Suspect) -> tuple[float, str, str]:
    return suspect.margin, suspect.id, suspect.field


def _sample(examples: Sequence[Example]) -> Sequence[Example]:
    if len(examples) <= MAX_ROWS:
        return examples
    kept = set(nsmallest(MAX_ROWS, range(len(examples)), key=lambda row: examples[row].input_key))
    return [example for row, example in enumerate(examples) if row in kept]


def _bounds(texts: Sequence[str], *, all_rows: int) -> str:
    """What was not read, as a detail says it."""
    left_out = all_rows - len(texts)
    limit = characters_read(len(texts))
    cut = sum(len(text) > limit for text in texts)
    rows = f"; {left_out} rows beyond {MAX_ROWS}, chosen by hash, were not judged" if left_out else ""
    return rows + (f"; {cut} texts were read up to character {limit}" if cut else "")


def _check(ranked: Sequence[Suspect], fields: Sequence[_Field], bounds: str) -> Check:
    judged, agreed = sum(field.judged for field in fields), sum(field.agreed for field in fields)
    count = min(sum(field.count_wrong() for field in fields), len(ranked))
    named = [field.name for field in fields if field.name != LABEL]
    where = f" (fields {', '.join(named)})" if named else ""
    share = agreed / judged
    basis = f"an encoder that never saw the row agrees with {share:.0%} of {judged} labels{where}"
    if not count:
        return Check(NAME, "ok", 0, f"no label seems wrong: {basis}{bounds}")
    doubt = "" if share >= TRUSTED_FROM else ", so many of these will be right"
    return Check(
        NAME,
        "warn",
        count,
        f"{count} labels may be wrong: {basis}{doubt}{bounds}",
        "review them from the top of the list, correct the wrong ones, and stop where most are right",
        tuple(_shown(one) for one in ranked[: min(SHOWN, count)]),
    )


def _shown(suspect: Suspect) -> str:
    where = f"{suspect.place} (id {suspect.id})" if suspect.place else f"id {suspect.id}"
    field = "labeled" if suspect.field == LABEL else f"{suspect.field} is"
    return f"{where}: {field} {quoted(suspect.given)}, reads like {quoted(suspect.predicted)}"
