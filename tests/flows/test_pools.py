"""Where a training could run, and what earlier runs of the workspace say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from delivery.artifacts import Adapter, Artifact, BaseModel, Machine, TokenStats, TrainingPlan, TrainingRecord
from delivery.client_config import Training, load_client
from delivery.errors import ConfigError, DoesNotFit
from delivery.settings import Workspace
from delivery.training import make_plan
from flows import pools
from tests.flows.conftest import new_line

SMALL = BaseModel(name="base", path="", source="", sha256="b1", licence="", parameters=134_515_008, context_length=8192)
LARGE = replace(SMALL, parameters=12_000_000_000)
STATS = TokenStats(rows=720, tokens=720 * 190, supervised_tokens=720 * 40, longest=260, longest_answer=48)
MACHINE = Machine(device="cpu", threads=2, memory_bytes=16 * 2**30, bf16=True, matrix_flops=4e11)


def offers(workspace: Workspace, base: BaseModel, here: TrainingPlan | Machine) -> dict[str, pools.Offer]:
    config = load_client(workspace.clients, "acme")
    return {offer.pool: offer for offer in pools.offers(workspace, config, base=base, stats=STATS, here=here)}


def test_each_pool_gets_a_plan_of_its_own_and_a_price(workspace: Workspace) -> None:
    here = make_plan(Training(), base=SMALL, stats=STATS, machine=MACHINE)
    found = offers(workspace, SMALL, here)
    assert next(iter(found)) == "local"
    assert found["local"].plan == here
    assert found["local"].usd == (Decimal("0.11592") * Decimal(str(here.predicted_seconds)) / 3600).quantize(Decimal("0.0001"))
    card = found["gpu-l4"].plan
    assert card is not None
    assert card.predicted_seconds < here.predicted_seconds
    cheapest = pools.cheapest(tuple(found.values()))
    assert cheapest is not None
    assert cheapest.usd == min(offer.usd for offer in found.values() if offer.usd is not None)


def test_the_method_follows_the_memory_and_what_does_not_fit_says_so(workspace: Workspace) -> None:
    found = offers(workspace, LARGE, MACHINE)
    methods = {name: offer.plan.method if offer.plan else None for name, offer in found.items()}
    assert (methods["gpu-l4"], methods["gpu-h100"], methods["local"]) == ("qlora", "lora", methods["cpu-4core"])
    tight = offers(workspace, LARGE, replace(MACHINE, memory_bytes=4 * 2**30))["local"]
    assert (tight.plan, tight.usd) == (None, None)
    assert "needs at least" in tight.why_not


def test_a_refusal_names_the_pools_that_would_do(workspace: Workspace) -> None:
    found = tuple(offers(workspace, LARGE, replace(MACHINE, memory_bytes=4 * 2**30)).values())
    said = str(pools.with_pools(DoesNotFit("training: too large"), found))
    assert said.startswith("training: too large; pools that would take it: ")
    assert "gpu-h100 (lora, " in said
    assert "local" not in said


def test_an_unknown_pool_is_refused_with_those_that_are_known(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"there is no pool 'moon' \(known: local, cpu-4core, .*pools\.yaml"):
        pools.pool_of("moon", workspace)


def record(plan: TrainingPlan, factor: float) -> TrainingRecord:
    return TrainingRecord(
        method=plan.method,
        rank=plan.rank,
        alpha=plan.alpha,
        epochs=plan.epochs,
        steps=plan.steps,
        supervised_tokens=10,
        tokens=10,
        seconds=factor * plan.steps * plan.predicted_step_seconds,
        tokens_per_second=1.0,
        peak_memory_bytes=plan.predicted_peak_bytes,
        device="cpu",
        effective_training_time=0.9,
        matrix_rate_share=0.5,
        losses=(),
    )


def test_deliveries_that_trained_are_the_history_and_those_that_reused_an_adapter_are_not(workspace: Workspace) -> None:
    plan = make_plan(Training(), base=SMALL, stats=STATS, machine=MACHINE)
    adapter = Adapter(Artifact(format="adapter", path="", bytes=1, sha256="", files={}), record(plan, 1.3))
    assert pools.past_runs(workspace) == ()
    for _ in range(2):
        line = new_line(workspace)
        for name, made in (("fetch_base_model", SMALL), ("plan_training", plan), ("train", adapter)):
            line.stage(name, {}, lambda _folder, _progress, made=made: made)
    found = pools.past_runs(workspace)
    assert len(found) == 1, "the second delivery reused the first one's adapter"
    assert found[0].seconds == pytest.approx(1.3)
    assert found[0].base == "b1"
    offered = offers(workspace, SMALL, MACHINE)["local"].plan
    assert offered is not None
    assert offered.learned.runs == 1
    assert offered.predicted_seconds > plan.predicted_seconds
