"""Figures that were established on real data with recorded answers, reproduced from the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from delivery.artifacts import Example, Message, SystemName, SystemResult
from delivery.client_config import Gates
from delivery.evaluation import (
    PackSpec,
    System,
    compare,
    encoder_answers,
    import_pack,
    pack_answers,
    score,
    summarise,
    use_case_suite,
)
from tests.delivery.evaluation.cases import config


def read(path: Path) -> list[Example]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Example(x["id"], (Message("user", x["text"]),), x["label"], source=path.name, line=i + 1) for i, x in enumerate(lines)
    ]


def test_fomc_gpt_4_and_gpt_3_5_by_their_first_word(shared_data: Path, tmp_path: Path) -> None:
    suite = use_case_suite(config(), read(shared_data / "fomc" / "test.jsonl"))

    def recorded(model: str, day: str, name: SystemName) -> SystemResult:
        spec = PackSpec(model=model, recorded_on=day, parse="first_word")
        pack = import_pack(tmp_path, shared_data / "fomc" / f"outputs.{model}.jsonl", spec=spec, suite=suite)
        scored = score(suite, pack_answers(pack, suite), parse=pack.parse)
        return summarise(suite, scored, system=System(name, model, source="recorded"))

    gpt4 = recorded("gpt-4", "2023-07-06", "candidate")
    gpt35 = recorded("gpt-3.5-turbo", "2023-05-11", "baseline")
    assert gpt4.metrics["accuracy"].value == 339 / 496
    assert gpt35.metrics["accuracy"].value == 314 / 496
    found = compare(suite, [gpt4, gpt35], gates=Gates()).comparison("candidate", "baseline")
    assert found is not None
    assert found.discordant == (50, 25)
    assert found.p_value == pytest.approx(0.0052, abs=5e-5)
    assert (found.n, found.verdict) == (496, "better")
    # Tango's score interval for these counts is 1.7 to 8.4 points.
    assert (found.low, found.high) == pytest.approx((0.017, 0.084), abs=0.003)


def test_fomc_encoder(shared_data: Path) -> None:
    suite = use_case_suite(config(), read(shared_data / "fomc" / "test.jsonl"))
    answers = encoder_answers(read(shared_data / "fomc" / "train.jsonl"), suite)
    result = summarise(suite, score(suite, answers), system=System("encoder", "tf-idf"), answers=answers)
    assert 0.58 < result.metrics["accuracy"].value < 0.75
    assert result.metrics["invalid_rate"].value == 0


def test_importing_the_package_loads_no_engine() -> None:
    heavy = ["torch", "transformers", "peft", "sklearn", "scipy", "openai", "mlflow", "prefect", "fastapi", "sqlalchemy"]
    code = f"import sys, delivery.evaluation; sys.exit(','.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
