"""The suites that ship beside general_core: whole, varied, and in keeping with the guidelines in their READMEs."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations, product
from math import comb
from typing import Any

import jsonschema_rs
import pytest
import yaml

from delivery.dataset.shingles import folded, shingles, similarity
from delivery.evaluation import parse
from tests.conftest import ROOT

STARTERS = ("games_starter", "education_starter", "sales_starter", "finance_starter", "insurance_starter")
SUITES = ("role_play", *STARTERS)
CLASSIFIED = ("games_starter", "finance_starter", "insurance_starter")
NEAR = 0.6

SCENES = {"introduction", "interview", "dispute", "bargain", "peril", "comfort"}
CHALLENGES = {"facts", "contradiction", "pressure", "break_character", "emotion"}

WORKED_OUT: dict[str, float] = {
    "education-001": 180 * 7 / 12,
    "education-002": 5 * 14 - (11 + 17 + 12 + 15),
    "education-003": 6 - 1,
    "education-004": 6 * 3 / (6 + 3) + 4,
    "education-005": 3 + 4 * 6 - 10 / 2,
    "education-006": 17 * 60 + 45 + 95 - 19 * 60,
    "education-008": comb(9, 3) - comb(5, 3),
    "education-009": 3 / 8 * (4 + 6) / (5 / 8),
    "education-010": 80 / 16,
    "education-011": 7.4 * 50000 / 100000,
    "education-016": 5 / 2 * 4,
    "education-018": 80 * 1.25 * 0.75,
    "education-020": sum(1 for n in range(1, 101) if n % 6 == 0 or n % 10 == 0),
    "education-024": 1**3 - 6 * 1**2 + 9 * 1 + 2,
    "education-027": 36 / 4 * 2,
    "education-029": (29 + 7) / 2,
    "education-032": 63 / 45 * 70,
    "education-040": 1200 - 450 / 6 * 14,
    "education-042": 6 * (20 / 2 - 6),
    "education-049": 156 / (92 - 40),
    "education-051": sum(11 + (k - 3) * (31 - 11) / 5 for k in range(1, 11)),
    "education-052": 500 * 2**6,
    "education-055": 12 / 18 * 60 + 12 / 12 * 60,
    "education-057": 60 * 5 * 30 / 1000,
    "education-059": 3 * 24 - 15,
    "education-062": (38 + 94) / 2,
    "education-065": 4 / 2 * 18,
    "education-066": 2 if 3 + 4 * (10 - 6) / 2 == 3 + 4 * 4 / 2 != 7 * 4 / 2 else 0,
    "education-068": 8 * (5 - 2),
    "education-073": (12 + 15) / (5 - 2),
}


def described(suite: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "evals" / suite / "suite.yaml").read_text())
    return loaded


def rows(suite: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / "evals" / suite / "samples.jsonl").read_text().splitlines()]


def asked(row: dict[str, Any]) -> str:
    """What tells a row from others: its input, or the scene and turns of a dialogue."""
    reference = row.get("reference", {})
    return str(row["input"]) or "\n".join([reference["scene"], *reference["turns"]])


def grams(row: dict[str, Any]) -> frozenset[str]:
    return shingles(folded(asked(row)))


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_described_in_full(suite: str) -> None:
    described_as = described(suite)
    known = {"name", "kind", "vertical", "description", "samples", "system_prompt", "scorer", "parse", "labels", "schema"}
    assert set(described_as) <= known | {"cluster_key", "slices", "judge", "licence", "public_source"}
    assert described_as["name"] == suite
    assert described_as["kind"] == ("role_play" if suite == "role_play" else "general")
    assert described_as.get("vertical", "role_play") == suite.removesuffix("_starter")
    assert described_as["samples"] == "samples.jsonl"
    assert described_as["licence"] == "Apache-2.0"
    assert described_as["system_prompt"].strip()
    assert (ROOT / "evals" / suite / "README.md").read_text().startswith(f"# {suite}: ")


@pytest.mark.parametrize("suite", SUITES)
def test_every_line_is_a_sample_and_no_id_comes_twice(suite: str) -> None:
    found = rows(suite)
    keys = [*described(suite)["slices"], *filter(None, [described(suite).get("cluster_key")])]
    assert len({row["id"] for row in found}) == len(found) >= (48 if suite == "role_play" else 60)
    for row in found:
        assert set(row) - {"reference"} == {"id", "input", "expected", "metadata"}, row["id"]
        assert all(isinstance(row["metadata"].get(key), str) for key in keys), row["id"]
        assert all(isinstance(row[key], str) and row[key] == row[key].strip() for key in ("id", "input", "expected")), row["id"]


@pytest.mark.parametrize("suite", SUITES)
def test_the_readme_states_the_number_of_samples(suite: str) -> None:
    assert str(len(rows(suite))) in (ROOT / "evals" / suite / "README.md").read_text().split("\n# ", 1)[0]


@pytest.mark.parametrize("suite", SUITES)
def test_hardly_any_two_samples_are_alike(suite: str) -> None:
    found = [(row["id"], grams(row)) for row in rows(suite)]
    near = {name for (a, left), (b, right) in combinations(found, 2) if similarity(left, right) >= NEAR for name in (a, b)}
    assert len(near) / len(found) < 0.02, near


@pytest.mark.parametrize(("one", "other"), list(combinations(SUITES, 2)))
def test_suites_share_no_sample(one: str, other: str) -> None:
    pairs = product([grams(row) for row in rows(one)], [grams(row) for row in rows(other)])
    assert all(similarity(left, right) < NEAR for left, right in pairs)


def test_the_insurance_suite_repeats_no_row_of_the_demo_client() -> None:
    file = ROOT / "clients" / "demo-insurer" / "data" / "labeled.jsonl"
    demo = [shingles(folded(json.loads(line)["messages"][0]["content"])) for line in file.read_text().splitlines()]
    told = [shingles(folded(row["input"].split("\n\nCustomer: ")[1])) for row in rows("insurance_starter")]
    assert all(similarity(left, right) < NEAR for left, right in product(told, demo))


@pytest.mark.parametrize("suite", CLASSIFIED)
def test_every_label_is_known_explained_and_common_enough(suite: str) -> None:
    labels = described(suite)["labels"]
    counts = Counter(row["expected"] for row in rows(suite))
    assert set(counts) == set(labels)
    assert min(counts.values()) >= 9
    assert max(counts.values()) <= 0.35 * counts.total()
    guideline = (ROOT / "evals" / suite / "README.md").read_text()
    assert all(f"`{label}`" in guideline and label in described(suite)["system_prompt"] for label in labels)


@pytest.mark.parametrize("suite", CLASSIFIED)
def test_a_label_is_read_from_a_sentence_as_itself(suite: str) -> None:
    described_as = described(suite)
    for label in described_as["labels"]:
        for said in (label, label.upper(), f"Answer: {label}.", f"**{label}**"):
            assert parse(said, rule=described_as["parse"], labels=described_as["labels"]) == label


@pytest.mark.parametrize("suite", [name for name in STARTERS if name != "education_starter"])
def test_plain_and_hard_samples_are_both_there(suite: str) -> None:
    counts = Counter(row["metadata"]["difficulty"] for row in rows(suite))
    assert set(counts) == {"plain", "hard"}
    assert min(counts.values()) >= 20


def test_losses_under_one_clause_do_not_all_end_alike() -> None:
    by_clause: dict[str, list[dict[str, Any]]] = {}
    for row in rows("insurance_starter"):
        by_clause.setdefault(row["metadata"]["clause"], []).append(row)
    assert len(by_clause) == 24
    for clause, samples in by_clause.items():
        assert len({row["input"].split("\n\nCustomer: ")[0] for row in samples}) == 1, clause
        assert len(samples) >= 3, clause
        assert len({row["expected"] for row in samples}) >= 2, clause


def test_leads_are_valid_under_the_schema_and_use_all_of_it() -> None:
    schema = described("sales_starter")["schema"]
    leads = {row["id"]: json.loads(row["expected"]) for row in rows("sales_starter")}
    for name, lead in leads.items():
        jsonschema_rs.validate(schema, lead)
        assert list(lead) == schema["required"], name
    for key, rule in schema["properties"].items():
        used = {lead[key] for lead in leads.values()}
        assert used >= set(rule.get("enum", [None])), key


def test_a_lead_has_a_currency_and_a_period_exactly_with_a_budget() -> None:
    for row in rows("sales_starter"):
        lead = json.loads(row["expected"])
        assert len({lead[key] is None for key in ("budget", "currency", "budget_period")}) == 1, row["id"]


def test_numbers_of_the_education_suite_are_right() -> None:
    numeric = {
        row["id"]: float(row["expected"]) for row in rows("education_starter") if row.get("reference", {}).get("numeric")
    }
    assert set(numeric) == set(WORKED_OUT)
    for name, value in numeric.items():
        assert value == pytest.approx(WORKED_OUT[name]), name


def test_questions_of_every_form_are_there_and_accept_no_wording_twice() -> None:
    found = rows("education_starter")
    counts = Counter(row["metadata"]["form"] for row in found)
    assert set(counts) == {"numeric", "short", "passage"}
    assert min(counts.values()) >= 15
    for row in found:
        accepted = [row["expected"], *row.get("reference", {}).get("answers", [])]
        assert all(accepted), row["id"]
        assert len(set(accepted)) == len(accepted), row["id"]
        assert set(row.get("reference", {})) <= {"answers", "numeric"}, row["id"]
        assert (row["metadata"]["form"] == "passage") == ("\n\n" in row["input"]), row["id"]


def test_answers_by_yes_and_no_stay_few() -> None:
    found = rows("education_starter")
    assert sum(row["expected"] in ("yes", "no") for row in found) <= 0.06 * len(found)


def test_dialogues_have_a_person_turns_and_points_to_check() -> None:
    for row in rows("role_play"):
        reference = row["reference"]
        assert set(reference) == {"persona", "scene", "turns", "rubric"}, row["id"]
        assert row["input"] == row["expected"] == "", row["id"]
        assert len(reference["persona"].split()) >= 60, row["id"]
        assert len(reference["scene"].split()) >= 10, row["id"]
        for part in ("turns", "rubric"):
            assert 3 <= len(reference[part]) <= 5, row["id"]
            assert len(set(reference[part])) == len(reference[part]), row["id"]
            assert all(text.strip() for text in reference[part]), row["id"]


def test_persons_and_scenes_are_many_and_both_kinds_come_as_often() -> None:
    found = rows("role_play")
    persons = {row["metadata"]["persona"]: row["reference"]["persona"] for row in found}
    assert len(set(persons.values())) == len(persons) >= 16
    assert all(row["reference"]["persona"] == persons[row["metadata"]["persona"]] for row in found)
    kinds = Counter(row["metadata"]["kind"] for row in found)
    assert set(kinds) == {"persona", "scene"}
    assert abs(kinds["persona"] - kinds["scene"]) <= 2
    for person in persons:
        assert {row["metadata"]["kind"] for row in found if row["metadata"]["persona"] == person} == {"persona", "scene"}
    scenes, challenges = (Counter(row["metadata"][key] for row in found) for key in ("scene", "challenge"))
    assert set(scenes) == SCENES
    assert set(challenges) == CHALLENGES
    assert min([*scenes.values(), *challenges.values()]) >= 5
