from __future__ import annotations

from dataclasses import replace

import pytest

from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation import use_case_suite
from tests.delivery.evaluation.cases import classification, config, extraction, row, rows


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


@pytest.mark.parametrize("kind", ["qa", "generation", "role_play", "preference"])
def test_other_types_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"use_case\.type: {kind} is not supported yet"):
        use_case_suite(config(kind), rows(["x"]))


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
