"""general_core: well formed, balanced, free of copies, and right."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
import yaml

from delivery.artifacts import Answer
from delivery.dataset.shingles import folded, shingles, similarity
from delivery.evaluation.scoring.instructions import is_followed
from delivery.evaluation.scoring.scorers import score
from delivery.evaluation.suites.loading import read_suite
from tests.evals.general_core_checks import BY_HAND, CHECKS

FOLDER = Path(__file__).parents[2] / "evals" / "general_core"
COMPLIANT = Path(__file__).parent / "general_core_compliant.jsonl"
TOPICS = {"science", "history", "geography", "law", "economics", "medicine", "computing", "everyday"}
NEAR = 0.6

KINDS = {
    "change_case:capital_word_frequency": {"capital_relation", "capital_frequency"},
    "change_case:english_capital": set(),
    "change_case:english_lowercase": set(),
    "combination:repeat_prompt": {"prompt_to_repeat"},
    "combination:two_responses": set(),
    "detectable_content:number_placeholders": {"num_placeholders"},
    "detectable_content:postscript": {"postscript_marker"},
    "detectable_format:constrained_response": set(),
    "detectable_format:json_format": set(),
    "detectable_format:multiple_sections": {"section_spliter", "num_sections"},
    "detectable_format:number_bullet_lists": {"num_bullets"},
    "detectable_format:number_highlighted_sections": {"num_highlights"},
    "detectable_format:title": set(),
    "keywords:existence": {"keywords"},
    "keywords:forbidden_words": {"forbidden_words"},
    "keywords:frequency": {"keyword", "relation", "frequency"},
    "keywords:letter_frequency": {"letter", "let_relation", "let_frequency"},
    "language:response_language": {"language"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs", "nth_paragraph", "first_word"},
    "length_constraints:number_paragraphs": {"num_paragraphs"},
    "length_constraints:number_sentences": {"relation", "num_sentences"},
    "length_constraints:number_words": {"relation", "num_words"},
    "punctuation:no_comma": set(),
    "startend:end_checker": {"end_phrase"},
    "startend:quotation": set(),
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


SAMPLES = lines(FOLDER / "samples.jsonl")


def part(name: str) -> list[dict[str, Any]]:
    return [sample for sample in SAMPLES if sample["metadata"]["part"] == name]


def test_the_suite_says_what_it_is() -> None:
    about = yaml.safe_load((FOLDER / "suite.yaml").read_text())
    assert (about["name"], about["kind"], about["scorer"]) == ("general_core", "general", "choice")
    assert about["slices"] == ["part", "topic", "level"]
    assert about["licence"] == "Apache-2.0"
    assert (FOLDER / about["samples"]).is_file()


def test_each_part_is_large_enough() -> None:
    sizes = Counter(sample["metadata"]["part"] for sample in SAMPLES)
    assert set(sizes) == {"knowledge", "reasoning", "instructions"}
    assert sizes["knowledge"] >= 120
    assert sizes["reasoning"] >= 110
    assert sizes["instructions"] >= 100


def test_ids_and_inputs_are_unique() -> None:
    assert len({sample["id"] for sample in SAMPLES}) == len(SAMPLES)
    assert len({folded(sample["input"]) for sample in SAMPLES}) == len(SAMPLES)


def test_the_readme_counts_what_is_there() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert f"{len(SAMPLES)} samples" in readme
    for name in ("knowledge", "reasoning", "instructions"):
        assert f"| `{name}` | {len(part(name))} |" in readme


def test_a_line_holds_what_its_scorer_needs() -> None:
    checks = {"knowledge": check_choice, "reasoning": check_question, "instructions": check_rules}
    for sample in SAMPLES:
        assert set(sample) <= {"id", "input", "expected", "scorer", "reference", "metadata"}
        assert sample["id"].startswith(sample["metadata"]["part"])
        assert sample["input"] == sample["input"].strip() != ""
        assert all(isinstance(value, str) for value in sample["metadata"].values())
        checks[sample["metadata"]["part"]](sample)


def check_choice(sample: dict[str, Any]) -> None:
    options = sample["reference"]["options"]
    assert "scorer" not in sample
    assert set(sample["metadata"]) == {"part", "topic"}
    assert sample["metadata"]["topic"] in TOPICS
    assert 4 <= len(options) <= 6
    assert len({folded(option) for option in options}) == len(options)
    assert sample["expected"] in ascii_uppercase[: len(options)]


def check_question(sample: dict[str, Any]) -> None:
    reference = sample.get("reference", {})
    assert sample["scorer"] == "qa"
    assert set(sample["metadata"]) == {"part", "kind", "level"}
    assert sample["metadata"]["level"] in {"1", "2", "3", "4"}
    assert set(reference) <= {"numeric", "answers"}
    if reference.get("numeric"):
        assert math.isfinite(float(sample["expected"]))
    else:
        assert sample["expected"].strip()
        assert sample["expected"] not in reference.get("answers", [])


def check_rules(sample: dict[str, Any]) -> None:
    rules = sample["reference"]["instructions"]
    assert sample["scorer"] == "instructions"
    assert sample["expected"] == ""
    assert 1 <= len(rules) <= 3
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule["kwargs"]) == KINDS[rule["id"]]
        for key in ("relation", "let_relation", "capital_relation"):
            assert rule["kwargs"].get(key, "at least") in {"at least", "less than"}


def test_every_kind_of_instruction_occurs_four_times_or_more() -> None:
    found = Counter(rule["id"] for sample in part("instructions") for rule in sample["reference"]["instructions"])
    assert set(found) == set(KINDS)
    assert min(found.values()) >= 4


def test_words_that_a_rule_asks_for_stand_in_the_request() -> None:
    for sample in part("instructions"):
        asked = sample["input"].casefold()
        for rule in sample["reference"]["instructions"]:
            given = rule["kwargs"]
            texts = [
                given[key] for key in ("prompt_to_repeat", "end_phrase", "keyword", "letter", "first_word") if key in given
            ]
            for text in [*texts, *given.get("keywords", []), *given.get("forbidden_words", [])]:
                assert text.casefold() in asked, f"{sample['id']}: {text}"


def test_topics_and_levels_are_filled_alike() -> None:
    topics = Counter(sample["metadata"]["topic"] for sample in part("knowledge"))
    levels = Counter(sample["metadata"]["level"] for sample in part("reasoning"))
    assert set(topics) == TOPICS
    assert min(topics.values()) >= 15
    assert len(levels) == 4
    assert min(levels.values()) >= 20


def test_letters_of_right_answers_are_balanced() -> None:
    samples = part("knowledge")
    found = Counter(sample["expected"] for sample in samples)
    chance: Counter[str] = Counter()
    for sample in samples:
        size = len(sample["reference"]["options"])
        chance.update(dict.fromkeys(ascii_uppercase[:size], 1 / size))  # type: ignore[arg-type]
    for letter, share in chance.items():
        assert abs(found[letter] - share) / len(samples) <= 0.03, letter


@pytest.mark.parametrize("pick", [max, min], ids=["longest", "shortest"])
def test_the_length_of_an_option_does_not_give_the_answer_away(pick: Any) -> None:
    samples = part("knowledge")
    right = chance = 0.0
    for sample in samples:
        lengths = [len(option) for option in sample["reference"]["options"]]
        picked = [place for place, length in enumerate(lengths) if length == pick(lengths)]
        right += (ascii_uppercase.index(sample["expected"]) in picked) / len(picked)
        chance += 1 / len(lengths)
    assert right / len(samples) <= chance / len(samples) + 0.05


def test_hardly_any_two_inputs_are_near_each_other() -> None:
    grams = [shingles(folded(sample["input"])) for sample in SAMPLES]
    near = {
        place
        for one, two in combinations(range(len(grams)), 2)
        if similarity(grams[one], grams[two]) >= NEAR
        for place in (one, two)
    }
    assert len(near) / len(SAMPLES) < 0.02


@pytest.mark.parametrize("sample", part("reasoning"), ids=lambda sample: sample["id"])
def test_an_answer_is_what_its_check_works_out(sample: dict[str, Any]) -> None:
    if sample["id"] in BY_HAND:
        assert sample["id"] not in CHECKS
        return
    value: Any = CHECKS[sample["id"]]()
    if sample.get("reference", {}).get("numeric"):
        assert float(value) == pytest.approx(float(sample["expected"]), abs=1e-9)
    else:
        assert value == sample["expected"]


def test_no_input_comes_from_the_public_files(shared_data: Path) -> None:
    known = [line["prompt"] for line in lines(shared_data / "ifeval" / "prompts.jsonl")]
    known += [line["question"] for line in lines(shared_data / "mmlu_pro" / "sample.jsonl")]
    public = {passage for text in known for passage in passages(text)}
    assert not [sample["id"] for sample in SAMPLES if passages(sample["input"]) & public]


def passages(text: str) -> set[tuple[str, ...]]:
    words = folded(text).split()
    return {tuple(words[start : start + 13]) for start in range(len(words) - 12)}


def test_every_request_has_a_text_that_follows_all_its_rules() -> None:
    texts = {line["id"]: line["output"] for line in lines(COMPLIANT)}
    assert set(texts) == {sample["id"] for sample in part("instructions")}
    broken = [
        f"{sample['id']}: {rule['id']}"
        for sample in part("instructions")
        for rule in sample["reference"]["instructions"]
        if not is_followed(rule["id"], rule["kwargs"], texts[sample["id"]])
    ]
    assert broken == []


def test_the_scorers_take_every_accepted_answer_as_right() -> None:
    suite = read_suite(FOLDER)
    texts = {line["id"]: line["output"] for line in lines(COMPLIANT)}
    for place in range(max(len(sample.reference.get("answers", ())) for sample in suite.samples) + 1):
        said = []
        for sample in suite.samples:
            accepted = [sample.expected, *sample.reference.get("answers", ())]
            text = f"I have thought about it for 2 minutes.\nAnswer: {accepted[min(place, len(accepted) - 1)]}"
            said.append(Answer(sample.id, texts.get(sample.id, text)))
        assert [row.sample_id for row in score(suite, said) if not row.correct] == []
