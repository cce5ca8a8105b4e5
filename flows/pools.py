"""Where a client's training could run, what it would take there, and what earlier runs here say about predictions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from pydantic import ValidationError

from delivery import costs, training
from delivery.artifacts import Adapter, BaseModel, Machine, TokenStats, TrainingPlan
from delivery.client_config import ClientConfig, list_clients
from delivery.errors import ConfigError, DoesNotFit
from delivery.settings import Workspace
from delivery.training import Past
from flows.line import Line, store_of

THIS_MACHINE = (costs.LOCAL, "cpu")
"""What ``--pool`` may call the machine that the command runs on."""


@dataclass(frozen=True)
class Offer:
    """A pool, and what the client's training would be and take there; no plan where it does not fit."""

    pool: str
    device: str
    devices: int
    memory_bytes: int
    hourly_usd: Decimal
    preemptible: bool
    plan: TrainingPlan | None
    accumulation: int
    """Micro-batches of a step, on each device."""
    why_not: str = ""

    @property
    def usd(self) -> Decimal | None:
        """US dollars for all training runs of the plan."""
        return None if self.plan is None else costs.usd_of(self.hourly_usd, self.plan.all_seconds)


def past_runs(workspace: Workspace) -> tuple[Past, ...]:
    """The training runs of this workspace that are over, oldest first."""
    store, found = store_of(workspace), []
    for slug in list_clients(workspace.clients):
        repository = store.client(slug)
        for row in repository.deliveries():
            stages = {stage.stage: stage for stage in repository.stages(row.id)}
            trained = stages.get("train")
            # A delivery that reused the adapter of another says nothing new.
            if trained is None or trained.state != "done":
                continue
            line = Line.of_delivery(row.id, workspace)
            with suppress(OSError, ValidationError, RuntimeError):
                past = Past.of(
                    line.read(TrainingPlan, line.finished("plan_training")),
                    line.read(Adapter, line.finished("train")).record,
                    base=line.read(BaseModel, line.finished("fetch_base_model")).sha256,
                )
                found.append((row.created_at, past))
    return tuple(past for _, past in sorted(found, key=lambda each: each[0]) if past is not None)


def pool_of(name: str, workspace: Workspace) -> costs.Pool:
    """A pool by its name.

    Raises:
        ConfigError: there is none of that name; names those that there are.
    """
    pools = costs.load_pools(workspace.pools)
    if name not in pools:
        known = ", ".join([costs.LOCAL, *pools])
        raise ConfigError(f"--pool: there is no pool {name!r} (known: {known}); describe your own in {workspace.pools}")
    return pools[name]


def offers(
    workspace: Workspace, config: ClientConfig, *, base: BaseModel, stats: TokenStats, here: TrainingPlan | Machine
) -> tuple[Offer, ...]:
    """What the training would take on each pool, this machine first; ``here`` is its plan, or the machine where none fits."""
    book, history = costs.load_price_book(), past_runs(workspace)
    hourly = book.hourly_usd(config.cost.hardware)
    found = [_offer(costs.LOCAL, here, hourly=hourly)] if isinstance(here, TrainingPlan) else []
    if isinstance(here, Machine):
        found = [_offer(costs.LOCAL, _try(config, base, stats, machine=here, history=history), hourly=hourly, machine=here)]
    for name, pool in costs.load_pools(workspace.pools).items():
        planned = _try(config, base, stats, machine=pool.machine, history=history)
        priced = pool.hourly(name, book)
        found.append(_offer(name, planned, hourly=priced, machine=pool.machine, preemptible=pool.preemptible))
    return tuple(found)


def cheapest(found: Sequence[Offer]) -> Offer | None:
    """The pool that takes the training for the least money."""
    return min((offer for offer in found if offer.usd is not None), key=lambda offer: offer.usd or Decimal(0), default=None)


def with_pools(error: DoesNotFit, found: Sequence[Offer]) -> DoesNotFit:
    """The error, and which pools would take what does not fit here."""
    fitting = [
        f"{offer.pool} ({offer.plan.method}, {offer.plan.predicted_peak_bytes / 2**30:.1f} GiB, ${offer.usd})"
        for offer in found
        if offer.plan is not None
    ]
    return DoesNotFit(f"{error}; pools that would take it: {', '.join(fitting) or 'none in the catalog'}")


def _try(
    config: ClientConfig, base: BaseModel, stats: TokenStats, *, machine: Machine, history: Sequence[Past]
) -> TrainingPlan | DoesNotFit:
    try:
        return training.make_plan(config.training, base=base, stats=stats, machine=machine, history=history)
    except DoesNotFit as error:
        return error


def _offer(
    name: str,
    planned: TrainingPlan | DoesNotFit,
    *,
    hourly: Decimal,
    machine: Machine | None = None,
    preemptible: bool = False,
) -> Offer:
    plan = planned if isinstance(planned, TrainingPlan) else None
    place = plan.machine if plan is not None else machine
    assert place is not None
    return Offer(
        pool=name,
        device=place.device,
        devices=place.devices,
        memory_bytes=place.memory_bytes,
        hourly_usd=hourly,
        preemptible=preemptible,
        plan=plan,
        accumulation=training.accumulation_of(plan) if plan is not None else 0,
        why_not="" if plan is not None else str(planned),
    )
