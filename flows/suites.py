"""The tasks of further suites: what the client ordered beside its own task, above all whether nothing else was lost."""

from __future__ import annotations

from functools import partial

from delivery import weights
from delivery.artifacts import (
    BaseModel,
    Example,
    Message,
    Sample,
    Scorer,
    Suite,
    TrainingPlan,
)
from delivery.evaluation import System
from delivery.evaluation.suites.ordering import Ordered
from flows.contenders import Contender, here, served
from flows.evidence import compare_on, put_through
from flows.line import Line
from flows.ordered import further_suites
from flows.results import Artifacts
from flows.steps import Step
from flows.versions import champion_of

ROOM: dict[Scorer, int] = {
    "classification": 32,
    "extraction": 320,
    "choice": 16,
    "qa": 192,
    "instructions": 320,
    "preference": 16,
    "generation": 160,
    "role_play": 160,
}
"""Tokens that an answer may have, by what scores it."""


@Step
def evaluate_suites(line: Line, data: str, base: str, plan: str, artifacts: str) -> list[str]:
    """Every further suite: the candidate beside the untouched base, and beside the champion where there is one."""
    return [_evaluate(line, one, data, base=base, plan=plan, artifacts=artifacts) for one in further_suites(line)]


def _evaluate(line: Line, ordered: Ordered, data: str, *, base: str, plan: str, artifacts: str) -> str:
    suite = ordered.suite
    model, length = line.read(BaseModel, base), line.read(TrainingPlan, plan)
    shipped, champion = line.read(Artifacts, artifacts).shipped, champion_of(line)
    reach = partial(served, context=partial(longest, model, suite))
    contenders = [
        Contender(System("candidate", line.config.base_model, artifact=shipped.format), shipped.sha256, reach(shipped, length)),
        Contender(System("base", model.name, artifact="merged"), model.sha256, partial(here, model, None)),
    ]
    if champion is not None and champion.sha256 != shipped.sha256:
        system = System("champion", line.config.base_model, artifact=champion.format)
        contenders.append(Contender(system, champion.sha256, reach(champion, length)))
    heard = [put_through(line, one, suite, length, room=ROOM) for one in contenders]
    return compare_on(line, ordered, heard, data=data, base=base)


def longest(model: BaseModel, suite: Suite) -> int:
    """Tokens of the suite's longest prompt and its answer; of a role play, of the longest dialogue with all replies."""
    count = weights.token_counter(model)

    def tokens(sample: Sample) -> int:
        turns = [Message("user", turn) for turn in sample.reference.get("turns", ())]
        about = [Message("user", str(sample.reference[key])) for key in ("persona", "scene") if turns]
        room = ROOM[sample.scorer or suite.scorer] * max(1, len(turns))
        return count(Example(sample.id, (*sample.messages, *about, *turns), "")) + room

    return max(map(tokens, suite.samples))
