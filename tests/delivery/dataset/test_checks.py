from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from delivery.artifacts import Check, DataReport, Example, Splits
from delivery.client_config import SplitRule, UseCase
from delivery.dataset import Context, Lengths, check, load, split
from tests.delivery.dataset.conftest import Write, unlike

ROWS = [{"text": unlike(f"text {n}"), "label": ("claim", "other")[n % 2], "split": "train"} for n in range(20)]
TESTS = [{"text": unlike(f"asked {n}"), "label": "claim", "split": "test"} for n in range(9)]
PASSAGE = "one day in may she left the car by the river and walked home alone in the rain"
TESTS.append({"text": f"{unlike('before')} {PASSAGE}", "label": "claim", "split": "test"})


def report(
    path: str, use_case: UseCase | None, *, tokens: Callable[[Example], int] | None = None, context: int = 8
) -> DataReport:
    dataset = load([path], use_case=use_case)
    splits = split(dataset, SplitRule())
    lengths = Lengths(tokens, context) if tokens else None
    return check(dataset, splits, Context(use_case=use_case, lengths=lengths))


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
        "near_duplicates",
        "conflicting_labels",
        "suspect_labels",
        "rare_labels",
        "outliers",
        "language",
        "encoding",
        "judge_injection",
        "leakage_exact",
        "leakage_near",
        "leakage_passages",
        "leakage_suites",
    ]
    assert {(item.status, item.count, item.remedy) for item in result.checks} == {("ok", 0, "")}
    assert (result.rows, result.format, result.splits) == (
        30,
        "text-label-jsonl",
        {"train": 20, "validation": 0, "test": 10},
    )


def trained(text: str) -> dict[str, str]:
    return {"text": text, "label": "claim", "split": "train"}


def finding(*rows: Any, name: str, **given: Any) -> Any:
    return pytest.param(rows, name, given, id=name)


@pytest.mark.parametrize(
    ("rows", "name", "expected"),
    [
        finding({"text": "…!", "label": "claim", "split": "train"}, name="empty", count=1, says=":31 "),
        finding(
            {"id": "a", **trained(unlike("text 0"))},
            {"id": "a", **trained(unlike("text 0"))},
            name="exact_duplicates",
            count=2,
            says="repeat an earlier one with its id and were read once, such as 'a'",
        ),
        finding(
            {"text": unlike("text 0").upper(), "label": "other", "split": "train"},
            name="conflicting_labels",
            count=2,
            says=":31 ",
        ),
        finding(trained(unlike("asked 3").upper()), name="leakage_exact", count=1, says="1 of 10 test"),
        finding(trained(unlike("asked 3") + "!"), name="leakage_near", count=1, says="stays clean"),
        finding(trained(unlike("text 3") + "!"), name="near_duplicates", count=2, says=":4 "),
        finding(trained(f"{PASSAGE} now"), name="leakage_passages", count=1, says="1 of 10 test rows"),
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
        return 7 if example.line > 10 else 6

    result = report(path, triage, tokens=tokens, context=6)
    found = named(result, "too_long")
    assert (found.status, found.count, result.refused) == ("refuse", 20, True)
    assert f"first {Path(path).name}:11 " in found.detail
    assert "not measured" in named(report(path, triage), "too_long").detail


def test_samples_of_other_suites_in_training_are_counted(write: Write, triage: UseCase) -> None:
    dataset = load([write(*ROWS, *TESTS, trained(f"{unlike('q')} {PASSAGE}"))], use_case=triage)
    suites = {
        "general": [unlike("text 3").upper(), unlike("text 4") + "!", f"{PASSAGE} too", unlike("fresh")],
        "other": [unlike("asked 1")],
    }
    result = check(dataset, split(dataset, SplitRule()), Context(use_case=triage, suites=suites))
    found = named(result, "leakage_suites")
    assert (found.status, found.count) == ("warn", 3)
    assert "3 of 4 in general, 0 of 1 in other" in found.detail


def test_labels_without_training_rows_are_rare(write: Write) -> None:
    wide = UseCase(name="t", type="classification", system_prompt="Sort.", labels=("claim", "other", "never"))
    found = named(report(write(*ROWS, *TESTS), wide), "rare_labels")
    assert (found.status, found.count) == ("warn", 1)
    assert "never (0)" in found.detail


def test_a_copy_that_is_still_trained_on_is_refused(write: Write, triage: UseCase) -> None:
    dataset = load([write(*ROWS, *TESTS)], use_case=triage)
    splits = Splits(train=dataset.examples, validation=(), test=dataset.examples[20:])
    found = named(check(dataset, splits, Context(use_case=triage)), "leakage_exact")
    assert (found.status, found.count) == ("refuse", 10)


def divided(shared_data: Path, tmp_path: Path, name: str) -> list[str]:
    paths = []
    for side in ("train", "test"):
        rows = [orjson.loads(line) for line in (shared_data / name / f"{side}.jsonl").read_bytes().splitlines()]
        paths.append(tmp_path / f"{side}.jsonl")
        paths[-1].write_bytes(b"\n".join(orjson.dumps({**row, "split": side}) for row in rows))
    return [str(path) for path in paths]


@pytest.mark.parametrize(("name", "test_rows", "exact", "near"), [("fomc", 496, 16, 27), ("banking77", 3080, 7, 316)])
def test_known_overlap_of_real_data_is_found(
    shared_data: Path, tmp_path: Path, name: str, test_rows: int, exact: int, near: int
) -> None:
    """The counts that the data's own notes give: after NFKC, case and white space, and at a Jaccard similarity of 0.7."""
    dataset = load(divided(shared_data, tmp_path, name))
    splits = split(dataset, SplitRule())
    result = check(dataset, splits, Context())
    found = [named(result, check_name) for check_name in ("leakage_exact", "leakage_near")]
    assert (len(splits.test), *((item.count, item.status) for item in found)) == (test_rows, (exact, "warn"), (near, "warn"))
    used = {e.input_key for e in (*splits.train, *splits.validation)}
    by_id = {e.id: e for e in dataset.examples}
    touching = {key: by_id[other].input_key for pair in splits.near for key, other in (pair, pair[::-1])}
    assert not {e.input_key for e in splits.test} & used
    assert not {touching.get(e.id) for e in splits.test} & used
