"""The rules of the house that no linter checks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "mlflow", "prefect", "fastapi", "sqlalchemy", "sklearn", "bitsandbytes", "xllamacpp")
STAGES = ("dataset", "training", "evaluation", "quantization", "serving", "registry", "costs", "report", "weights", "store")


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", python_files("delivery", "flows", "tests"), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short(path: Path) -> None:
    limit = 600 if path.is_relative_to(ROOT / "tests") else 400
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("module", ["delivery.cli", *(f"delivery.{stage}" for stage in STAGES)])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "manager"])
def test_no_module_without_a_name(name: str) -> None:
    assert not [path for path in python_files("delivery", "flows", "tests") if path.stem == name]


def test_clients_and_suites_hold_no_python() -> None:
    assert python_files("clients", "evals") == []
