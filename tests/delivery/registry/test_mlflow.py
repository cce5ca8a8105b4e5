from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from delivery.artifacts import Artifact, describe_folder, to_json, verify_artifact
from delivery.errors import ConfigError, RetryableError
from delivery.registry import CHALLENGER, open_registry

CLIENT = "demo-insurer"

STEPS = (
    "create_experiment",
    "create_logged_model",
    "log_model_artifact",
    "finalize_logged_model",
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
    "set_model_version_tag",
)
"""Every call of a registration that writes, in their order."""

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from delivery.artifacts import Artifact, from_json
from delivery.registry import open_registry
from delivery.registry.mlflow import MlflowClient

folder, artifact = Path(sys.argv[1]), from_json(Artifact, sys.argv[2].encode())
for step in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        call = getattr(MlflowClient, step)
        def killed(*arguments, **named):
            call(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(MlflowClient, step, killed)
        registry = open_registry(f"sqlite:///{folder / step}.db", artifact_root=folder / f"{step}-store")
        registry.register("demo-insurer", [artifact], shipped=artifact, delivery_id="d-1", tags={})
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        sys.exit(f"{step} was not called")
"""


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_registry(f"sqlite:///{path}", artifact_root=None)
    return path


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"weights" * 100)
    return describe_folder("gguf-q8_0", folder)


def test_killed_after_any_step_and_called_again_it_registers_once(
    artifact: Artifact, tmp_path: Path, empty_database: Path
) -> None:
    for step in STEPS:
        shutil.copyfile(empty_database, tmp_path / f"{step}.db")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), to_json(artifact).decode(), *STEPS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for step in STEPS:
        registry = open_registry(f"sqlite:///{tmp_path / step}.db", artifact_root=tmp_path / f"{step}-store")
        for _ in range(2):
            version = registry.register(CLIENT, [artifact], shipped=artifact, delivery_id="d-1", tags={})
        assert registry.versions(CLIENT) == (version,), step
        assert (version.number, version.aliases) == (1, (CHALLENGER,)), step
        verify_artifact(version.shipped)
        assert len(list((tmp_path / f"{step}-store" / CLIENT / "models").iterdir())) == 1, step


def test_the_registered_files_are_copies(artifact: Artifact, tmp_path: Path, empty_database: Path) -> None:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    registry = open_registry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_root=tmp_path / "a store")
    version = registry.register(CLIENT, [artifact], shipped=artifact, delivery_id="d-1", tags={})
    Path(artifact.path, "model.gguf").write_bytes(b"made again")
    verify_artifact(version.shipped)
    assert Path(version.path).is_relative_to(tmp_path / "a store")


def test_a_database_appears_whole_or_not_at_all_and_nothing_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "mlflow.db"
    script = (
        "import os, signal, sys\n"
        "from delivery.registry import open_registry, mlflow\n"
        "if sys.argv[2] == 'killed':\n"
        "    made = mlflow._initialize_tables\n"
        "    mlflow._initialize_tables = lambda engine: (made(engine), os.kill(os.getpid(), signal.SIGKILL))\n"
        "registry = open_registry('sqlite:///' + sys.argv[1], artifact_root=None)\n"
        "assert registry.versions('demo-insurer') == ()\n"
    )
    for how, code in (("killed", -signal.SIGKILL), ("whole", 0)):
        done = subprocess.run([sys.executable, "-c", script, str(path), how], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
        assert path.exists() == (how == "whole")


def test_a_database_of_another_version_is_one_line(tmp_path: Path, empty_database: Path) -> None:
    import sqlite3

    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    connection.close()
    registry = open_registry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_root=None)
    with pytest.raises(ConfigError, match="made by another version of MLflow") as caught:
        registry.versions(CLIENT)
    assert "\n" not in str(caught.value)


def test_a_database_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="the registry's database cannot be created"):
        open_registry(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", artifact_root=None)


def test_a_server_that_does_not_answer_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = open_registry("http://127.0.0.1:9", artifact_root=None)
    with pytest.raises(RetryableError, match=r"http://127\.0\.0\.1:9: MLflow could not do this") as caught:
        registry.versions(CLIENT)
    assert "\n" not in str(caught.value)


def test_a_password_in_the_uri_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="set MLFLOW_TRACKING_USERNAME") as caught:
        open_registry("https://operator:secret@mlflow.example", artifact_root=None)
    assert "secret" not in str(caught.value)


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "import delivery.registry, delivery.serving, delivery.quantization\n"
        "heavy = {'torch', 'transformers', 'peft', 'mlflow', 'sqlalchemy', 'openai', 'xllamacpp', 'bitsandbytes', 'gguf'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
