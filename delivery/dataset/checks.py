"""What is worth knowing about the data before anything is trained on it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from delivery.artifacts import (
    Check,
    DataReport,
    Example,
    Intake,
    LabeledDataset,
    OnProgress,
    Progress,
    Splits,
    Suspect,
    no_progress,
)
from delivery.client_config import UseCase
from delivery.dataset.leakage import Alike, leakage, near_duplicates, shared_passages, suite_leakage
from delivery.dataset.places import SHOWN, Pair, place_of
from delivery.dataset.profile import profile_of

RARE_BELOW = 5
TEMPLATE_TOKENS, TURN_TOKENS = 512, 32
"""More than the chat templates of open models add to a conversation, and to each turn."""
SUSPECTS_KEPT = 500
"""The most suspicious labels that a report keeps for review."""


@dataclass(frozen=True)
class Lengths:
    """What the base model reads. ``count_tokens`` gives the tokens of a whole row, answer included, under its template."""

    count_tokens: Callable[[Example], int]
    context_length: int


@dataclass(frozen=True)
class Context:
    """What rows are checked against: without ``lengths`` they are not measured, and so on.

    ``suites`` holds the sample texts of further suites, which training rows must not know; ``intake`` what was found before
    the rows were stored.
    """

    use_case: UseCase | None = None
    lengths: Lengths | None = None
    suites: Mapping[str, Sequence[str]] = field(default_factory=dict)
    intake: Intake = field(default_factory=Intake)


SCALING = frozenset(
    {"schema", "empty", "exact_duplicates", "near_duplicates", "conflicting_labels", "leakage_exact", "leakage_near"}
)
"""The checks that a million rows can bear."""


def check(
    dataset: LabeledDataset,
    splits: Splits,
    context: Context,
    *,
    only: Collection[str] | None = None,
    on_progress: OnProgress = no_progress,
) -> DataReport:
    """Report on rows that ``load`` accepted and ``split`` divided. ``only`` names the checks to make, all by default."""
    examples = dataset.examples
    alike = Alike(examples, splits)
    several = [rows for rows in alike.by_input.values() if len(rows) > 1]
    from delivery.dataset.quality import text_checks

    suspects: list[Suspect] = []

    def suspect_labels() -> Check:
        from delivery.dataset.quality.suspects import find_suspects

        found = find_suspects(examples, context.use_case)
        suspects.extend(found.ranked[:SUSPECTS_KEPT])
        return found.check

    checks: dict[str, Callable[[], Check]] = {
        "schema": lambda: Check("schema", "ok", 0, f"all {len(examples)} rows fit the format {dataset.format}"),
        "empty": lambda: _empty(examples),
        "too_long": lambda: _too_long(examples, context.lengths),
        "exact_duplicates": lambda: _exact_duplicates(several, dataset),
        "near_duplicates": lambda: near_duplicates(alike),
        "conflicting_labels": lambda: _conflicting_labels(several),
        "suspect_labels": suspect_labels,
        "rare_labels": lambda: _rare_labels(splits.train, context.use_case),
        **text_checks(examples),
        "leakage_exact": lambda: leakage(alike, near=False),
        "leakage_near": lambda: leakage(alike, near=True),
        "leakage_passages": lambda: shared_passages(alike),
        "leakage_suites": lambda: suite_leakage(context.suites, splits.train),
    }
    wanted = [name for name in checks if only is None or name in only]
    made = []
    for place, name in enumerate(wanted):
        on_progress(Progress(place, len(wanted), "checks", name))
        made.append(checks[name]())
    return DataReport(
        rows=len(examples),
        format=dataset.format,
        fingerprint=dataset.fingerprint,
        splits=splits.counts,
        checks=(*made, *context.intake.checks),
        profile=replace(
            profile_of(alike, use_case=context.use_case, identifiers=context.intake.identifiers), suspects=tuple(suspects)
        ),
    )


def _empty(examples: Sequence[Example]) -> Check:
    """Blank rows were refused at reading; here, those whose user turn or answer is punctuation alone."""
    hollow = [e for e in examples if not (_says_something(e.messages[-1].content) and _says_something(e.answer))]
    if not hollow:
        return Check("empty", "ok", 0, "every row has a text and an answer")
    detail = f"{len(hollow)} rows hold only punctuation as text or as answer, first {place_of(hollow[0])}"
    return Check("empty", "warn", len(hollow), detail, "fill them in, or take them out")


def _says_something(text: str) -> bool:
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


def _too_long(examples: Sequence[Example], lengths: Lengths | None) -> Check:
    if lengths is None:
        return Check("too_long", "ok", 0, "not measured: no base model was given to count tokens with")
    context = lengths.context_length
    unsure = [example for example in examples if _at_most(example) > context]
    long = [(tokens, example) for example in unsure if (tokens := lengths.count_tokens(example)) > context]
    if not long:
        return Check("too_long", "ok", 0, f"every row fits the {context} tokens that the base model reads")
    tokens, first = long[0]
    detail = f"{len(long)} rows exceed the {context} tokens that the base model reads, first {place_of(first)} with {tokens}"
    shown = tuple(f"{place_of(example)}: {tokens} tokens" for tokens, example in long[:SHOWN])
    remedy = "shorten or remove these rows, or choose a base model that reads more"
    return Check("too_long", "refuse", len(long), detail, remedy, shown)


def _at_most(example: Example) -> int:
    """A bound of a row's tokens that needs no tokenizer: no token is shorter than a byte, and a template adds its own."""
    size = sum(len(message.content.encode()) for message in example.messages) + len(example.answer.encode())
    return size + TEMPLATE_TOKENS + TURN_TOKENS * (len(example.messages) + 1)


def _exact_duplicates(alike: Sequence[list[Example]], dataset: LabeledDataset) -> Check:
    copies: list[Pair] = []
    for rows in alike:
        first_with: dict[str, Example] = {}
        for example in rows:
            first = first_with.setdefault(example.answer, example)
            if first is not example:
                copies.append(Pair(first, example))
    repeated = dataset.repeated
    count = len(copies) + len(repeated)
    if not count:
        return Check("exact_duplicates", "ok", 0, "no two rows have the same input and answer")
    parts = []
    if copies:
        parts.append(f"{len(copies)} rows have the input and answer of an earlier one, such as {copies[0]}")
    if repeated:
        parts.append(f"{len(repeated)} rows repeat an earlier one with its id and were read once, such as {repeated[0]!r}")
    return Check("exact_duplicates", "warn", count, "; ".join(parts), "keep them only if they are that frequent in real use")


def _conflicting_labels(alike: Sequence[list[Example]]) -> Check:
    torn = [rows for rows in alike if len({example.answer for example in rows}) > 1]
    if not torn:
        return Check("conflicting_labels", "ok", 0, "no input has two different answers")
    count = sum(len(rows) for rows in torn)
    first = torn[0][0]
    other = next(example for example in torn[0] if example.answer != first.answer)
    detail = f"{count} rows share their input with a row that is answered differently, such as {Pair(first, other)}"
    return Check("conflicting_labels", "warn", count, detail, "decide on one answer for each input: no model can give both")


def _rare_labels(train: Sequence[Example], use_case: UseCase | None) -> Check:
    if use_case is None or use_case.type != "classification" or not use_case.labels:
        return Check("rare_labels", "ok", 0, "not measured: only a classification has labels")
    seen = Counter(example.answer for example in train)
    rare = sorted((seen[label], label) for label in use_case.labels if seen[label] < RARE_BELOW)
    if not rare:
        return Check("rare_labels", "ok", 0, f"every label has at least {RARE_BELOW} training rows")
    some = ", ".join(f"{label} ({rows})" for rows, label in rare[:5]) + (", …" if len(rare) > 5 else "")
    detail = f"{len(rare)} of {len(use_case.labels)} labels have fewer than {RARE_BELOW} training rows: {some}"
    return Check("rare_labels", "warn", len(rare), detail, "label more rows of them, or join them with a neighbour")
