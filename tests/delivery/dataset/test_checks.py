from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from delivery.artifacts import Check, DataReport, Example, Splits
from delivery.client_config import SplitRule, UseCase
from delivery.dataset import check, load, split
from tests.delivery.dataset.conftest import Write

ROWS = [{"text": f"text {n}", "label": ("claim", "other")[n % 2], "split": "train"} for n in range(20)]
TESTS = [{"text": f"asked {n}", "label": "claim", "split": "test"} for n in range(10)]


def report(
    path: str, use_case: UseCase | None, *, tokens: Callable[[Example], int] | None = None, context: int = 8
) -> DataReport:
    dataset = load([path], use_case=use_case)
    splits = split(dataset, SplitRule())
    return check(dataset, splits, use_case=use_case, count_tokens=tokens, context_length=context)


def named(result: DataReport, name: str) -> Check:
    (found,) = [item for item in result.checks if item.name == name]
    return found


def test_clean_data_is_all_ok(write: Write, triage: UseCase) -> None:
    result = report(write(*ROWS, *TESTS), triage, tokens=lambda example: 8)
    assert [item.name for item in result.checks] == [
        "schema",
        "empty",
        "too_long",
        "exact_duplicates",
        "conflicting_labels",
        "rare_labels",
        "leakage_exact",
    ]
    assert {(item.status, item.count, item.remedy) for item in result.checks} == {("ok", 0, "")}
    assert (result.rows, result.format, result.splits) == (
        30,
        "text-label-jsonl",
        {"train": 20, "validation": 0, "test": 10},
    )


def finding(*rows: Any, name: str, **given: Any) -> Any:
    return pytest.param(rows, name, given, id=name)


@pytest.mark.parametrize(
    ("rows", "name", "expected"),
    [
        finding({"text": "…!", "label": "claim", "split": "train"}, name="empty", count=1, says=":31 "),
        finding(
            {"id": "a", "text": "Text 0", "label": "claim", "split": "train"},
            {"id": "a", "text": "Text 0", "label": "claim", "split": "train"},
            name="exact_duplicates",
            count=2,
            says="repeat an earlier one with its id and were read once, such as 'a'",
        ),
        finding({"text": "TEXT 0", "label": "other", "split": "train"}, name="conflicting_labels", count=2, says=":31 "),
        finding(
            {"text": "ASKED 3", "label": "claim", "split": "train"}, name="leakage_exact", count=1, says="1 of 10 test rows"
        ),
    ],
)
def test_a_finding_is_counted_and_warned_of(
    write: Write, triage: UseCase, rows: tuple[Any, ...], name: str, expected: dict[str, Any]
) -> None:
    found = named(report(write(*ROWS, *TESTS, *rows), triage), name)
    assert (found.status, found.count) == ("warn", expected["count"])
    assert expected["says"] in found.detail
    assert found.remedy


def test_too_long_refuses_and_names_the_first(write: Write, triage: UseCase) -> None:
    path = write(*ROWS, *TESTS)

    def tokens(example: Example) -> int:
        return len(example.messages[-1].content)

    result = report(path, triage, tokens=tokens, context=6)
    found = named(result, "too_long")
    assert (found.status, found.count, result.refused) == ("refuse", 20, True)
    assert f"first {Path(path).name}:11 " in found.detail
    assert "not measured" in named(report(path, triage), "too_long").detail


def test_labels_without_training_rows_are_rare(write: Write) -> None:
    wide = UseCase(name="t", type="classification", system_prompt="Sort.", labels=("claim", "other", "never"))
    found = named(report(write(*ROWS, *TESTS), wide), "rare_labels")
    assert (found.status, found.count) == ("warn", 1)
    assert "never (0)" in found.detail


def test_a_copy_that_is_still_trained_on_is_refused(write: Write, triage: UseCase) -> None:
    dataset = load([write(*ROWS, *TESTS)], use_case=triage)
    splits = Splits(train=dataset.examples, validation=(), test=dataset.examples[20:])
    found = named(check(dataset, splits, use_case=triage, count_tokens=None, context_length=None), "leakage_exact")
    assert (found.status, found.count) == ("refuse", 10)


@pytest.mark.parametrize(("name", "test_rows", "leaked"), [("fomc", 496, 16), ("banking77", 3080, 7)])
def test_known_overlap_of_real_data_is_found(shared_data: Path, tmp_path: Path, name: str, test_rows: int, leaked: int) -> None:
    """The counts that the data's own notes give (after NFKC, case and white space)."""
    paths = []
    for side in ("train", "test"):
        rows = [orjson.loads(line) for line in (shared_data / name / f"{side}.jsonl").read_bytes().splitlines()]
        paths.append(tmp_path / f"{side}.jsonl")
        paths[-1].write_bytes(b"\n".join(orjson.dumps({**row, "split": side}) for row in rows))
    dataset = load([str(path) for path in paths])
    splits = split(dataset, SplitRule())
    found = named(check(dataset, splits, use_case=None, count_tokens=None, context_length=None), "leakage_exact")
    assert (len(splits.test), found.count, found.status) == (test_rows, leaked, "warn")
    assert not {e.input_key for e in splits.test} & {e.input_key for e in (*splits.train, *splits.validation)}
