"""What every registry must do: the one in memory, and MLflow on SQLite."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delivery.artifacts import Artifact, describe_folder, verify_artifact
from delivery.errors import ConfigError, IntegrityError
from delivery.registry import CHALLENGER, CHAMPION, InMemoryRegistry, ModelRegistry, ModelVersion, TrainingRun, open_registry

CLIENT = "demo-insurer"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database; making one takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_registry(f"sqlite:///{path}", artifact_root=None)
    return path


@pytest.fixture(params=["memory", "mlflow"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> ModelRegistry:
    if request.param == "memory":
        return InMemoryRegistry()
    shutil.copyfile(request.getfixturevalue("empty_database"), tmp_path / "mlflow.db")
    return open_registry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_root=tmp_path / "store")


@pytest.fixture
def artifacts(tmp_path: Path) -> tuple[Artifact, ...]:
    folder = tmp_path / "made"
    files = {"adapter": ("adapter_config.json", "adapter_model.safetensors"), "gguf-q8_0": ("model.gguf", "extra/notes.txt")}
    for format, names in files.items():
        for name in names:
            path = folder / format / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{format} {name}".encode() * 50)
        (folder / format / "manifest.json").write_text("not part of the artifact")
    return tuple(describe_folder(format, folder / format, names) for format, names in files.items())  # type: ignore[arg-type]


def _register(registry: ModelRegistry, artifacts: tuple[Artifact, ...], delivery_id: str, client: str = CLIENT) -> ModelVersion:
    return registry.register(
        client, artifacts, shipped=artifacts[1], delivery_id=delivery_id, tags={"fingerprint": f"of {delivery_id}"}
    )


RUN = TrainingRun(
    params={f"key{n}": str(n) for n in range(12)},
    curves={"loss": tuple((step, 2.0 / step) for step in range(1, 1201)), "validation_loss": ((400, 1.5), (1200, 1.25))},
    figures={"seconds": 12.5, "peak_memory_bytes": 2.5e9},
)


def test_a_version_refers_to_its_training_run(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    assert registry.training_run(CLIENT, "d-1") is None
    run = registry.log_training(CLIENT, "d-1", RUN)
    assert registry.log_training(CLIENT, "d-1", RUN) == run
    assert registry.training_run(CLIENT, "d-1") == RUN
    assert _register(registry, artifacts, "d-1").run == run
    assert _register(registry, artifacts, "d-2").run == ""
    registry.erase(CLIENT)
    assert registry.training_run(CLIENT, "d-1") is None


def test_a_client_without_a_model_has_no_versions(registry: ModelRegistry) -> None:
    assert registry.versions(CLIENT) == ()
    assert registry.champion(CLIENT) is None


def test_a_version_keeps_what_it_was_registered_with(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    version = _register(registry, artifacts, "d-1")
    assert (version.number, version.delivery_id, version.tags) == (1, "d-1", {"fingerprint": "of d-1"})
    assert version.aliases == (CHALLENGER,)
    assert datetime.now(UTC) - datetime.fromisoformat(version.created_at) < timedelta(minutes=1)
    assert registry.versions(CLIENT) == (version,)
    assert version.shipped == version.artifact("gguf-q8_0")
    for artifact, kept in zip(artifacts, (version.artifact(a.format) for a in artifacts), strict=True):
        assert (kept.format, kept.bytes, kept.sha256, kept.files) == (
            artifact.format,
            artifact.bytes,
            artifact.sha256,
            artifact.files,
        )
        verify_artifact(kept)
    with pytest.raises(ConfigError, match=r"registered without nf4 \(it holds adapter, gguf-q8_0\)"):
        version.artifact("nf4")


def test_a_delivery_is_registered_once(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    first = _register(registry, artifacts, "d-1")
    second = _register(registry, artifacts, "d-2")
    assert [v.number for v in registry.versions(CLIENT)] == [1, 2]
    assert second.aliases == (CHALLENGER,)
    again = _register(registry, artifacts, "d-1")
    assert (again.number, again.aliases) == (first.number, ())
    assert len(registry.versions(CLIENT)) == 2


def test_registering_again_does_not_undo_a_promotion_or_a_rollback(
    registry: ModelRegistry, artifacts: tuple[Artifact, ...]
) -> None:
    for delivery in ("d-1", "d-2"):
        registry.promote(CLIENT, _register(registry, artifacts, delivery).number)
    assert _register(registry, artifacts, "d-2").aliases == (CHAMPION,)
    registry.rollback(CLIENT)
    assert _register(registry, artifacts, "d-2").aliases == ()


def test_clients_do_not_see_each_other(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    _register(registry, artifacts, "d-1", client="a-client")
    version = _register(registry, artifacts, "d-1", client="a-client-2")
    assert version.number == 1
    registry.promote("a-client", 1)
    assert registry.champion("a-client-2") is None


def test_promotion_and_rollback(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    for delivery in ("d-1", "d-2", "d-3"):
        _register(registry, artifacts, delivery)
    with pytest.raises(ConfigError, match="no version is in service"):
        registry.rollback(CLIENT)
    assert registry.promote(CLIENT, 1).aliases == (CHAMPION,)
    assert [v.aliases for v in registry.versions(CLIENT)] == [(CHAMPION,), (), (CHALLENGER,)]
    with pytest.raises(ConfigError, match="version 1 is the first champion"):
        registry.rollback(CLIENT)
    assert registry.promote(CLIENT, 3).aliases == (CHAMPION,)
    registry.promote(CLIENT, 3)
    assert [v.aliases for v in registry.versions(CLIENT)] == [(), (), (CHAMPION,)]
    back = registry.rollback(CLIENT)
    assert (back.number, back.aliases) == (1, (CHAMPION,))
    champion = registry.champion(CLIENT)
    assert champion == back


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.one_of(st.integers(1, 4), st.just("rollback")), max_size=12))
def test_rollback_is_a_stack(moves: list[int | str], artifacts: tuple[Artifact, ...]) -> None:
    registry = InMemoryRegistry()
    for number in range(1, 5):
        _register(registry, artifacts, f"d-{number}")
    stack: list[int] = []
    for move in moves:
        if isinstance(move, int):
            registry.promote(CLIENT, move)
            if not stack or stack[-1] != move:
                stack.append(move)
        elif len(stack) > 1:
            stack.pop()
            assert registry.rollback(CLIENT).number == stack[-1]
        else:
            with pytest.raises(ConfigError):
                registry.rollback(CLIENT)
        champion = registry.champion(CLIENT)
        assert (champion.number if champion else None) == (stack[-1] if stack else None)
        assert sum(CHAMPION in v.aliases for v in registry.versions(CLIENT)) == bool(stack)


def test_aliases_of_ones_own(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    for delivery in ("d-1", "d-2"):
        _register(registry, artifacts, delivery)
    registry.set_alias(CLIENT, "canary", 2)
    registry.set_alias(CLIENT, "canary", 1)
    assert [v.aliases for v in registry.versions(CLIENT)] == [("canary",), (CHALLENGER,)]


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_version_that_is_not_there_is_one_line(number: int, registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    _register(registry, artifacts, "d-1")
    for act in (lambda: registry.promote(CLIENT, number), lambda: registry.set_alias(CLIENT, "canary", number)):
        with pytest.raises(ConfigError, match=rf"there is no version {number} \(versions: 1\)") as caught:
            act()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("client", ["", "Upper", "a' OR name LIKE '%", "../up"])
def test_what_is_no_client_name_is_refused(client: str, registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    with pytest.raises(ConfigError, match="is not a client's name"):
        _register(registry, artifacts, "d-1", client=client)
    with pytest.raises(ConfigError, match="is not a client's name"):
        registry.versions(client)


def test_a_flipped_bit_is_not_registered(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    path = Path(artifacts[1].path, "model.gguf")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=r"model\.gguf: is not the file that was recorded"):
        _register(registry, artifacts, "d-1")
    assert registry.versions(CLIENT) == ()


def test_what_ships_must_be_registered(registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    with pytest.raises(ConfigError, match="gguf-q8_0 ships but is not among the artifacts"):
        registry.register(CLIENT, artifacts[:1], shipped=artifacts[1], delivery_id="d-1", tags={})


@pytest.mark.parametrize("delivery", ["it's", 'a "quoted" one', "d-1; DROP TABLE model_versions", "x" * 200])
def test_a_delivery_may_be_called_anything(delivery: str, registry: ModelRegistry, artifacts: tuple[Artifact, ...]) -> None:
    assert _register(registry, artifacts, delivery).delivery_id == delivery
    assert _register(registry, artifacts, delivery).number == 1


def test_an_erased_client_has_no_versions_and_numbers_go_on(
    registry: ModelRegistry, artifacts: tuple[Artifact, ...], tmp_path: Path
) -> None:
    first = _register(registry, artifacts, "d1")
    registry.promote(CLIENT, first.number)
    _register(registry, artifacts, "d2")
    kept = _register(registry, artifacts, "d1", client="other-client")
    assert [version.number for version in registry.erase(CLIENT)] == [1, 2]
    assert registry.versions(CLIENT) == ()
    assert registry.champion(CLIENT) is None
    assert not (tmp_path / "store" / CLIENT).exists()
    assert registry.erase(CLIENT) == ()
    assert [version.number for version in registry.versions("other-client")] == [1]
    for artifact in kept.artifacts:
        verify_artifact(artifact)
    again = _register(registry, artifacts, "d3")
    assert (again.number, again.aliases) == (3, (CHALLENGER,))
    for artifact in again.artifacts:
        verify_artifact(artifact)
