"""What is worth knowing about the data before anything is trained on it."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import NamedTuple

from delivery.artifacts import Check, DataReport, Example, LabeledDataset, Splits
from delivery.client_config import UseCase

RARE_BELOW = 5

CountTokens = Callable[[Example], int]


def check(
    dataset: LabeledDataset,
    splits: Splits,
    *,
    use_case: UseCase | None,
    count_tokens: CountTokens | None,
    context_length: int | None,
) -> DataReport:
    """Report on rows that ``load`` accepted and ``split`` divided.

    ``count_tokens`` gives the tokens of a whole row, answer included, under the base model's chat template, and
    ``context_length`` the most that it reads; without both, lengths are not measured.
    """
    by_input: dict[str, list[Example]] = defaultdict(list)
    for example in dataset.examples:
        by_input[example.input_key].append(example)
    alike = [rows for rows in by_input.values() if len(rows) > 1]
    return DataReport(
        rows=len(dataset.examples),
        format=dataset.format,
        fingerprint=dataset.fingerprint,
        splits=splits.counts,
        checks=(
            Check("schema", "ok", 0, f"all {len(dataset.examples)} rows fit the format {dataset.format}"),
            _empty(dataset.examples),
            _too_long(dataset.examples, count_tokens, context_length),
            _exact_duplicates(alike, dataset),
            _conflicting_labels(alike),
            _rare_labels(splits.train, use_case),
            _leakage_exact(dataset.examples, splits),
        ),
    )


def _empty(examples: Sequence[Example]) -> Check:
    """Blank rows were refused at reading; here, those whose user turn or answer is punctuation alone."""
    hollow = [e for e in examples if not (_says_something(e.messages[-1].content) and _says_something(e.answer))]
    if not hollow:
        return Check("empty", "ok", 0, "every row has a text and an answer")
    detail = f"{len(hollow)} rows hold only punctuation as text or as answer, first {_place(hollow[0])}"
    return Check("empty", "warn", len(hollow), detail, "fill them in, or take them out")


def _says_something(text: str) -> bool:
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


def _too_long(examples: Sequence[Example], count_tokens: CountTokens | None, context_length: int | None) -> Check:
    if count_tokens is None or context_length is None:
        return Check("too_long", "ok", 0, "not measured: no base model was given to count tokens with")
    lengths = [(count_tokens(example), example) for example in examples]
    long = [(tokens, example) for tokens, example in lengths if tokens > context_length]
    longest = max(tokens for tokens, _ in lengths)
    if not long:
        return Check("too_long", "ok", 0, f"the longest row has {longest} tokens of {context_length} that the base model reads")
    tokens, first = long[0]
    detail = (
        f"{len(long)} rows exceed the {context_length} tokens that the base model reads, first {_place(first)} with {tokens}"
    )
    return Check(
        "too_long", "refuse", len(long), detail, "shorten or remove these rows, or choose a base model that reads more"
    )


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


def _leakage_exact(examples: Sequence[Example], splits: Splits) -> Check:
    """Test rows whose input stands elsewhere in the files, up to case, white space and Unicode form."""
    names = set(splits.left_out)
    outside = {example.input_key for example in examples if example.id in names}
    inside = {example.input_key for example in (*splits.train, *splits.validation)}
    keys = [example.input_key for example in splits.test]
    leaked = sum(key in outside or key in inside for key in keys)
    if not leaked:
        return Check("leakage_exact", "ok", 0, f"none of {len(keys)} test rows stands on another side")
    if any(key in inside for key in keys):
        detail = f"{leaked} of {len(keys)} test rows stand in the training or validation rows that are used"
        return Check("leakage_exact", "refuse", leaked, detail, "divide the rows again")
    held = set(keys)
    copies = sum(example.id in names and example.input_key in held for example in examples)
    detail = (
        f"{leaked} of {len(keys)} test rows also stand on the training or validation side of the files; "
        f"{copies} copies there are left out of training and validation, so the test stays clean"
    )
    return Check("leakage_exact", "warn", leaked, detail, "nothing has to be done; remove the copies to silence this")


class Pair(NamedTuple):
    """Two rows that belong together, shown by place and id."""

    first: Example
    second: Example

    def __str__(self) -> str:
        return f"{_place(self.first)} and {_place(self.second)}"


def _place(example: Example) -> str:
    # Findings go into reports for people elsewhere, to whom folders of this machine say nothing.
    file = PurePath(example.source).name
    return f"{file}:{example.line} (id {example.id})" if file else f"id {example.id}"
