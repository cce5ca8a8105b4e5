from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from delivery.artifacts import Estimate, LossPoint
from delivery.errors import ConfigError, IntegrityError
from delivery.report import read_json, report_json, write
from delivery.report.writing import validator
from tests.delivery.report import factory
from tests.delivery.report.conftest import Rendered

Change = Callable[[dict[str, Any]], Any]


def test_every_kind_of_report_fits_the_published_schema(any_report: Rendered) -> None:
    assert [error.message for error in validator().iter_errors(any_report.document)] == []


def test_the_schema_is_a_valid_schema_and_asks_for_every_key_of_the_contract() -> None:
    schema = json.loads(Path(sys.modules["delivery.report"].__file__ or "").with_name("schema.json").read_text())
    contract = (
        "schema client vertical delivery_id created_at dataset base_model training artifacts shipped suites recovery latency "
        "cost decision provenance limitations"
    )
    assert set(contract.split()) <= set(schema["required"])
    system = schema["$defs"]["system"]["required"]
    assert {"system", "model", "artifact", "source", "prompting", "value", "ci95", "n_scored", "n_errored"} <= set(system)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("client"),
        lambda d: d.update(schema="delivery.report/2"),
        lambda d: d["dataset"]["checks"][0].update(status="fine"),
        lambda d: d["suites"][0]["systems"][0].pop("ci95"),
        lambda d: d["suites"][0]["systems"][0].update(ci95=[0.1]),
        lambda d: d["suites"][0]["systems"][0].update(source="gpt"),
        lambda d: d["suites"][0]["comparisons"][0].update(verdict="great"),
        lambda d: d["suites"][0]["comparisons"][0].update(discordant=[3]),
        lambda d: d["cost"].update(usd_per_1000_requests="0.05"),
        lambda d: d["cost"].update(cheaper="neither"),
        lambda d: d["decision"].update(promote="yes"),
        lambda d: d["latency"].update(many=d["latency"]["1"]),
        lambda d: d["provenance"].pop("seeds"),
    ],
)
def test_the_schema_refuses_a_document_that_breaks_the_contract(rendered: Callable[[str], Rendered], change: Change) -> None:
    document = copy.deepcopy(rendered("recorded").document)
    change(document)
    assert not validator().is_valid(document)


def test_numbers_are_those_of_the_report_unrounded(rendered: Callable[[str], Rendered]) -> None:
    report, document = rendered("recorded").report, rendered("recorded").document
    candidate, found = report.suites[0].systems[0], document["suites"][0]["systems"][0]
    accuracy = candidate.metrics["accuracy"]
    assert found["value"] == accuracy.value
    assert found["ci95"] == [accuracy.low, accuracy.high]
    assert found["metrics"]["macro_f1"]["value"] == candidate.metrics["macro_f1"].value
    comparison = report.suites[0].comparisons[0]
    assert document["suites"][0]["comparisons"][0]["discordant"] == list(comparison.discordant or ())
    assert document["cost"]["hourly_usd"] == 0.1159
    assert document["cost"]["api"]["gpt-4o"]["usd_per_1000_requests"] == 0.4175
    assert set(document["latency"]) == {"1", "4", "16"}


def test_the_document_is_json_and_names_no_path_of_the_machine(any_report: Rendered) -> None:
    stored = orjson.dumps(any_report.document)
    assert orjson.loads(stored) == any_report.document
    assert b"/srv/private" not in stored
    assert b"/home/" not in stored


def test_what_is_not_finite_is_null_in_json_and_a_dash_on_the_page(tmp_path: Path) -> None:
    report = factory.report()
    nan = float("nan")
    broken = replace(
        report,
        training=replace(report.training, tokens_per_second=float("inf"), losses=(LossPoint(1, nan, nan),)),
        suites=(
            replace(
                report.suites[0],
                systems=tuple(replace(s, metrics={"accuracy": Estimate(nan, nan, nan)}) for s in report.suites[0].systems),
                comparisons=tuple(
                    replace(c, difference=nan, low=nan, high=nan, p_value=nan) for c in report.suites[0].comparisons
                ),
                slices=tuple(replace(s, candidate=Estimate(nan, nan, nan)) for s in report.suites[0].slices),
            ),
        ),
    )
    files = write(broken, tmp_path)
    document = read_json(tmp_path)
    assert document["training"]["tokens_per_second"] is None
    assert document["suites"][0]["systems"][0]["value"] is None
    page = files.html.read_text()
    assert "not measured" in page
    assert "nan" not in page.replace("Finance", "").lower().split()


def test_a_lone_surrogate_does_not_stop_a_report(tmp_path: Path) -> None:
    report = factory.report()
    first = report.suites[0].systems[0]
    samples = tuple(replace(s, output="half \ud83d of an emoji", correct=False) for s in first.samples[:3])
    suite = replace(report.suites[0], systems=(replace(first, samples=samples, note="\udcff"),))
    files = write(replace(report, suites=(suite,)), tmp_path)
    assert "half ? of an emoji" in files.csv.read_text(encoding="utf-8")
    assert read_json(tmp_path)["suites"][0]["systems"][0]["note"] == "?"


def test_writing_then_reading_gives_the_same_document(tmp_path: Path, rendered: Callable[[str], Rendered]) -> None:
    one = rendered("stand_in")
    files = write(one.report, tmp_path / "reports" / "deep")
    assert read_json(files.json.parent) == one.document == report_json(one.report)
    assert sorted(p.name for p in files.json.parent.iterdir()) == ["report.html", "report.json", "samples.csv"]
    assert files.html.read_text(encoding="utf-8") == one.html


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write(factory.worse_report(), tmp_path)]
    assert [path.read_bytes() for path in write(factory.worse_report(), tmp_path)] == first


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigError, match=r"taken.*cannot be written") as caught:
        write(factory.report(), tmp_path / "taken" / "report")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, ConfigError, "there is no report"),
        (b"", IntegrityError, "is not JSON"),
        (b'{"schema": "delivery.report/1"', IntegrityError, "is not JSON"),
        (b'{"schema": "delivery.report/1"}', IntegrityError, "required property"),
        (b"[]", IntegrityError, "top level"),
        (b"\xff\xfe", IntegrityError, "is not JSON"),
    ],
)
def test_reading_what_is_no_report(tmp_path: Path, content: bytes | None, error: type[Exception], message: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        read_json(tmp_path)
    assert "\n" not in str(caught.value)
    assert "report.json" in str(caught.value)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, delivery.report; "
        "heavy = {'altair', 'vl_convert', 'jinja2', 'torch', 'transformers', 'mlflow', 'prefect', 'fastapi', 'sqlalchemy', "
        "'sklearn', 'peft'}; sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
