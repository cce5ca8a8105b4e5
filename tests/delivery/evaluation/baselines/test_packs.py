from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.artifacts import BaselinePack, sha256_file
from delivery.client_config import Gates
from delivery.errors import ClientDataError, ConfigError, IntegrityError
from delivery.evaluation import (
    PackProblem,
    PackSpec,
    compare,
    import_pack,
    list_packs,
    load_pack,
    pack_answers,
    published_result,
    score,
    verify_pack,
)
from tests.delivery.evaluation.cases import classification, extraction, result

SUITE = classification(["dovish", "hawkish", "neutral", "dovish"])
SPEC = PackSpec(
    model="GPT-4", recorded_on="2023-07-06", parse="first_word", provider="OpenAI", price=(Decimal(30), Decimal(60))
)
LINES: list[dict[str, Any]] = [
    {"id": "row-0", "output": "DOVISH\nbecause", "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total": 12}},
    {"id": "row-2", "output": "", "model": "gpt-4"},
    {"id": "row-1", "output": "Hawkish.", "latency_ms": 812.5},
    {"id": "row-3", "output": "neutral"},
]
PUBLISHED = {
    "source": "published",
    "model": "gpt-4",
    "recorded_on": "2023-11-10",
    "metric": "micro_f1",
    "score": 0.831,
    "n": 3080,
    "citation": "Loukas et al. 2023, table 4",
}


def source(folder: Path, lines: list[dict[str, Any]] | bytes = LINES) -> Path:
    path = folder / "answers.jsonl"
    path.write_bytes(lines if isinstance(lines, bytes) else "".join(json.dumps(x) + "\n" for x in lines).encode())
    return path


def frozen(folder: Path) -> BaselinePack:
    return import_pack(folder, source(folder), spec=SPEC, suite=SUITE)


def test_import_freezes_answers_with_the_suites_own_inputs(tmp_path: Path) -> None:
    pack = frozen(tmp_path)
    assert Path(pack.path) == tmp_path / "baselines" / "gpt-4-zero-shot-2023-07-06"
    assert pack == load_pack(Path(pack.path)) == list_packs(tmp_path)[0]
    assert pack.outputs["row-0"] == (SUITE.samples[0].input_sha256, "DOVISH\nbecause")
    assert pack.usage == {"row-0": (9, 3)}
    described = yaml.safe_load(Path(pack.path, "pack.yaml").read_text())
    assert described["price_per_million_tokens"] == {"input": "30", "output": "60"}
    assert described["outputs_sha256"] == sha256_file(Path(pack.path, "outputs.jsonl"))
    assert [p.name for p in (tmp_path / "baselines").iterdir()] == ["gpt-4-zero-shot-2023-07-06"]
    assert verify_pack(pack, SUITE) == (4, 0)
    answers = pack_answers(pack, SUITE)
    assert [a.sample_id for a in answers] == ["row-0", "row-1", "row-2", "row-3"]
    assert answers[0].prompt_tokens == 9
    assert [s.correct for s in score(SUITE, answers, parse=pack.parse)] == [True, True, False, False]


def test_a_pack_is_never_overwritten(tmp_path: Path) -> None:
    before = frozen(tmp_path)
    with pytest.raises(ConfigError, match="exists already"):
        frozen(tmp_path)
    assert load_pack(Path(before.path)) == before


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LINES, {"id": "row-9", "output": "x"}], r"answers\.jsonl:5: id: 'row-9' is none of the 4 test rows"),
        ([*LINES, LINES[0]], r"answers\.jsonl:5: id: 'row-0' stands on line 1 too"),
        ([LINES[0], {"id": "row-1"}], r"answers\.jsonl:2: output: is missing"),
        ([{"id": 3, "output": "x"}], r"answers\.jsonl:1: id: .*string"),
        ([{"id": "row-0", "output": None}], r"answers\.jsonl:1: output: .*string"),
        (
            [{"id": "row-0", "output": "x", "usage": {"prompt_tokens": -1, "completion_tokens": 1}}],
            r":1: usage\.prompt_tokens: ",
        ),
        (b'{"id": "row-0", "output": "dovish"}\n\n{"id": "row-1", "outp', r"answers\.jsonl:3: is no JSON"),
        (b'["row-0"]\n', r"answers\.jsonl:1: "),
        (b"\xff\xfe{\x00", r"answers\.jsonl:1: is no JSON"),
        (LINES[:3], r"1 of 4 test rows have no answer \(first: id 'row-3'\).*max_errored=0\.05"),
        ([], r"4 of 4 test rows have no answer"),
    ],
)
def test_what_cannot_be_imported_is_named_and_leaves_nothing(tmp_path: Path, lines: Any, message: str) -> None:
    with pytest.raises(ClientDataError, match=message) as raised:
        import_pack(tmp_path, source(tmp_path, lines), spec=SPEC, suite=SUITE)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "baselines").exists()


def test_a_few_missing_answers_are_errors_not_mistakes(tmp_path: Path) -> None:
    pack = import_pack(tmp_path, source(tmp_path, LINES[:3]), spec=SPEC, suite=SUITE, max_errored=0.25)
    assert verify_pack(pack, SUITE) == (3, 1)
    assert [a.error for a in pack_answers(pack, SUITE)] == [None, None, None, "no answer recorded"]


@pytest.mark.parametrize(("change", "message"), [("recorded_on", "recorded_on"), ("model", "model"), ("parse", "parse")])
def test_a_wrong_spec_is_refused(tmp_path: Path, change: str, message: str) -> None:
    spec = PackSpec(**{"model": "gpt-4", "recorded_on": "2023-07-06", change: "06.07.2023" if change != "model" else ""})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        import_pack(tmp_path, source(tmp_path), spec=spec, suite=SUITE)


def test_a_missing_source_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ClientDataError, match="cannot be read"):
        import_pack(tmp_path, tmp_path / "nowhere.jsonl", spec=SPEC, suite=SUITE)


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    outputs = Path(frozen(tmp_path).path, "outputs.jsonl")
    content = bytearray(outputs.read_bytes())
    content[60] ^= 1
    outputs.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"outputs\.jsonl: is not the file that outputs_sha256"):
        load_pack(outputs.parent)
    (problem,) = list_packs(tmp_path)
    assert isinstance(problem, PackProblem)
    assert problem.name == "gpt-4-zero-shot-2023-07-06"


def test_a_row_that_changed_since_is_named(tmp_path: Path) -> None:
    pack = frozen(tmp_path)
    other = classification(["dovish", "hawkish", "neutral", "dovish"])
    object.__setattr__(other.samples[2], "input_sha256", "0" * 64)
    for use in (verify_pack, pack_answers):
        with pytest.raises(IntegrityError, match=r"id 'row-2': was recorded for another input"):
            use(pack, other)


def test_rows_that_came_or_went_do_not_matter(tmp_path: Path) -> None:
    pack = frozen(tmp_path)
    assert verify_pack(pack, classification(["dovish", "hawkish"])) == (2, 0)
    assert verify_pack(pack, classification(["dovish", "hawkish", "neutral", "dovish", "dovish"])) == (4, 1)


def rehash(folder: Path, content: str) -> None:
    (folder / "outputs.jsonl").write_text(content)
    described = yaml.safe_load((folder / "pack.yaml").read_text())
    (folder / "pack.yaml").write_text(yaml.safe_dump({**described, "outputs_sha256": sha256_file(folder / "outputs.jsonl")}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a"', r"outputs\.jsonl:1: is no JSON"),
        ('{"id": "a", "output": "x"}\n', r"outputs\.jsonl:1: input_sha256: is missing"),
        ('{"id": "a", "output": "x", "input_sha256": "xyz"}\n', r"outputs\.jsonl:1: input_sha256"),
        ((f'{{"id": "a", "output": "x", "input_sha256": "{"0" * 64}"}}\n') * 2, r"outputs\.jsonl:2: id: 'a' stands on"),
    ],
)
def test_outputs_of_another_shape_are_named(tmp_path: Path, content: str, message: str) -> None:
    folder = Path(frozen(tmp_path).path)
    rehash(folder, content)
    with pytest.raises(ConfigError, match=message):
        load_pack(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"pack\.yaml: extra: unknown key"),
        ({"model": None}, r"pack\.yaml: model"),
        ({"recorded_on": "soon"}, r"pack\.yaml: recorded_on"),
        ({"outputs_sha256": None}, r"needs outputs_sha256"),
        ({"source": "published"}, r"needs metric and score and n and citation"),
        ({"parse": "guess"}, r"pack\.yaml: parse"),
    ],
)
def test_a_wrong_pack_file_is_named_by_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = Path(frozen(tmp_path).path, "pack.yaml")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ConfigError, match=message):
        load_pack(path.parent)


def test_a_pack_without_its_files(tmp_path: Path) -> None:
    folder = Path(frozen(tmp_path).path)
    (folder / "outputs.jsonl").unlink()
    with pytest.raises(ConfigError, match="needs its outputs"):
        load_pack(folder)
    (folder / "pack.yaml").write_text("- a list")
    with pytest.raises(ConfigError, match="must hold keys"):
        load_pack(folder)
    assert list_packs(tmp_path / "nowhere") == []


def publish(folder: Path, **changes: Any) -> BaselinePack:
    path = folder / "baselines" / "published" / "pack.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(PUBLISHED | changes))
    return load_pack(path.parent)


def test_a_published_score_is_compared_unpaired_and_says_so(tmp_path: Path) -> None:
    published = published_result(publish(tmp_path), SUITE)
    assert (published.source, published.n, published.samples) == ("published", 3080, ())
    score_of = published.metrics["accuracy"]
    assert (score_of.value, score_of.low, score_of.high) == pytest.approx((0.831, 0.8174, 0.8438), abs=5e-4)
    assert "Loukas et al. 2023" in published.note
    suite = classification(["dovish"] * 100)
    found = compare(suite, [result(suite, ["dovish"] * 95 + ["?"] * 5), published], gates=Gates())
    (comparison,) = found.comparisons
    assert (comparison.test, comparison.discordant, comparison.n) == ("unpaired", None, 100)
    assert comparison.difference == pytest.approx(0.119)
    assert comparison.verdict == "better"
    assert found.slices[0].baseline is None


def test_a_score_of_another_metric_is_refused(tmp_path: Path) -> None:
    pack = publish(tmp_path, metric="rouge")
    with pytest.raises(ConfigError, match="metric: is 'rouge', but the suite decides by accuracy"):
        published_result(pack, SUITE)
    fields = extraction(['{"line":"home","urgent":true,"reference":null}'])
    with pytest.raises(ConfigError, match="field_micro_f1"):
        published_result(publish(tmp_path / "b"), fields)
    with pytest.raises(ConfigError, match="not published"):
        published_result(frozen(tmp_path / "c") if (tmp_path / "c").mkdir() is None else pack, SUITE)
