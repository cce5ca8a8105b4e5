from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delivery.artifacts import Message
from delivery.client_config import UseCase
from delivery.dataset.labeling.agreement import Agreed, agree, alpha, write_disagreements
from delivery.dataset.labeling.labels import read_labels
from delivery.dataset.labeling.pool import Unlabeled
from delivery.dataset.labeling.spreadsheet import guarded, table, unguarded
from delivery.dataset.reading.problems import RowProblems
from delivery.errors import ClientDataError
from tests.delivery.dataset.conftest import Write

HEADER = "id,text,suggestion,reason,label,labeler,guideline"


def rows(*ids: str) -> list[Unlabeled]:
    return [Unlabeled(name, (Message("user", f"text of {name}"),), {"channel": "app"}, "pool.jsonl", 1) for name in ids]


def said(*cells: str) -> str:
    """Lines of a CSV from ``id label labeler`` each."""
    lines = (cell.split() for cell in cells)
    return "\n".join([HEADER, *(f"{name},text of {name},,,{label},{labeler}," for name, label, labeler in lines)])


@pytest.fixture
def settle(write: Write, triage: UseCase) -> Callable[..., Agreed]:
    def settle(*cells: str, ids: str = "a b c d") -> Agreed:
        return agree(read_labels([write(said(*cells), name="back.csv")], triage), rows(*ids.split()), use_case=triage)

    return settle


def test_alpha_of_krippendorffs_own_example_with_missing_values() -> None:
    # Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), part C: 4 observers, 12 units, nominal 0.743.
    seen = ["111", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3"]
    assert alpha([seen]) == pytest.approx(0.743, abs=0.0005)


def test_alpha_of_two_observers_by_hand() -> None:
    # Same source, part A: of 10 units 4 are unequal, 8 pairs in both orders; 6 ones and 14 zeros make 2 x 6 x 14 unequal
    # ordered pairs of 19 partners each. 1 - 8 / (168 / 19) = 0.0952.
    pairs = ["01", "11", "01", "00", "00", "01", "00", "00", "10", "00"]
    assert alpha([pairs]) == pytest.approx(1 - 8 / (168 / 19))


def test_alpha_is_one_for_perfect_and_below_zero_for_systematic_disagreement() -> None:
    assert alpha([["xx", "yy", "xx"]]) == 1.0
    negative = alpha([["xy", "yx", "xy"]])
    assert negative is not None
    assert negative < 0


@pytest.mark.parametrize("fields", [[], [[]], [["x", "y"]], [["xx", "xx"]]])
def test_alpha_is_undefined_without_pairs_or_without_a_second_value(fields: Any) -> None:
    assert alpha(fields) is None


def test_values_of_one_field_are_not_expected_in_another() -> None:
    mixed, constant = ["xy", "yx", "xx", "yy"], ["zz"] * 4
    assert alpha([mixed, constant]) == alpha([mixed])
    assert alpha([mixed, constant]) != alpha([mixed + constant])


def test_the_label_of_more_than_half_is_kept_and_ties_are_listed_but_not_added(settle: Callable[..., Agreed]) -> None:
    found = settle("a claim ann", "a other ben", "a Claim eve", "b claim ann", "b other ben", "c other ann", "d other ben")
    assert [(one.id, one.answer) for one in found.examples] == [("a", "Claim"), ("c", "Other"), ("d", "Other")]
    assert [(one.id, one.settled) for one in found.disagreements] == [("a", "Claim"), ("b", "")]
    (open_,) = found.unsettled
    assert open_.said == (("ann", "Claim"), ("ben", "Other"))
    assert open_.text == "text of b"
    assert (found.overlapping, found.labelers) == (2, {"ann": 3, "ben": 3, "eve": 1})


def test_two_of_four_are_no_majority(settle: Callable[..., Agreed], write: Write) -> None:
    free = "\n".join(["id,label,labeler", "a,x,1", "a,x,2", "a,y,3", "a,z,4"])
    found = agree(read_labels([write(free, name="four.csv")], None), rows("a"), use_case=None)
    assert (found.examples, [one.settled for one in found.disagreements]) == ((), [""])


def test_alpha_comes_from_rows_that_several_saw(settle: Callable[..., Agreed]) -> None:
    found = settle("a claim ann", "a claim ben", "b other ann", "b other ben", "c claim ann")
    assert (found.alpha, found.alpha_note, found.overlapping) == (1.0, "", 2)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (("a claim ann", "b other ben"), "no row was labeled by two labelers"),
        (("a claim ann", "a claim ben"), "every label given to these rows is the same one"),
    ],
)
def test_where_agreement_is_unknown_alpha_is_none_and_says_why(
    settle: Callable[..., Agreed], cells: tuple[str, ...], note: str
) -> None:
    found = settle(*cells)
    assert found.alpha is None
    assert note in found.alpha_note


def test_examples_are_those_that_the_pool_holds_with_prompt_metadata_and_place(settle: Callable[..., Agreed]) -> None:
    (example,) = settle("b claim ann").examples
    assert [message.role for message in example.messages] == ["system", "user"]
    assert example.messages[1].content == "text of b"
    assert example.metadata == {"channel": "app"}
    assert example.source.endswith("back.csv")
    assert example.line == 2


def test_rows_without_a_label_are_pending_until_anyone_labels_them(write: Write, triage: UseCase) -> None:
    first = write(HEADER, "a,t,,,,ann,", "b,t,,,claim,ann,", "c,t,,, ,ann,", name="1.csv")
    second = write(HEADER, "a,t,,,other,ben,", "c,t,,,,ben,", name="2.csv")
    labels = read_labels([first, second], triage)
    assert labels.pending == ("c",)
    assert agree(labels, rows("a", "b", "c"), use_case=triage).pending == 1


def test_two_copies_without_names_are_two_labelers(write: Write, triage: UseCase) -> None:
    paths = [write("id,label", "a,claim", "b,other", name=f"{who}.csv") for who in ("ann", "ben")]
    labels = read_labels(paths, triage)
    assert {label.labeler for label in labels.given} == {"ann", "ben"}


def test_saying_the_same_twice_counts_once(write: Write, triage: UseCase) -> None:
    path = write("id,label,labeler", "a,claim,ann", "a, CLAIM ,ann")
    assert len(read_labels([path], triage).given) == 1


def test_a_labeler_of_two_minds_is_refused_with_both_lines(write: Write, triage: UseCase) -> None:
    path = write("id,label,labeler", "a,claim,ann", "b,other,ann", "a,other,ann")
    with pytest.raises(RowProblems) as caught:
        read_labels([path], triage)
    assert str(caught.value).startswith(f"{path}:4: label: 'ann' says 'Other' of 'a', but 'Claim' at {path}:2; ")


def test_an_unknown_label_is_refused_with_its_line_and_a_near_one(write: Write, triage: UseCase) -> None:
    path = write("id,label,labeler", "a,claim,ann", "b,clam,ann")
    with pytest.raises(
        RowProblems, match=r"rows.jsonl:3: label: 'clam' is no label of the use case \(did you mean 'Claim'\?\)"
    ):
        read_labels([path], triage)


def test_a_label_about_no_row_is_refused_with_its_line(settle: Callable[..., Agreed]) -> None:
    with pytest.raises(RowProblems, match=r"back.csv:3: id: 'x' is the id of no row that was asked for"):
        settle("a claim ann", "x claim ann")


MANGLED = {
    "byte-order mark": "\ufeffid,text,label,labeler\na,text of a,claim,ann\n",
    "semicolons": "id;text;label;labeler\na;text of a;claim;ann\n",
    "a first line that names the separator": "sep=;\nid;text;label;labeler\na;text of a;claim;ann\n",
    "tabs": "id\ttext\tlabel\tlabeler\na\ttext of a\tclaim\tann\n",
    "carriage returns": "id,text,label,labeler\r\na,text of a,claim,ann\r\n",
    "columns in another order and more of them": 'labeler,notes,label,,text,id\nann,"so, so",claim,,text of a,a\n',
    "capitals and spaces in the header": " ID ,Text,LABEL,Labeler \na,text of a,claim,ann\n",
    "trailing blank rows and cells": "id,text,label,labeler,,\na,text of a,claim,ann,,\n,,,,,\n\n\n",
    "rows cut after the last filled cell": "id,text,label,labeler,guideline\na,text of a,claim,ann\n",
    "an id made a number": "id,text,label,labeler\n1.2E+15,Text  of A,claim,ann\n",
    "everything quoted": '"id","text","label","labeler"\n"a","text\nof a","claim","ann"\n',
}


@pytest.mark.parametrize("text", MANGLED.values(), ids=MANGLED.keys())
def test_what_a_spreadsheet_does_to_the_file_changes_no_label(tmp_path: Path, triage: UseCase, text: str) -> None:
    path = tmp_path / "back.csv"
    path.write_bytes(text.encode())
    found = agree(read_labels([str(path)], triage), rows("a", "b"), use_case=triage)
    assert [(one.id, one.answer) for one in found.examples] == [("a", "Claim")]
    assert found.labelers == {"ann": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,labels\nx,y\n", r":1: the header 'text,labels' lacks a column of id, label"),
        (b"id,label,Label\na,x,y\n", r":1: the header names 'label' twice"),
        (b"\n\n", r":1: holds no rows"),
        (b'id,label\na,"claim\n', r":2: is not valid CSV"),
        (b"id,label\na,\xff\n", r":2: is not UTF-8"),
        (b"id,label\na,claim,ann\n", r":2: has more cells than the header's 2"),
        (b"id,label\n,claim\n", r":2: id: is missing or empty"),
        (b'{"id": "a", "label": ["claim"]}\n', r":1: label: is a list; write a string"),
        (b'[{"id": "a"}]\n', r":1: begins a JSON array"),
    ],
)
def test_a_broken_label_file_is_refused_with_file_and_line(
    tmp_path: Path, triage: UseCase, content: bytes, message: str
) -> None:
    path = tmp_path / "back.csv"
    path.write_bytes(content)
    with pytest.raises(ClientDataError, match=f"back.csv{message}"):
        read_labels([str(path)], triage)


FRAGMENTS = [
    "id",
    "label",
    "labeler",
    "text",
    ",",
    ";",
    "\t",
    '"',
    "'",
    "\n",
    "\r",
    "\r\n",
    "a",
    "claim",
    "other",
    "{",
    "}",
    "[",
    ":",
    "1e5",
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30), header=st.booleans())
def test_no_file_whatever_is_in_it_ends_in_a_trace(tmp_path: Path, triage: UseCase, parts: list[str], header: bool) -> None:
    path = tmp_path / "back.csv"
    path.write_bytes((("id,label,labeler\n" if header else "") + "".join(parts)).encode())
    try:
        agreed = agree(read_labels([str(path)], triage), rows("a"), use_case=triage)
    except ClientDataError:
        return
    assert {example.answer for example in agreed.examples} <= set(triage.labels)


def test_json_lines_may_give_an_object_as_label(write: Write, extraction: UseCase) -> None:
    path = write({"id": "a", "text": "t", "label": {"amount": 3}, "labeler": "ann"}, {"id": "b", "label": None})
    labels = read_labels([path], extraction)
    assert [(label.answer, label.labeler) for label in labels.given] == [('{"amount":3}', "ann")]
    assert labels.pending == ("b",)


def test_an_extraction_agrees_by_field_and_in_any_spelling_of_its_json(write: Write, extraction: UseCase) -> None:
    path = write(
        {"id": "a", "label": '{"amount": 3, "kind": "theft"}', "labeler": "ann"},
        {"id": "a", "label": '{"kind":"theft","amount":3}', "labeler": "ben"},
        {"id": "b", "label": '{"amount": 4, "kind": "fire"}', "labeler": "ann"},
        {"id": "b", "label": '{"amount": 4, "kind": "theft"}', "labeler": "ben"},
        {"id": "c", "label": '{"amount": 4, "kind": "fire"}', "labeler": "ann"},
        {"id": "c", "label": '{"amount": 4}', "labeler": "ben"},
    )
    found = agree(read_labels([path], extraction), rows("a", "b", "c"), use_case=extraction)
    assert [one.id for one in found.examples] == ["a"]
    assert [one.id for one in found.unsettled] == ["b", "c"]
    assert found.alpha_by_field["amount"] == 1.0
    kind = alpha([[("theft", "theft"), ("fire", "theft"), ("fire", "absent")]])
    assert found.alpha_by_field["kind"] == kind
    assert found.alpha is not None
    assert kind is not None
    assert kind < found.alpha < 1.0


def test_an_answer_that_does_not_fit_the_schema_is_refused(write: Write, extraction: UseCase) -> None:
    path = write({"id": "a", "label": {"amount": "three"}, "labeler": "ann"})
    with pytest.raises(RowProblems, match=r":1: label: does not fit use_case.schema at amount"):
        read_labels([path], extraction)


def test_disagreements_are_written_to_be_settled_and_come_back(
    settle: Callable[..., Agreed], tmp_path: Path, triage: UseCase
) -> None:
    found = settle("a claim ann", "a other ben", "a claim eve", "b claim ann", "b other ben")
    path = tmp_path / "disagreements.csv"
    write_disagreements(found.disagreements, path)
    read = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"))))
    assert read[0] == {
        "id": "a",
        "text": "text of a",
        "said": "ann: Claim; ben: Other; eve: Claim",
        "settled": "Claim",
        "label": "",
        "labeler": "",
    }
    path.write_bytes(path.read_bytes().replace(b"ben: Other,,,", b"ben: Other,,other,zoe"))
    labels = read_labels([str(path)], triage)
    assert [(label.id, label.answer, label.labeler) for label in labels.given] == [("b", "Other", "zoe")]
    assert labels.pending == ("a",)


@given(st.text())
def test_a_guarded_cell_comes_back_as_it_was_and_starts_no_formula(value: str) -> None:
    cell = guarded(value)
    assert unguarded(cell) == value
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("value", ["=1+1", "@SUM(A1)", "'=x", "007", "12e4567890123456", "1234567890123456", " =1"])
def test_what_a_spreadsheet_would_run_or_reshape_is_guarded(value: str) -> None:
    assert guarded(value) == f"'{value}"


def test_ordinary_text_and_apostrophes_are_left_alone() -> None:
    assert [guarded(value) for value in ("it's", "'quoted'", "3 cards", "a1b2")] == ["it's", "'quoted'", "3 cards", "a1b2"]


def test_a_table_is_utf_8_with_the_mark_that_spreadsheets_look_for() -> None:
    assert table(("a",), [{"a": "ü"}]) == "\ufeffa\r\nü\r\n".encode()


def test_labels_of_a_row_as_jsonl_and_csv_are_the_same(write: Write, triage: UseCase) -> None:
    by_json = write({"id": "a", "label": "claim", "labeler": "ann"}, name="a.jsonl")
    by_csv = write("id,label,labeler", "a,claim,ann", name="a.csv")
    (one,), (other,) = read_labels([by_json], triage).given, read_labels([by_csv], triage).given
    assert (one.id, one.answer, one.labeler) == (other.id, other.answer, other.labeler)
    assert orjson.loads(orjson.dumps(one.answer)) == "Claim"
