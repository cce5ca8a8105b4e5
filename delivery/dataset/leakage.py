"""Whether the test rows tell of the model or of its training rows: equal inputs, nearly equal ones, shared passages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from delivery.artifacts import Check, Example, Splits
from delivery.dataset.places import SHOWN, Pair

PASSAGE_WORDS = 13


class _Leak(NamedTuple):
    test: Example
    other: Example
    used: bool
    """Whether the other row is trained or validated on, not only in the files."""


class Alike:
    """The rows of a data set by input, with their sides and the inputs that are near to theirs."""

    def __init__(self, examples: Sequence[Example], splits: Splits) -> None:
        self.examples, self.splits = examples, splits
        unused = set(splits.left_out)
        self._used = {row.input_key: row for row in (*splits.validation, *splits.train)}
        self._unused = {row.input_key: row for row in examples if row.id in unused}
        self.by_input: dict[str, list[Example]] = defaultdict(list)
        for example in examples:
            self.by_input[example.input_key].append(example)
        by_id = {example.id: example for example in examples}
        self.near_inputs: dict[str, list[str]] = defaultdict(list)
        for one, other in splits.near:
            first, second = by_id[one].input_key, by_id[other].input_key
            self.near_inputs[first].append(second)
            self.near_inputs[second].append(first)

    def leaks(self, *, near: bool) -> list[_Leak]:
        """Test rows with an equal (``near``: or nearly equal) input elsewhere, each with one row there, used ones first."""
        found = []
        for test in self.splits.test:
            inputs = [test.input_key, *(self.near_inputs.get(test.input_key, ()) if near else ())]
            used = next((self._used[key] for key in inputs if key in self._used), None)
            other = used or next((self._unused[key] for key in inputs if key in self._unused), None)
            if other is not None:
                found.append(_Leak(test, other, used is not None))
        return found


def leakage(alike: Alike, *, near: bool) -> Check:
    """Test rows whose input stands elsewhere in the files: to the letter up to case, space and Unicode form, or nearly."""
    name = "leakage_near" if near else "leakage_exact"
    word = "nearly " if near else ""
    tests, leaks = len(alike.splits.test), alike.leaks(near=near)
    if not leaks:
        return Check(name, "ok", 0, f"none of {tests} test rows stands on another side{', not even nearly' if near else ''}")
    shown = tuple(str(Pair(leak.test, leak.other)) for leak in leaks[:SHOWN])
    used = sum(leak.used for leak in leaks)
    if used:
        detail = f"{used} of {tests} test rows stand {word}in the training or validation rows that are used, such as {shown[0]}"
        return Check(name, "refuse", len(leaks), detail, "divide the rows again", shown)
    detail = (
        f"{len(leaks)} of {tests} test rows {'nearly ' if near else 'also '}stand on the training or validation side of the "
        f"files; {len(alike.splits.left_out)} rows there are left out of training and validation, so the test stays clean"
    )
    return Check(name, "warn", len(leaks), detail, "nothing has to be done; remove the copies to silence this", shown)


def near_duplicates(alike: Alike) -> Check:
    """Rows whose input is nearly that of another row."""
    near = [row for key in alike.near_inputs for row in alike.by_input[key]]
    if not near:
        return Check("near_duplicates", "ok", 0, "no two inputs are nearly the same")
    tests = {row.input_key for row in alike.splits.test}
    in_test = sum(any(other in tests for other in alike.near_inputs.get(row.input_key, ())) for row in alike.splits.test)
    by_id = {row.id: row for row in near}
    shown = tuple(str(Pair(by_id[one], by_id[other])) for one, other in alike.splits.near[:SHOWN])
    share = len(near) / len(alike.examples)
    detail = f"{len(near)} rows ({share:.1%}) have nearly the input of another row, such as {shown[0]}"
    if in_test:
        detail += (
            f"; {in_test} of {len(alike.splits.test)} test rows have one within the test, which counts for less than its size"
        )
    return Check(
        "near_duplicates",
        "warn",
        len(near),
        detail,
        "keep them only if they are that frequent in real use; sides keep them together",
        shown,
    )


def shared_passages(alike: Alike) -> Check:
    """Test rows that share a run of 13 words with a row that is trained or validated on."""
    from delivery.dataset.overlap import sharing_a_passage
    from delivery.dataset.shingles import folded

    tests = alike.splits.test
    used = (*alike.splits.train, *alike.splits.validation)
    found = sharing_a_passage([folded(row.asked) for row in tests], [folded(row.asked) for row in used])
    if not found:
        return Check("leakage_passages", "ok", 0, f"no test row shares {PASSAGE_WORDS} words in a row with the training rows")
    shown = tuple(str(Pair(tests[place])) for place in found[:SHOWN])
    detail = (
        f"{len(found)} of {len(tests)} test rows share a passage of {PASSAGE_WORDS} words or more with a row that is trained "
        f"on, such as {shown[0]}"
    )
    return Check(
        "leakage_passages", "warn", len(found), detail, "look at them: a quotation is harmless, a copied case is not", shown
    )


def suite_leakage(suites: Mapping[str, Sequence[str]], train: Iterable[Example]) -> Check:
    """Samples of the general suites whose text a training row holds, equally, nearly or by a passage."""
    if not suites:
        return Check("leakage_suites", "ok", 0, "not measured: no suite with samples of its own is ordered")
    # All at once, as the training rows are the larger part of the work.
    owner = [suite for suite, samples in suites.items() for _ in samples]
    held = held_by_rows([text for samples in suites.values() for text in samples], train)
    counts = dict.fromkeys(suites, 0) | Counter(owner[place] for place in held)
    total = sum(counts.values())
    said = ", ".join(f"{count} of {len(suites[suite])} in {suite}" for suite, count in counts.items())
    if not total:
        return Check("leakage_suites", "ok", 0, f"no sample of another suite stands in the training rows ({said})")
    remedy = "take these rows out of the data, or read the suite's score on its clean samples"
    return Check("leakage_suites", "warn", total, f"samples of other suites stand in the training rows: {said}", remedy)


def held_by_rows(texts: Sequence[str], rows: Iterable[Example]) -> tuple[int, ...]:
    """Places of the texts that a row's input holds: equally up to case and space, nearly, or by a passage of 13 words."""
    from delivery.dataset.near import near_pairs
    from delivery.dataset.overlap import sharing_a_passage
    from delivery.dataset.shingles import folded

    trained = list(dict.fromkeys(folded(row.asked) for row in rows))
    wanted = [folded(text) for text in texts]
    unique = list(dict.fromkeys([*trained, *wanted]))
    held = set(trained)
    held |= {unique[other] for one, other in near_pairs(unique).tolist() if one < len(trained) <= other}
    found = {place for place, text in enumerate(wanted) if text in held}
    return tuple(sorted(found | set(sharing_a_passage(wanted, trained))))
