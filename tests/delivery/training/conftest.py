"""A random model of two small layers: trains in seconds, through the real code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from delivery.artifacts import BaseModel, Splits, TokenStats, TrainingPlan
from delivery.client_config import Training
from delivery.training import count_tokens, make_plan, process, supervise
from tests.delivery.training.tiny_rows import TINY_MACHINE, tiny_splits
from tests.delivery.weights.tiny import make_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def splits() -> Splits:
    return tiny_splits()


@pytest.fixture(scope="session")
def stats(tiny: BaseModel, splits: Splits) -> TokenStats:
    return count_tokens(tiny, splits)


@pytest.fixture(scope="session")
def plan(tiny: BaseModel, stats: TokenStats) -> TrainingPlan:
    made = make_plan(Training(epochs=2, batch_size=8, rank=4), base=tiny, stats=stats, machine=TINY_MACHINE)
    return replace(made, checkpoint_every=5)


@pytest.fixture(scope="session", autouse=True)
def one_nursery() -> Iterator[None]:
    """The name of the running test is no reason to import everything anew, in a fixture neither. None is left at the end."""

    def of(plan: TrainingPlan) -> dict[str, str]:
        return {key: value for key, value in process.environment(plan).items() if key != "PYTEST_CURRENT_TEST"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervise, "environment", of)
        yield
    if process.Nursery._spare is not None:
        process.Nursery._spare.close()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
