"""The command line as a user meets it: real processes, exit codes, one line for an error, one JSON document."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from delivery import __version__
from delivery.cli import app
from delivery.cli.run import use_processes
from delivery.settings import get_settings

COMMANDS = [
    ["demo"],
    ["doctor"],
    ["plan"],
    ["run"],
    ["status"],
    ["resume"],
    ["report"],
    ["client", "new"],
    ["client", "list"],
    ["client", "show"],
    ["data", "check"],
    ["baseline", "record"],
    ["baseline", "import"],
    ["baseline", "list"],
    ["baseline", "verify"],
    ["model", "list"],
    ["model", "promote"],
    ["model", "rollback"],
]


def delivery(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "delivery.cli", *args], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def new_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace where ``delivery client new acme`` has run; copy it."""
    root = tmp_path_factory.mktemp("new")
    assert delivery("client", "new", "acme", "--vertical", "finance", cwd=root).returncode == 0
    return root


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_the_json_option(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert done.exit_code == 0
    assert "Example: delivery " + " ".join(command) in done.stdout
    assert "--json" in done.stdout


def test_version(tmp_path: Path) -> None:
    assert delivery("--version", cwd=tmp_path).stdout == f"delivery {__version__}\n"


def test_a_client_from_scaffold_to_list(tmp_path: Path) -> None:
    done = delivery("client", "new", "acme-bank", "--vertical", "finance", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["client"] == "acme-bank"
    listed = json.loads(delivery("client", "list", "--json", cwd=tmp_path).stdout)
    assert listed == {"clients": [{"client": "acme-bank", "vertical": "finance", "use_case": "intent", "problem": None}]}
    shown = json.loads(delivery("client", "show", "acme-bank", "--json", cwd=tmp_path / "clients" / "acme-bank").stdout)
    assert shown["baseline"]["model"] == "gpt-4"
    again = delivery("client", "new", "acme-bank", "--vertical", "finance", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["plan", "nobody"], 2, "there is no client 'nobody'"),
        (["run", "acme", "--pool", "gpu-h100"], 2, "there is no work pool for gpu-h100"),
        (["client", "new", "Bad Name", "--vertical", "finance"], 2, "lower-case letters"),
        (["client", "new", "fine", "--vertical", "farming"], 2, "--vertical"),
        (["data", "check", "acme"], 3, "labeled.jsonl"),
        (["report", "acme"], 2, "there is no report"),
        (["report", "acme", "--format", "docx"], 2, "--format"),
        (["resume", "20260101-000000-abcd"], 2, "there is no delivery"),
        (["no-such-command"], 2, "No such command"),
        (["run"], 2, "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_error_is_one_line_with_its_exit_code(
    new_client: Path, tmp_path: Path, args: list[str], code: int, said: str
) -> None:
    done = delivery(*args, cwd=shutil.copytree(new_client, tmp_path / "workspace"))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_workspace_it_says_how_to_start_one(tmp_path: Path) -> None:
    done = delivery("status", cwd=tmp_path)
    assert done.returncode == 2
    assert "delivery client new" in done.stderr


def test_an_error_is_a_json_document_too(tmp_path: Path) -> None:
    done = delivery("status", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode == 2


def test_an_error_after_the_document_prints_no_second_one(tmp_path: Path) -> None:
    code = (
        "from delivery.cli.output import emit, fail; from delivery.errors import GateNotPassed; import sys;"
        "emit({'a': 1}); sys.exit(fail(GateNotPassed('not better'), as_json=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {"a": 1}
    assert done.returncode == 4
    assert "not better" in done.stderr


def test_processes_reach_the_settings_of_training_and_of_what_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELIVERY_PROCESSES", "1")
    use_processes(2)
    assert (get_settings().processes, os.environ["DELIVERY_PROCESSES"]) == (2, "2")
    monkeypatch.undo()
    get_settings.cache_clear()
