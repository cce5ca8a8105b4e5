"""Engine on MLflow, with no server on SQLite: the only module that knows it.

A version is registered in steps, and a process may be killed between any two. The delivery's id is a tag of everything
that is made, so the next attempt finds it: a version with the tag is taken as it is, a logged model with the tag is
filled and used. Files are copied, not linked, so that the registry does not change with the folders of the stages.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

# Read by MLflow when it is imported: it neither reports usage over the network, nor reads pickles, nor writes to stderr.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
os.environ["MLFLOW_CONFIGURE_LOGGING"] = "false"

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry

from delivery.artifacts import Artifact
from delivery.errors import ConfigError, RetryableError
from delivery.registry.aliases import AliasRules, Entry, decode_before, require_registrable, require_slug
from delivery.registry.protocol import ModelVersion, TrainingRun

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.ERROR)

_DELIVERY = "delivery.id"
_ARTIFACTS = "delivery.artifacts"
_SHIPPED = "delivery.shipped"
_BEFORE = "delivery.champions_before"
_COMPLETE = "delivery.complete"
_OURS = "delivery."
_SQLITE = "sqlite:///"
_BATCH = 1000
"""Metrics that MLflow takes at once; of parameters it takes a hundred."""


class MlflowRegistry(AliasRules):
    """One experiment and one registered model per client, both named as the client."""

    def __init__(self, tracking_uri: str, *, artifact_root: Path | None) -> None:
        parts = urlsplit(tracking_uri)
        if parts.scheme in ("http", "https") and parts.username is not None:
            raise ConfigError(
                f"DELIVERY_MLFLOW_TRACKING_URI={_shown(tracking_uri)} holds a user name, which would reach the logs: "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        if tracking_uri.startswith(_SQLITE):
            _create_database(Path(tracking_uri.removeprefix(_SQLITE)))

    def register(
        self, client: str, artifacts: Sequence[Artifact], *, shipped: Artifact, delivery_id: str, tags: Mapping[str, str]
    ) -> ModelVersion:
        """See ``ModelRegistry``."""
        require_slug(client)
        require_registrable(artifacts, shipped)
        with self._connected() as store:
            number = self._registered(store, client, delivery_id)
            if number is None:
                number = self._create(store, client, artifacts, {**tags, _DELIVERY: delivery_id, _SHIPPED: shipped.format})
            if _COMPLETE not in store.get_model_version(client, str(number)).tags:
                self._challenge(client, number)
                store.set_model_version_tag(client, str(number), _COMPLETE, "true")
        return next(v for v in self.versions(client) if v.number == number)

    def log_training(self, client: str, delivery_id: str, training: TrainingRun) -> str:
        """See ``ModelRegistry``."""
        require_slug(client)
        with self._connected() as store:
            experiment = self._experiment(store, client)
            run = _run_of(store, experiment, delivery_id) or store.create_run(
                experiment, run_name=delivery_id, tags={_DELIVERY: delivery_id}
            )
            if run.info.status == "FINISHED":
                return str(run.info.run_id)
            # The run's own time: what an attempt before this one logged is then the same row, not a second one.
            at = run.info.start_time
            points = [Metric(name, value, at, step) for name, curve in training.curves.items() for step, value in curve]
            points += [Metric(name, value, at, 0) for name, value in training.figures.items()]
            store.log_batch(run.info.run_id, params=[Param(key, value) for key, value in training.params.items()])
            for start in range(0, len(points), _BATCH):
                store.log_batch(run.info.run_id, metrics=points[start : start + _BATCH])
            store.set_terminated(run.info.run_id, "FINISHED")
            return str(run.info.run_id)

    def training_run(self, client: str, delivery_id: str) -> TrainingRun | None:
        """See ``ModelRegistry``."""
        with self._connected() as store:
            experiment = store.get_experiment_by_name(client)
            run = _run_of(store, experiment.experiment_id, delivery_id) if experiment else None
            if run is None:
                return None
            history = {name: store.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
            return TrainingRun(
                params=dict(run.data.params),
                curves={
                    name: tuple(sorted((point.step, point.value) for point in points))
                    for name, points in history.items()
                    if any(point.step for point in points)
                },
                figures={name: points[0].value for name, points in history.items() if not any(p.step for p in points)},
            )

    def erase(self, client: str) -> tuple[ModelVersion, ...]:
        """See ``ModelRegistry``."""
        found = self.versions(client)
        with self._connected() as store:
            for version in found:
                for alias in version.aliases:
                    store.delete_registered_model_alias(client, alias)
            experiment = store.get_experiment_by_name(client)
            for model in _logged_models(store, experiment.experiment_id) if experiment else ():
                # MLflow only marks what it deletes; the files would stay.
                shutil.rmtree(_local(model.artifact_location), ignore_errors=True)
                store.delete_logged_model(model.model_id)
            for run in _runs(store, experiment.experiment_id) if experiment else ():
                store.delete_run(run.info.run_id)
            for version in found:
                store.delete_model_version(client, str(version.number))
        if self._artifact_root is not None:
            shutil.rmtree(self._artifact_root / client, ignore_errors=True)
        return found

    def _registered(self, store: MlflowClient, client: str, delivery_id: str) -> int | None:
        found = [v for v in _search(store, client) if v.tags.get(_DELIVERY) == delivery_id]
        return min((int(v.version) for v in found), default=None)

    def _create(self, store: MlflowClient, client: str, artifacts: Sequence[Artifact], tags: dict[str, str]) -> int:
        model = self._logged_model(store, client, tags[_DELIVERY])
        for artifact in artifacts:
            for name in artifact.files:
                folder = PurePosixPath(artifact.format, name).parent
                store.log_model_artifact(model.model_id, str(Path(artifact.path, name)), str(folder))
        store.finalize_logged_model(model.model_id, "READY")
        with _unless_it_exists():
            store.create_registered_model(client)
        described = {a.format: {"bytes": a.bytes, "sha256": a.sha256, "files": a.files} for a in artifacts}
        version = store.create_model_version(
            client,
            source=model.model_uri,
            run_id=model.source_run_id,
            model_id=model.model_id,
            tags={**tags, _ARTIFACTS: json.dumps(described, sort_keys=True)},
        )
        return int(version.version)

    def _logged_model(self, store: MlflowClient, client: str, delivery_id: str) -> Any:
        """The logged model of a delivery: the one that an attempt before this left, or a new one of its training run."""
        experiment = self._experiment(store, client)
        left = next((m for m in _logged_models(store, experiment) if m.tags.get(_DELIVERY) == delivery_id), None)
        if left is not None:
            return left
        run = _run_of(store, experiment, delivery_id)
        return store.create_logged_model(
            experiment, name=client, source_run_id=run.info.run_id if run else None, tags={_DELIVERY: delivery_id}
        )

    def _experiment(self, store: MlflowClient, client: str) -> str:
        location = None if self._artifact_root is None else (self._artifact_root / client).absolute().as_uri()
        with _unless_it_exists():
            store.create_experiment(client, artifact_location=location)
        return str(store.get_experiment_by_name(client).experiment_id)

    def _entries(self, client: str) -> tuple[Entry, ...]:
        require_slug(client)
        with self._connected() as store:
            found = sorted(_search(store, client), key=lambda v: int(v.version))
            aliases = dict(store.get_registered_model(client).aliases) if found else {}
            return tuple(Entry(_version(v, aliases, self._folder(store, v)), decode_before(v.tags.get(_BEFORE))) for v in found)

    def _folder(self, store: MlflowClient, version: Any) -> str:
        return _local(str(store.get_model_version_download_uri(version.name, version.version)))

    def _point(self, client: str, alias: str, number: int) -> None:
        with self._connected() as store:
            store.set_registered_model_alias(client, alias, str(number))

    def _drop(self, client: str, alias: str) -> None:
        with self._connected() as store:
            store.delete_registered_model_alias(client, alias)

    def _remember(self, client: str, number: int, before: str) -> None:
        with self._connected() as store:
            store.set_model_version_tag(client, str(number), _BEFORE, before)

    @contextmanager
    def _connected(self) -> Iterator[MlflowClient]:
        # Parts of MLflow's own client look the URI up in the process, whatever this one was given.
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        try:
            yield MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        except MlflowException as error:
            reason = str(error).strip().split("\n", 1)[0][:300]
            if "out-of-date database schema" in reason:
                raise ConfigError(
                    f"{_shown(self._uri)}: was made by another version of MLflow; back it up and run 'mlflow db upgrade'"
                ) from error
            raise RetryableError(f"{_shown(self._uri)}: MLflow could not do this ({reason}); try again") from error


def _version(found: Any, aliases: Mapping[str, Any], path: str) -> ModelVersion:
    number = int(found.version)
    described: dict[str, Any] = json.loads(found.tags[_ARTIFACTS])
    artifacts = {f: Artifact(format=f, path=f"{path}/{f}", **held) for f, held in described.items()}  # type: ignore[arg-type]
    return ModelVersion(
        number=number,
        delivery_id=found.tags[_DELIVERY],
        tags={k: v for k, v in found.tags.items() if not k.startswith(_OURS)},
        aliases=tuple(sorted(alias for alias, version in aliases.items() if int(version) == number)),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).isoformat(timespec="milliseconds"),
        path=path,
        artifacts=tuple(artifacts.values()),
        shipped=artifacts[found.tags[_SHIPPED]],
        run=found.run_id or "",
    )


def _local(location: str) -> str:
    parts = urlsplit(location)
    return unquote(parts.path) if parts.scheme == "file" else location


def _logged_models(store: MlflowClient, experiment: str) -> Iterator[Any]:
    page = None
    while True:
        models = store.search_logged_models([experiment], page_token=page)
        yield from models
        page = models.token
        if not page:
            return


def _runs(store: MlflowClient, experiment: str) -> Iterator[Any]:
    page = None
    while True:
        runs = store.search_runs([experiment], page_token=page)
        yield from runs
        page = runs.token
        if not page:
            return


def _run_of(store: MlflowClient, experiment: str, delivery_id: str) -> Any:
    # Not by MLflow's filter, which takes no quotes inside a value.
    return next((run for run in _runs(store, experiment) if run.data.tags.get(_DELIVERY) == delivery_id), None)


def _search(store: MlflowClient, client: str) -> list[Any]:
    """The versions that were registered here, in no order."""
    found: list[Any] = []
    page = None
    while True:
        some = store.search_model_versions(f"name='{client}'", page_token=page)
        found.extend(v for v in some if _ARTIFACTS in v.tags)
        page = some.token
        if not page:
            return found


@contextmanager
def _unless_it_exists() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _create_database(path: Path) -> None:
    """Make an empty MLflow database whole or not at all: a half-migrated one cannot be opened again."""
    if path.exists():
        return
    partial = path.with_name(f".{path.name}.{uuid4().hex}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Where this cannot be written, MLflow would try for a minute and say less.
        partial.touch()
        engine = create_sqlalchemy_engine_with_retry(f"{_SQLITE}{partial.absolute()}")
        _initialize_tables(engine)
        engine.dispose()
        # A link, unlike a rename, does not replace the database that another process made meanwhile.
        with suppress(FileExistsError):
            os.link(partial, path)
    except OSError as error:
        raise ConfigError(f"{path}: the registry's database cannot be created ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _shown(uri: str) -> str:
    """A URI without the user and password in it."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
