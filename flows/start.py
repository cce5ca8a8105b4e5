"""Start or resume a delivery in this process, once per client at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from delivery.client_config import ClientConfig
from delivery.errors import ConfigError, DeliveryError, DeliveryInterrupted
from delivery.settings import Workspace
from flows.environment import log_to_file, prepare
from flows.line import config_as_stored, store_of
from flows.server import prefect_api

if TYPE_CHECKING:
    from delivery.store.repository import ClientRepository

log = logging.getLogger("delivery.flow")


@dataclass(frozen=True)
class Outcome:
    """A delivery that reached its end."""

    client: str
    delivery_id: str
    report: Path
    promote: bool


OnStart = Callable[[str], None]


@contextlib.contextmanager
def alone(workspace: Workspace, client: str) -> Iterator[None]:
    """Hold the client's lock; the system frees it when the process ends, however it ends.

    Raises:
        ConfigError: another process holds it.
    """
    path = workspace.state / "locks" / f"{client}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{client}: another delivery of this client is running; wait for it ('delivery status {client}') or stop it first"
        ) from None
    try:
        yield
    finally:
        lock.release()


def start(workspace: Workspace, config: ClientConfig, *, on_start: OnStart = lambda _: None) -> Outcome:
    """Run a new delivery of a client to its end.

    Raises:
        ConfigError: another delivery of the client is running, or the configuration cannot be met.
        ClientDataError: the data were refused.
        DeliveryInterrupted: the user stopped it; ``resume`` goes on.
    """
    with alone(workspace, config.client):
        repository = store_of(workspace).add_client(config.client, config.vertical)
        repository.close_stale()
        known = next((row for row in repository.deliveries() if row.state == "done"), None)
        row = repository.start_delivery(config_as_stored(config))
        # On the configuration of a delivery that is done, there is mostly nothing to train.
        return _run(workspace, repository, row.id, on_start, engines=known is None or known.config != row.config)


def resume(workspace: Workspace, delivery_id: str, *, on_start: OnStart = lambda _: None) -> Outcome:
    """Go on with a delivery that was stopped, killed or failed, on the configuration that it started with."""
    store = store_of(workspace)
    client = store.client_of(delivery_id)
    if client is None:
        raise ConfigError(f"there is no delivery {delivery_id!r}; 'delivery status' lists them")
    with alone(workspace, client):
        repository = store.client(client)
        repository.close_stale(keep=delivery_id)
        row = repository.delivery(delivery_id)
        if row is not None and row.state == "done":
            raise ConfigError(f"{delivery_id}: is done; 'delivery report {client} --delivery {delivery_id}' shows its report")
        repository.set_state(delivery_id, "running")
        return _run(workspace, repository, delivery_id, on_start)


def _run(
    workspace: Workspace, repository: ClientRepository, delivery_id: str, on_start: OnStart, *, engines: bool = True
) -> Outcome:
    prepare(workspace)
    handler = log_to_file(workspace, delivery_id)
    on_start(delivery_id)
    try:
        with prefect_api(workspace, engines=engines):
            from flows.deliver import deliver
            from flows.steps import decision_of

            deliver(delivery_id)
        decision = decision_of(delivery_id)
    except (KeyboardInterrupt, DeliveryInterrupted) as error:
        repository.set_state(delivery_id, "interrupted", error="stopped by the user")
        raise DeliveryInterrupted(f"stopped; nothing is lost: 'delivery resume {delivery_id}' goes on") from error
    except BaseException as error:
        log.exception("delivery %s failed", delivery_id)
        known = isinstance(error, DeliveryError)
        repository.set_state(delivery_id, "failed", error=str(error) if known else f"{type(error).__name__}: {error}")
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    repository.set_state(delivery_id, "done", decision=decision)
    return Outcome(
        client=repository.client,
        delivery_id=delivery_id,
        report=workspace.reports(repository.client, delivery_id),
        promote=decision.promote,
    )
