"""From outcomes to what a person reads: mistakes beside the baseline's answers, confusions, changes, clean scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson

from delivery.artifacts import (
    Analysis,
    Changes,
    CleanScores,
    Confusion,
    Estimate,
    Sample,
    Scored,
    ShownAnswer,
    ShownSample,
    Suite,
    SystemName,
    SystemResult,
)
from delivery.evaluation.scoring.parsing import first_json_object
from delivery.evaluation.suites.contamination import restricted, without

SHOWN = 8
LONGEST = 200
"""Characters of a field's value by which mistakes are told apart."""
MOST_CONFUSIONS = 400
_BESIDE: tuple[SystemName, ...] = ("baseline", "base")


class _Named(NamedTuple):
    system: SystemName
    by_id: Mapping[str, Scored]


def analyse(suite: Suite, systems: Sequence[SystemResult]) -> Analysis | None:
    """The candidate's mistakes beside the baseline's answers (or the base model's); None without a candidate.

    Where a judge should have decided and gave no verdict, samples of the suite as they come.

    Samples that the other got right come first, then those of other clusters, in the suite's order.
    """
    results = {result.system: _Named(result.system, {s.sample_id: s for s in result.samples}) for result in reversed(systems)}
    candidate = results.get("candidate")
    if candidate is None:
        return None
    other = next((results[name] for name in _BESIDE if name in results and results[name].by_id), None)
    scored = [s for s in candidate.by_id.values() if s.correct is not None]
    wrong = {s.sample_id for s in scored if not s.correct}
    unknown = suite.judged and not scored
    missed = [sample for sample in suite.samples if unknown or sample.id in wrong]
    missed.sort(key=lambda sample: other is None or not _right(other, sample.id))
    beside = [candidate, *([other] if other else [])]
    baseline = results.get("baseline")
    return Analysis(
        wrong=len(wrong),
        scored=len(scored),
        samples=tuple(_shown(sample, beside) for sample in missed[:SHOWN]),
        confusions=tuple(_confusions(suite, candidate, baseline if baseline and baseline.by_id else None)),
        changes=_changes(suite, candidate, results["champion"]) if "champion" in results else None,
    )


def clean_scores(suite: Suite, systems: Sequence[SystemResult], contaminated: Collection[str]) -> CleanScores:
    """Every system's primary metric without the samples (by id) that the training rows hold.

    A published score has no samples and is left out; so is everything where no clean sample is left.
    """
    values: dict[SystemName, Estimate] = {}
    clean = without(suite, contaminated)
    kept = {sample.id for sample in clean.samples}
    for result in systems if len(kept) < len(suite.samples) else ():
        if result.system not in values and any(s.sample_id in kept and s.correct is not None for s in result.samples):
            values[result.system] = restricted(result, clean).metrics[suite.primary_metric]
    return CleanScores(len(suite.samples) - len(kept), len(kept), values)


def _right(system: _Named, sample_id: str) -> bool:
    found = system.by_id.get(sample_id)
    return found is not None and found.correct is True


def _shown(sample: Sample, systems: Sequence[_Named]) -> ShownSample:
    asked = next((message.content for message in reversed(sample.messages) if message.role == "user"), "")
    answers = []
    for system in systems:
        scored = system.by_id.get(sample.id)
        if scored is not None:
            said = scored.output if scored.output is not None else scored.error or ""
            answers.append(ShownAnswer(system.system, said, scored.correct))
    return ShownSample(sample.id, asked, sample.expected, tuple(answers))


def _changes(suite: Suite, candidate: _Named, champion: _Named) -> Changes:
    fixed, broken = [], []
    for sample in suite.samples:
        ours, theirs = candidate.by_id.get(sample.id), champion.by_id.get(sample.id)
        if ours is None or theirs is None or ours.correct is None or theirs.correct is None:
            continue
        if ours.correct and not theirs.correct:
            fixed.append(sample)
        elif theirs.correct and not ours.correct:
            broken.append(sample)
    chosen = [*broken[: SHOWN // 2], *fixed[: SHOWN // 2]]
    return Changes(len(fixed), len(broken), tuple(_shown(sample, (candidate, champion)) for sample in chosen))


class _Pair(NamedTuple):
    field: str
    expected: str
    said: str


def _confusions(suite: Suite, candidate: _Named, baseline: _Named | None) -> Iterator[Confusion]:
    if suite.scorer not in ("classification", "extraction"):
        return
    pairs = _label_pairs if suite.scorer == "classification" else _field_pairs
    ours = Counter(pair for scored in candidate.by_id.values() for pair in pairs(scored))
    theirs = Counter(pair for scored in baseline.by_id.values() for pair in pairs(scored)) if baseline else Counter()
    order = sorted(ours | theirs, key=lambda pair: (pair.expected == pair.said, -ours[pair], -theirs[pair], pair))
    for pair in order[:MOST_CONFUSIONS]:
        yield Confusion(pair.expected, pair.said, ours[pair], theirs[pair] if baseline else None, pair.field)


def _label_pairs(scored: Scored) -> Iterator[_Pair]:
    if scored.correct is not None:
        yield _Pair("", scored.expected, scored.parsed or "")


def _field_pairs(scored: Scored) -> Iterator[_Pair]:
    """The fields of an extraction that were answered wrongly."""
    if scored.correct is not False:
        return
    expected = first_json_object(scored.expected) or {}
    said = first_json_object(scored.parsed or "") if scored.valid else None
    for name, value in expected.items():
        found = _text((said or {}).get(name)) if said is not None else ""
        if found.strip().casefold() != _text(value).strip().casefold():
            yield _Pair(name, _text(value)[:LONGEST], found[:LONGEST])


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
