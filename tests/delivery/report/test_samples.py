from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from delivery.report.samples import SampleRow, sample_rows, samples_csv
from tests.delivery.report import factory
from tests.delivery.report.conftest import Rendered

CONTRACT = "suite,id,system,model,artifact,expected,output,parsed,correct,error"


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def row(**changes: object) -> SampleRow:
    return SampleRow("use_case", "1", "candidate", "m", "adapter", "yes", "no", "no", False, None)._replace(**changes)


def test_the_header_is_the_contract() -> None:
    assert samples_csv([]).decode() == CONTRACT + "\r\n"


def test_there_is_one_row_per_sample_and_system(any_report: Rendered) -> None:
    found = [(line["suite"], line["id"], line["system"]) for line in read(samples_csv(any_report.rows))]
    expected = [
        (suite.suite, scored.sample_id, system.system)
        for suite in any_report.report.suites
        for system in suite.systems
        for scored in system.samples
    ]
    assert sorted(found) == sorted(expected)
    assert len(found) == len(set(found))


def test_answers_to_one_sample_stand_together(rendered: Callable[[str], Rendered]) -> None:
    ids = [r.id for r in rendered("recorded").rows if r.suite == "use_case"]
    assert sum(a != b for a, b in pairwise(ids)) == len(set(ids)) - 1


def test_accuracy_can_be_counted_again_from_the_file(rendered: Callable[[str], Rendered]) -> None:
    one = rendered("stand_in")
    lines = [line for line in read(samples_csv(one.rows)) if (line["suite"], line["system"]) == ("use_case", "candidate")]
    scored = [line for line in lines if line["correct"]]
    accuracy = sum(line["correct"] == "true" for line in scored) / len(scored)
    candidate = one.document["suites"][0]["systems"][0]
    assert accuracy == candidate["value"]
    assert len(scored) == candidate["n_scored"]
    errored = [line for line in lines if line["error"]]
    assert len(errored) == candidate["n_errored"] == 7
    assert {line["correct"] for line in errored} == {""}


def test_a_published_baseline_has_no_rows(rendered: Callable[[str], Rendered]) -> None:
    assert "baseline" not in {r.system for r in rendered("published").rows}


def test_a_system_that_lacks_a_sample_has_no_row_for_it() -> None:
    report = factory.report()
    short = replace(report.suites[0].systems[1], samples=report.suites[0].systems[1].samples[5:])
    suite = replace(report.suites[0], systems=(report.suites[0].systems[0], short))
    found = list(sample_rows(replace(report, suites=(suite,))))
    assert sum(r.system == "candidate" for r in found) == 496
    assert sum(r.system == "baseline" for r in found) == 491


def test_cells_that_a_spreadsheet_would_run_get_an_apostrophe() -> None:
    for start in "=+-@\t\r":
        attack = f"{start}cmd|' /C calc'!A0"
        for field in ("id", "model", "expected", "output", "parsed", "error"):
            assert read(samples_csv([row(**{field: attack})]))[0][field] == f"'{attack}"


def test_new_lines_quotes_and_commas_stay_within_their_cell() -> None:
    text = 'first, "second"\nthird\r\nfourth'
    (found,) = read(samples_csv([row(output=text)]))
    assert found["output"] == text
    assert found["error"] == ""


@given(st.text(), st.text())
def test_any_text_is_read_back_or_marked(expected: str, output: str) -> None:
    (found,) = read(samples_csv([row(expected=expected, output=output)]))
    for name, text in (("expected", expected), ("output", output)):
        assert found[name] in (text, f"'{text}")
        assert not found[name].startswith(tuple("=+-@\t\r"))
