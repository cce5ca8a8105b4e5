"""Where a model is weak: parts of an evaluation that score below the rest by more than chance.

Parts are formed from what was known before the model answered: label, field value, length, metadata, and clusters of
similar texts. Clusters are formed of all samples, not of the failed ones: a cluster of failures that was chosen because
its rows failed would look weak on those same rows whatever the model did, and no test on them could tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

Kind = Literal["label", "field", "value", "length", "metadata", "cluster"]

SMALLEST = 5
WEAK_Q = 0.1


@dataclass(frozen=True, slots=True)
class Scored:
    """One sample of an evaluation with what came out. ``correct`` and each of ``fields`` lie between 0 and 1."""

    id: str
    text: str
    expected: str
    output: str | None
    correct: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the samples against the rest. ``score`` and ``rest`` are mean correctness.

    ``p_value`` is one-sided (worse than the rest); ``q_value`` is the p-value adjusted for all slices tested together.
    """

    kind: Kind
    name: str
    n: int
    score: float
    rest: float
    p_value: float
    q_value: float
    ids: tuple[str, ...]

    @property
    def weak(self) -> bool:
        """Whether it stands out: among slices so marked, at most a tenth are expected to be chance."""
        return self.q_value <= WEAK_Q


class _Part(NamedTuple):
    """Rows inside, by index, of those that are compared; ``target`` names the score that is compared."""

    kind: Kind
    name: str
    inside: tuple[int, ...]
    target: str


_ROW = ""
"""The target of parts whose rows are compared by ``correct``; any other target is a field."""


def find_slices(scored: Sequence[Scored], *, seed: int = 7) -> tuple[Slice, ...]:
    """Every slice of at least five samples (and five outside), the most certainly weak first.

    Compared by the samples' own score: ``label`` (expected answers that recur), ``length`` (quarters by characters),
    ``metadata`` (each value of each key) and ``cluster`` (k-means on TF-IDF, named by the words that tell its failures
    from the rest). For an extraction also ``value`` (each recurring value of a field, by that field's score where
    ``fields`` has it) and ``field`` (a field against the other fields of the same samples). Of parts that hold the same
    samples only the first is kept.

    Tests, all one-sided: Fisher's exact test where every score is 0 or 1, otherwise a permutation test of the mean; for
    a field, a permutation of the fields within each sample. Q-values are those of Benjamini and Hochberg ("Controlling
    the false discovery rate", 1995) over all slices. Slices overlap, and under such (positive) dependence the bound
    still holds (Benjamini and Yekutieli, 2001); whoever acts on several slices of the same rows acts once.
    """
    from delivery.dataset.labeling import significance

    rows = list(scored)
    objects = [_object(row.expected) for row in rows]
    parts = [*_distinct(_parts(rows, objects, seed=seed))]
    by_target: dict[str, list[_Part]] = defaultdict(list)
    for part in parts:
        by_target[part.target].append(part)
    tested: list[tuple[_Part | _Field, significance.Tested]] = []
    for target, group in by_target.items():
        scores = [_score(row, found, target) for row, found in zip(rows, objects, strict=True)]
        group = [part for part in group if _leaves_enough(part, scores)]
        tested += zip(group, significance.against_rest(scores, [part.inside for part in group], seed=seed), strict=True)
    tested += [(one, significance.against_others(one.own, one.all, seed=seed)) for one in _fields(rows)]
    adjusted = significance.adjust([result.p_value for _, result in tested])
    slices = [
        Slice(
            kind=part.kind,
            name=part.name,
            n=len(part.inside),
            score=result.score,
            rest=result.rest,
            p_value=result.p_value,
            q_value=q_value,
            ids=tuple(rows[index].id for index in part.inside),
        )
        for (part, result), q_value in zip(tested, adjusted, strict=True)
    ]
    return tuple(sorted(slices, key=lambda one: (one.q_value, one.p_value, one.score, one.kind, one.name)))


class _Field(NamedTuple):
    """One field of an extraction: its score in every row that has it, and the scores of all fields of those rows."""

    kind: Kind
    name: str
    inside: tuple[int, ...]
    own: list[float]
    all: list[list[float]]


def _fields(rows: Sequence[Scored]) -> Iterator[_Field]:
    for name in sorted({name for row in rows for name in row.fields}):
        inside = tuple(index for index, row in enumerate(rows) if name in row.fields and len(row.fields) > 1)
        if len(inside) >= SMALLEST:
            every = [[rows[index].fields[each] for each in sorted(rows[index].fields)] for index in inside]
            yield _Field("field", name, inside, [rows[index].fields[name] for index in inside], every)


def _parts(rows: Sequence[Scored], objects: Sequence[dict[str, Any] | None], *, seed: int) -> Iterator[_Part]:
    yield from _by_value("label", {i: row.expected for i, row in enumerate(rows) if objects[i] is None}, name="")
    for name in sorted({name for found in objects if found for name in found}):
        values = {i: _text(found[name]) for i, found in enumerate(objects) if found is not None and name in found}
        target = name if all(name in rows[i].fields for i in values) else _ROW
        yield from _by_value("value", values, name=name, target=target)
    yield from _by_length(rows)
    for key in sorted({key for row in rows for key in row.metadata}):
        yield from _by_value("metadata", {i: row.metadata[key] for i, row in enumerate(rows) if key in row.metadata}, name=key)
    yield from _by_cluster(rows, seed=seed)


def _by_value(kind: Kind, values: Mapping[int, str], *, name: str, target: str = _ROW) -> Iterator[_Part]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, value in values.items():
        members[value].append(index)
    for value, inside in sorted(members.items()):
        if len(inside) >= SMALLEST:
            yield _Part(kind, f"{name} = {value}" if name else value, tuple(inside), target)


def _by_length(rows: Sequence[Scored]) -> Iterator[_Part]:
    """Four parts of about equal size; rows of one length stay together, so there may be fewer."""
    lengths = sorted(len(row.text) for row in rows)
    edges = sorted({lengths[len(lengths) * quarter // 4 - 1] for quarter in (1, 2, 3, 4)} if len(lengths) >= 4 else ())
    above = -1
    for edge in edges:
        inside = tuple(index for index, row in enumerate(rows) if above < len(row.text) <= edge)
        if len(inside) >= SMALLEST:
            shortest = min(len(rows[index].text) for index in inside)
            yield _Part("length", f"{shortest} to {edge} characters", inside, _ROW)
        above = edge


def _by_cluster(rows: Sequence[Scored], *, seed: int) -> Iterator[_Part]:
    from delivery.dataset.labeling import clusters

    failed = [row.correct < 1 for row in rows]
    for found in clusters.cluster([row.text for row in rows], marked=failed, seed=seed):
        if len(found.inside) >= SMALLEST:
            yield _Part("cluster", ", ".join(found.words), found.inside, _ROW)


def _distinct(parts: Iterator[_Part]) -> Iterator[_Part]:
    seen = set()
    for part in parts:
        key = (part.target, part.inside)
        if key not in seen:
            seen.add(key)
            yield part


def _score(row: Scored, found: Mapping[str, Any] | None, target: str) -> float | None:
    """None where a row takes no part: it is not asked for the field at all."""
    if target == _ROW:
        return row.correct
    return row.fields.get(target) if found is not None and target in found else None


def _leaves_enough(part: _Part, scores: Sequence[float | None]) -> bool:
    return sum(score is not None for score in scores) - len(part.inside) >= SMALLEST


def _object(expected: str) -> dict[str, Any] | None:
    if not expected.lstrip().startswith("{"):
        return None
    try:
        found = orjson.loads(expected)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
