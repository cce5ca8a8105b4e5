from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delivery.artifacts import Answer, Suite
from delivery.errors import ConfigError
from delivery.evaluation import System, list_suites, load_suite, score, summarise
from delivery.evaluation.suites.loading import read_suite
from delivery.settings import Workspace, bundled

ABOUT: dict[str, Any] = {
    "name": "mixed",
    "kind": "general",
    "description": "For tests.",
    "scorer": "choice",
    "licence": "Apache-2.0",
}
CHOICE = {"id": "c-1", "input": "Capital of France?", "expected": "B", "reference": {"options": ["Rome", "Paris"]}}
QUESTION = {"id": "q-1", "input": "6 x 7?", "expected": "42", "scorer": "qa", "reference": {"numeric": True}}
RULES = {
    "id": "i-1",
    "input": "Name a colour.",
    "scorer": "instructions",
    "reference": {"instructions": [{"id": "punctuation:no_comma"}, {"id": "startend:quotation", "kwargs": {}}]},
}
PLAY = {"id": "p-1", "reference": {"persona": "A smith.", "scene": "A forge.", "turns": ["Hail."], "rubric": ["In voice."]}}
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def write(root: Path, *lines: Any, **about: Any) -> Path:
    """A suite's folder in a workspace; a key of ``about`` that is None is left out."""
    named = {key: value for key, value in {**ABOUT, **about}.items() if value is not None}
    folder = root / "evals" / str(named.get("name", "mixed"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.yaml").write_text(yaml.safe_dump(named))
    texts = [line if isinstance(line, str) else orjson.dumps(line).decode() for line in lines]
    (folder / "samples.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8", errors="surrogatepass")
    return folder


def refused(root: Path, *lines: Any, **about: Any) -> str:
    with pytest.raises(ConfigError) as error:
        read_suite(write(root, *lines, **about))
    assert "\n" not in str(error.value)
    return str(error.value)


def measured(suite: Suite, *outputs: str) -> dict[str, float]:
    answers = [Answer(sample.id, output) for sample, output in zip(suite.samples, outputs, strict=True)]
    metrics = summarise(suite, score(suite, answers), system=System("candidate", "m")).metrics
    return {name: round(estimate.value, 3) for name, estimate in metrics.items()}


def test_a_suite_mixes_scorers_and_its_accuracy_is_over_all(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, CHOICE, QUESTION, {**QUESTION, "id": "q-2"}, RULES, system_prompt="Be short."))
    assert [sample.scorer for sample in suite.samples] == [None, "qa", "qa", "instructions"]
    assert [message.content for message in suite.samples[0].messages] == ["Be short.", "Capital of France?\nA. Rome\nB. Paris"]
    assert measured(suite, "B", "42", "I don't know.", "red, blue") == {
        "accuracy": 0.5,
        "refused_rate": 0.5,
        "attempted_accuracy": 1.0,
        "instruction_accuracy": 0.0,
        "loose_accuracy": 0.0,
        "loose_instruction_accuracy": 0.0,
        "invalid_rate": 0.0,
    }
    assert measured(suite, "?", "41", "42", 'Sure:\n"red"')["loose_instruction_accuracy"] == 1.0


def test_slices_and_clusters_are_the_metadata_that_the_suite_names(tmp_path: Path) -> None:
    one = {**CHOICE, "metadata": {"topic": "places", "document": "d1", "note": "x"}}
    suite = read_suite(write(tmp_path, one, {**CHOICE, "id": "c-2"}, slices=["topic"], cluster_key="document"))
    assert [(sample.slices, sample.cluster) for sample in suite.samples] == [({"topic": "places"}, "d1"), ({}, "")]
    assert "slices: no sample has the metadata 'topik'" in refused(tmp_path, one, slices=["topik"])
    assert "cluster_key: no sample has the metadata 'doc'" in refused(tmp_path, one, cluster_key="doc")


def test_messages_may_stand_in_the_place_of_an_input(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "6 x 7?"},
    ]
    (sample,) = read_suite(write(tmp_path, {**QUESTION, "input": "", "messages": turns}, system_prompt="s")).samples
    assert [message.role for message in sample.messages] == ["system", "user", "assistant", "user"]
    assert "input: stands beside messages" in refused(tmp_path, {**QUESTION, "messages": turns})
    assert "input: is missing" in refused(tmp_path, {**QUESTION, "input": "", "messages": turns[:2]})
    own = [{"role": "system", "content": "own"}, *turns]
    (sample,) = read_suite(write(tmp_path, {**QUESTION, "input": "", "messages": own}, system_prompt="s")).samples
    assert [message.content for message in sample.messages if message.role == "system"] == ["own"]


def test_a_role_play_is_told_apart_by_what_is_played(tmp_path: Path) -> None:
    other = {**PLAY, "id": "p-2", "reference": {**PLAY["reference"], "turns": ["Farewell."]}}  # type: ignore[dict-item]
    suite = read_suite(write(tmp_path, PLAY, other, kind="role_play", scorer="role_play", judge={"rubric": "In voice."}))
    assert (suite.primary_metric, suite.samples[0].reference["turns"]) == ("judged_score", ["Hail."])
    assert suite.samples[0].input_sha256 != suite.samples[1].input_sha256
    with pytest.raises(ConfigError, match="scorer: role_play is decided by a judge"):
        score(suite, [])


def test_every_scorer_reads_its_samples(tmp_path: Path) -> None:
    label = {"id": "l-1", "input": "x", "expected": "Spam"}
    labelled = read_suite(write(tmp_path, label, scorer="classification", labels=["spam", "ham"], parse="first_label"))
    assert measured(labelled, "It is SPAM.")["accuracy"] == 1.0
    fields = {"id": "e-1", "input": "x", "expected": '{"n": 3}'}
    assert measured(read_suite(write(tmp_path, fields, scorer="extraction", schema=SCHEMA)), '{"n": 3.0}')["exact_match"] == 1.0
    pair = {"id": "p-1", "input": "x", "expected": "A", "reference": {"options": ["yes", "no"]}}
    assert measured(read_suite(write(tmp_path, pair, kind="preference", scorer="preference")), "no")["accuracy"] == 0.0


@pytest.mark.parametrize(
    ("line", "about", "says"),
    [
        ("{", {}, "samples.jsonl:2: is not JSON"),
        ("[1]", {}, "samples.jsonl:2: (top level): "),
        ({**CHOICE, "id": "ok"}, {}, "samples.jsonl:2: id: 'ok' stands at "),
        ({**CHOICE, "id": ""}, {}, "samples.jsonl:2: id: "),
        ({**CHOICE, "answer": "B"}, {}, "samples.jsonl:2: answer: unknown key"),
        ({**CHOICE, "metadata": {"level": 1}}, {}, "samples.jsonl:2: metadata.level: "),
        ({**CHOICE, "expected": "C"}, {}, "samples.jsonl:2: expected: 'C' is no letter from A to B"),
        ({**CHOICE, "reference": {}}, {}, "samples.jsonl:2: reference: options: is missing"),
        ({**CHOICE, "reference": {"options": ["a"], "x": 1}}, {}, "samples.jsonl:2: reference: x: unknown key"),
        ({**CHOICE, "input": " "}, {}, "samples.jsonl:2: input: is missing"),
        ({**CHOICE, "scorer": "guess"}, {}, "samples.jsonl:2: scorer: "),
        ({**PLAY, "scorer": "role_play"}, {}, "samples.jsonl:2: scorer: role_play cannot stand in a suite of choice"),
        ({**QUESTION, "expected": "many"}, {}, "samples.jsonl:2: expected: 'many' is no number"),
        ({**RULES, "expected": "x"}, {}, "samples.jsonl:2: expected: instructions has none"),
        ({**RULES, "reference": {"instructions": [{"id": "no:such"}]}}, {}, "'no:such' is no kind of instruction"),
        ({**CHOICE, "scorer": "classification", "reference": {}}, {}, "expected: 'B' is not among labels of suite.yaml"),
        ({**CHOICE, "scorer": "extraction", "reference": {}}, {}, "expected: must be the text of a JSON object"),
    ],
)
def test_a_wrong_sample_is_named_by_file_line_and_key(tmp_path: Path, line: Any, about: dict[str, Any], says: str) -> None:
    assert says in refused(tmp_path, {**CHOICE, "id": "ok"}, line, **about)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"scorer": "guess"}, "suite.yaml: scorer: "),
        ({"metrics": ["f1"]}, "suite.yaml: metrics: unknown key"),
        ({"licence": None}, "suite.yaml: licence: is missing"),
        ({"kind": "special"}, "suite.yaml: kind: "),
        ({"scorer": "classification"}, "suite.yaml: labels: a classification needs a list of at least two"),
        ({"scorer": "classification", "labels": ["a", "A "]}, "suite.yaml: labels: labels must differ by more than case"),
        ({"scorer": "extraction"}, "suite.yaml: schema: an extraction needs a JSON Schema with properties"),
        ({"schema": {"properties": {"n": {"type": "whole"}}}}, "suite.yaml: schema: is no usable JSON Schema"),
        ({"scorer": "role_play"}, "suite.yaml: judge: role_play needs a rubric"),
        ({"samples": "none.jsonl"}, "none.jsonl: cannot be read"),
        ({"public_source": [{"reader": "glue"}]}, "suite.yaml: public_source.0.reader: "),
    ],
)
def test_a_wrong_suite_file_is_named_by_its_key(tmp_path: Path, about: dict[str, Any], says: str) -> None:
    assert says in refused(tmp_path, CHOICE, **about)


def test_an_empty_suite_and_another_folders_name_are_refused(tmp_path: Path) -> None:
    assert "there is not one sample" in refused(tmp_path, "")
    folder = write(tmp_path, CHOICE)
    with pytest.raises(ConfigError, match="name: is 'mixed', but the folder is named 'moved'"):
        read_suite(folder.rename(folder.with_name("moved")))


def test_an_expected_object_has_to_be_valid_under_the_schema(tmp_path: Path) -> None:
    line = {"id": "e-1", "input": "x", "expected": '{"n": "three"}'}
    assert "samples.jsonl:1: expected: is not valid under schema" in refused(tmp_path, line, scorer="extraction", schema=SCHEMA)


def test_the_hash_names_all_that_decides_a_score(tmp_path: Path) -> None:
    def sha(*lines: Any, **about: Any) -> str:
        return read_suite(write(tmp_path, *lines, **about)).sha256

    plain = sha(CHOICE, QUESTION)
    assert sha(CHOICE, QUESTION, description="Other words.", licence="MIT") == plain
    others = [
        sha({**CHOICE, "input": "x"}, QUESTION),
        sha({**CHOICE, "expected": "A"}, QUESTION),
        sha(CHOICE, {**QUESTION, "reference": {"numeric": True, "tolerance": 1}}),
        sha(CHOICE, {**QUESTION, "scorer": "qa", "reference": {}}),
        sha({**CHOICE, "metadata": {"t": "x"}}, QUESTION, cluster_key="t"),
        sha(CHOICE, QUESTION, system_prompt="x"),
        sha(CHOICE, QUESTION, labels=["a", "b"]),
        sha(CHOICE, QUESTION, parse="first_word"),
        sha(CHOICE, QUESTION, judge={"rubric": "x"}),
        sha(QUESTION, CHOICE),
    ]
    assert len({plain, *others}) == 1 + len(others)


def test_the_workspaces_own_suite_comes_before_one_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, own = tmp_path / "shipped", Workspace(tmp_path / "own")
    monkeypatch.setattr("delivery.evaluation.suites.loading.bundled", lambda *parts: shipped.joinpath(*parts))
    write(shipped, CHOICE)
    write(shipped, CHOICE, name="further")
    assert load_suite("mixed", own).samples[0].id == "c-1"
    write(own.root, QUESTION)
    assert load_suite("mixed", own).samples[0].id == "q-1"
    assert list_suites(own) == ("further", "mixed")
    with pytest.raises(ConfigError, match=r"no suite 'general' in .*own/evals or shipped \(there are: further, mixed\)"):
        load_suite("general", own)
    with pytest.raises(ConfigError, match="no suite"):
        load_suite("../evals/mixed", own)


def test_what_ships_loads_and_its_expected_answers_are_right(tmp_path: Path) -> None:
    names = list_suites(Workspace(tmp_path))
    if not names:
        pytest.skip(f"no suites at {bundled('evals')}")
    for name in names:
        suite = load_suite(name, Workspace(tmp_path))
        asked = tuple(sample for sample in suite.samples if sample.expected)
        scored = score(replace(suite, samples=asked), [Answer(sample.id, sample.expected) for sample in asked])
        assert [one.sample_id for one in scored if not one.correct] == [], name


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    line=st.text()
    | st.dictionaries(
        st.sampled_from(["id", "input", "expected", "scorer", "reference", "metadata", "messages"]),
        st.text() | st.none() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()),
    )
)
def test_whatever_stands_in_a_line_is_a_sample_or_named(tmp_path: Path, line: Any) -> None:
    text = line if isinstance(line, str) else orjson.dumps(line).decode()
    if text.strip():
        assert "samples.jsonl:" in refused(tmp_path, text.replace("\n", " ").replace("\r", " "))
