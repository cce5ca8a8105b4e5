"""A base that is quick to train, and one undisturbed delivery of it, which several tests look at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from delivery import cli
from delivery.artifacts import BaseModel
from delivery.settings import get_settings
from tests.e2e.processes import delivery, document_of, make_client, make_suite

Typed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Typed:
    """``delivery`` (see ``processes``) in this process: what is imported already need not be imported for each of many."""

    def run(workspace: Path, *args: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(workspace)
        monkeypatch.setattr(sys, "argv", ["delivery", *args])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        said, complained = capfd.readouterr()
        code = left.value.code
        return subprocess.CompletedProcess(args, code if isinstance(code, int) else int(bool(code)), said, complained)

    return run


@pytest.fixture(scope="session")
def quick(shallow: BaseModel) -> Iterator[str]:
    """The folder of a base that is quick to train; the stand-in that deliveries keep of it for later ones is cleared."""
    yield shallow.path
    shutil.rmtree(get_settings().cache / "untuned" / shallow.sha256, ignore_errors=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, quick: str) -> Path:
    """A workspace where ``delivery run acme`` has reached its end."""
    gates = {"quantization_margin": 0.5, "baseline_margin": 0.5}
    ordered = {"suites": ["use_case", "mini"], "gates": gates}
    root = make_suite(make_client(tmp_path_factory.mktemp("finished"), evaluation=ordered, base_model=quick))
    document_of(delivery(root, "run", "acme", "--json"))
    return root
