from __future__ import annotations

from dataclasses import replace

import pytest

from delivery.artifacts import Message
from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation import score, use_case_suite
from tests.delivery.evaluation.cases import answers, classification, config, extraction, result, row, rows


def test_samples_keep_order_and_messages_and_canonical_labels() -> None:
    suite = use_case_suite(config(), [row("a-1", "x", "Dovish "), row("a-0", "y", "NEUTRAL")])
    assert [(s.id, s.expected) for s in suite.samples] == [("a-1", "dovish"), ("a-0", "neutral")]
    assert suite.samples[0].messages[0].role == "system"
    assert suite.samples[0].input_sha256 == row("a-1", "x", "dovish").input_sha256
    assert (suite.name, suite.kind, suite.primary_metric) == ("use_case", "use_case", "accuracy")


def test_slices_are_the_label_and_metadata_of_few_values() -> None:
    given = [row(f"r-{i}", f"t{i}", "dovish", channel="email" if i % 2 else "phone", ticket=str(i), one="x") for i in range(20)]
    suite = use_case_suite(config(), [*given, row("r-99", "no metadata", "hawkish")])
    assert suite.samples[0].slices == {"channel": "phone", "label": "dovish"}
    assert suite.samples[-1].slices == {"label": "hawkish"}


def test_slices_of_an_extraction_are_its_first_property() -> None:
    suite = extraction(['{"line":"home","urgent":true,"reference":null}'])
    assert suite.samples[0].slices == {"line": "home"}


def test_questions_expect_the_clients_answer_and_are_scored_by_it() -> None:
    suite = use_case_suite(config("qa"), rows(["Paris", "1,200 km"]))
    assert (suite.scorer, suite.primary_metric, suite.samples[1].expected) == ("qa", "accuracy", "1,200 km")
    assert [one.correct for one in score(suite, answers(suite, ["The answer is Paris.", "1200 km"]))] == [True, True]
    with pytest.raises(ClientDataError, match=r"rows\.jsonl:1: answer: holds neither a word nor a number"):
        use_case_suite(config("qa"), rows(["?!"]))


def test_written_answers_are_left_to_a_judge() -> None:
    suite = use_case_suite(config("generation"), rows(["Dear Ms Lind, ..."]))
    assert (suite.scorer, suite.primary_metric, suite.samples[0].expected) == ("generation", "win_rate", "Dear Ms Lind, ...")
    with pytest.raises(ConfigError, match="decided by a judge"):
        score(suite, answers(suite, ["Dear Sir"]))


def test_a_role_play_holds_its_persona_and_what_the_user_says() -> None:
    asked = (
        Message("system", "You are a smith."),
        Message("user", "Hail."),
        Message("assistant", "Aye."),
        Message("user", "A sword?"),
    )
    suite = use_case_suite(config("role_play"), [replace(row("r-0", "x", "Iron costs."), messages=asked)])
    reference = suite.samples[0].reference
    assert (reference["persona"], reference["scene"]) == ("You are a smith.", "")
    assert (reference["turns"], len(reference["rubric"])) == (["Hail.", "A sword?"], 3)
    with pytest.raises(ClientDataError, match=r"rows\.jsonl:1: messages: reference: turns"):
        use_case_suite(config("role_play"), [replace(row("r-0", "x", "y"), messages=asked[:1])])


def test_preferences_hide_which_answer_was_preferred() -> None:
    pairs = [replace(one, rejected=f"{one.answer} or not") for one in rows([f"answer {n}" for n in range(40)])]
    suite = use_case_suite(config("preference"), pairs)
    letters = [sample.expected for sample in suite.samples]
    assert 10 <= letters.count("A") <= 30
    for pair, sample in zip(pairs, suite.samples, strict=True):
        assert sample.reference["options"]["AB".index(sample.expected)] == pair.answer
    chosen = result(suite, [pair.answer for pair in pairs])
    assert chosen.metrics["accuracy"].value == 1.0
    assert result(suite, [pair.rejected for pair in pairs]).metrics["accuracy"].value == 0.0
    assert result(suite, ["tie"] * 40).metrics["accuracy"].value == 0.5
    with pytest.raises(ClientDataError, match=r"rows\.jsonl:1: has no answer that was not preferred"):
        use_case_suite(config("preference"), rows(["only one"]))


def test_rows_of_one_group_are_a_cluster() -> None:
    grouped = config(data={"path": "rows.jsonl", "splits": {"group_by": "ticket"}})
    suite = use_case_suite(grouped, [row("r-0", "x", "dovish", ticket="t1"), row("r-1", "y", "dovish")])
    assert [sample.cluster for sample in suite.samples] == ["t1", ""]


def test_bad_rows_are_named_by_file_and_line() -> None:
    with pytest.raises(ClientDataError, match=r"rows\.jsonl:4: answer: 'bearish' is not among"):
        use_case_suite(config(), [row("r-3", "x", "bearish")])
    with pytest.raises(ClientDataError, match=r"rows\.jsonl:1: answer: must be a JSON object"):
        use_case_suite(config("extraction"), rows(["[1]"]))
    with pytest.raises(ClientDataError, match=r"'r-0' also names the row at rows\.jsonl:1"):
        use_case_suite(config(), [row("r-0", "x", "dovish"), row("r-0", "y", "dovish")])
    with pytest.raises(ClientDataError, match="no test rows"):
        use_case_suite(config(), [])


def test_hash_names_samples_labels_and_rule() -> None:
    plain = classification(["dovish", "hawkish"])
    assert plain.sha256 == classification(["dovish", "hawkish"]).sha256
    assert plain.sha256 != classification(["dovish", "neutral"]).sha256
    other_rule = use_case_suite(config(use_case={"parse": "first_word"}), rows(["dovish", "hawkish"]))
    changed = [replace(r, messages=(*r.messages[:1], replace(r.messages[1], content="z"))) for r in rows(["dovish", "hawkish"])]
    assert len({plain.sha256, other_rule.sha256, use_case_suite(config(), changed).sha256}) == 3
