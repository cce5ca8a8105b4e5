from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery.errors import ConfigError
from delivery.evaluation import order_suite
from delivery.settings import Workspace


def workspace(root: Path) -> Workspace:
    (root / "clients").mkdir(exist_ok=True)
    return Workspace(root)


def test_a_suite_that_ships_is_ordered_by_its_name(tmp_path: Path) -> None:
    found = order_suite("general_core", workspace(tmp_path), relative_to=tmp_path)
    assert (found.suite.name, found.suite.kind, found.rules) == ("general_core", "general", None)


def test_a_judged_suite_comes_with_the_rules_of_its_judge(tmp_path: Path) -> None:
    found = order_suite("role_play", workspace(tmp_path), relative_to=tmp_path)
    assert found.rules is not None
    assert found.rules.rubric.startswith("Good role play")


def test_a_benchmarks_own_file_is_ordered_by_its_reader_relative_to_the_client(tmp_path: Path) -> None:
    row = {"question": "How many legs have two spiders?", "answer": "2 * 8 = 16\n#### 16"}
    (tmp_path / "gsm8k.jsonl").write_text(json.dumps(row) + "\n")
    found = order_suite("gsm8k:gsm8k.jsonl", workspace(tmp_path), relative_to=tmp_path)
    assert [(sample.expected, sample.scorer or found.suite.scorer) for sample in found.suite.samples] == [("16", "qa")]
    assert found.rules is None


@pytest.mark.parametrize(
    ("entry", "said"),
    [("general", "there is no suite 'general'"), ("mmlu:x", "there is no reader 'mmlu'"), ("gsm8k:none.jsonl", "none.jsonl")],
)
def test_what_is_not_there_is_named(tmp_path: Path, entry: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        order_suite(entry, workspace(tmp_path), relative_to=tmp_path)


def test_rules_that_are_wrong_name_file_and_key(tmp_path: Path) -> None:
    folder = tmp_path / "evals" / "letters"
    folder.mkdir(parents=True)
    (folder / "suite.yaml").write_text(
        "{name: letters, kind: general, description: d, scorer: generation, licence: l, judge: {rubric: good, min_kapa: 1}}"
    )
    (folder / "samples.jsonl").write_text('{"id": "1", "input": "Write.", "expected": "Dear"}\n')
    with pytest.raises(ConfigError, match=r"suite\.yaml: judge\.min_kapa: unknown key"):
        order_suite("letters", workspace(tmp_path), relative_to=tmp_path)
