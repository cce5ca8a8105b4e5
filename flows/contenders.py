"""The systems that have to be asked: who each is, how it is reached, and what it is sent for a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from delivery import evaluation, serving
from delivery.artifacts import Artifact, BaseModel, Sample, Suite, TrainingPlan
from delivery.evaluation import Endpoint, Request, System

SLOTS = 8
"""Requests that a server answers at once during evaluation."""

Reach = Callable[[Path], AbstractContextManager[Endpoint]]


@dataclass(frozen=True)
class Contender:
    """A system that has to be asked. ``identity`` names its weights or its pack, and the file of its answers."""

    system: System
    identity: str
    reach: Reach
    prompt: Callable[[Sample], Request] = evaluation.zero_shot
    pack_sha256: str = ""


def served(artifact: Artifact, plan: TrainingPlan, *, shots: int = 0, context: Callable[[], int] = lambda: 0) -> Reach:
    """The artifact behind the server that would serve it, asked through the official client.

    A request has room for the client's own rows with ``shots`` of them in the prompt, and for what ``context`` counts at least.
    """

    @contextmanager
    def reach(folder: Path) -> Iterator[Endpoint]:
        room = max(context(), plan.max_length + plan.max_new_tokens + shots * plan.stats.longest)
        with serving.serve(artifact, slots=SLOTS, context_per_slot=room, log=folder / "server.log") as server:
            yield evaluation.http_endpoint(
                server.base_url, model=server.model, name=artifact.sha256, concurrency=SLOTS, api_key="local"
            )

    return reach


def here(model: BaseModel, adapter: Artifact | None, _: Path) -> AbstractContextManager[Endpoint]:
    """The base, or the adapter on it, answering in this process."""
    return nullcontext(evaluation.local_endpoint(model, adapter=adapter))


def longest_play(suite: Suite, plan: TrainingPlan) -> int:
    """Tokens that the client's longest dialogue can come to when every turn of it is replied to at length; else 0."""
    turns = max((len(sample.reference.get("turns", ())) for sample in suite.samples), default=0)
    return plan.max_length + turns * plan.max_new_tokens if turns else 0
