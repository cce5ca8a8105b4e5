"""What systems answer on the client's holdout, how it is scored, and whether a difference is real.

In order: ``suites`` (holdout rows, and the files of ``evals/``, to samples), ``baselines`` (prompts and recorded answers),
``endpoints`` (requests to answers; engines ``hf`` and ``openai``), ``encoder``, ``scoring`` (answers to right, wrong or
errored, and to metrics), ``statistics`` (whether a difference is real), ``gates`` (promote or not).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from delivery.artifacts import (
    Analysis,
    Answer,
    Artifact,
    BaseModel,
    CleanScores,
    Example,
    Scored,
    Suite,
    SuiteResult,
    SystemName,
    SystemResult,
)
from delivery.client_config import Gates
from delivery.evaluation.baselines.choosing import Contest, Holdout, contest_of_packs
from delivery.evaluation.baselines.freezing import PackSpec
from delivery.evaluation.baselines.importing import import_pack
from delivery.evaluation.baselines.packs import (
    Coverage,
    PackEndpoint,
    PackProblem,
    list_packs,
    load_pack,
    pack_answers,
    published_result,
    verify_pack,
)
from delivery.evaluation.baselines.prompting import choose_shots, few_shot, prompt_of, zero_shot
from delivery.evaluation.baselines.recording import Asking, Recording, record_packs
from delivery.evaluation.endpoints.budget import Budget, TokenPrice
from delivery.evaluation.endpoints.endpoint import Endpoint, FakeEndpoint, Request, collect
from delivery.evaluation.gates import decide
from delivery.evaluation.scoring.parsing import parse
from delivery.evaluation.scoring.scorers import score
from delivery.evaluation.statistics.power import Power, power_check, power_of
from delivery.evaluation.suites.contamination import asked_texts, restricted, without
from delivery.evaluation.suites.loading import list_suites, load_suite
from delivery.evaluation.suites.public import public_suite
from delivery.evaluation.suites.use_case import use_case_suite
from delivery.evaluation.system import System, raise_if_incomplete, raise_if_unanswered

if TYPE_CHECKING:
    from delivery.evaluation.endpoints.openai import OpenAIEndpoint
    from delivery.evaluation.suites.ordering import Ordered
    from delivery.settings import Workspace

Duels = Mapping[SystemName, Sequence[Scored]]
"""By system the candidate's outcomes where a judge saw its answer beside that system's."""

__all__ = [
    "Asking",
    "Budget",
    "Contest",
    "Coverage",
    "Duels",
    "Endpoint",
    "FakeEndpoint",
    "Holdout",
    "PackEndpoint",
    "PackProblem",
    "PackSpec",
    "Power",
    "Recording",
    "Request",
    "System",
    "TokenPrice",
    "analyse",
    "asked_texts",
    "choose_shots",
    "clean_scores",
    "collect",
    "compare",
    "contest_of_packs",
    "decide",
    "encoder_answers",
    "few_shot",
    "http_endpoint",
    "import_pack",
    "list_packs",
    "list_suites",
    "load_pack",
    "load_suite",
    "local_endpoint",
    "order_suite",
    "pack_answers",
    "parse",
    "power_check",
    "power_of",
    "prompt_of",
    "public_suite",
    "published_result",
    "raise_if_incomplete",
    "raise_if_unanswered",
    "record_packs",
    "restricted",
    "score",
    "summarise",
    "use_case_suite",
    "verify_pack",
    "with_promises",
    "without",
    "zero_shot",
]


def summarise(
    suite: Suite, scored: Sequence[Scored], *, system: System, answers: Sequence[Answer] = (), seed: int = 7
) -> SystemResult:
    """One system's metrics on a suite, each with its 95 % interval. See ``metrics.summarise``."""
    from delivery.evaluation.scoring import metrics

    return metrics.summarise(suite, scored, system=system, answers=answers, seed=seed)


def compare(
    suite: Suite, systems: Sequence[SystemResult], *, gates: Gates, duels: Duels | None = None, seed: int = 7
) -> SuiteResult:
    """The candidate against every other system, with slices. See ``comparison.compare``."""
    from delivery.evaluation.statistics import comparison

    return comparison.compare(suite, systems, gates=gates, duels=duels, seed=seed)


def analyse(suite: Suite, systems: Sequence[SystemResult]) -> Analysis | None:
    """The candidate's mistakes beside the baseline's answers. See ``analysis.analyse``."""
    from delivery.evaluation import analysis

    return analysis.analyse(suite, systems)


def clean_scores(suite: Suite, systems: Sequence[SystemResult], contaminated: Collection[str]) -> CleanScores:
    """The primary metric without contaminated samples. See ``analysis.clean_scores``."""
    from delivery.evaluation import analysis

    return analysis.clean_scores(suite, systems, contaminated)


def with_promises(suites: Sequence[SuiteResult]) -> tuple[SuiteResult, ...]:
    """All suites of a delivery, their promised comparisons adjusted together. See ``multiple.with_promises``."""
    from delivery.evaluation.statistics import multiple

    return multiple.with_promises(suites)


def order_suite(entry: str, workspace: Workspace, *, relative_to: Path) -> Ordered:
    """A suite that a client ordered, by its name or as ``reader:file``. See ``ordering.order_suite``."""
    from delivery.evaluation.suites import ordering

    return ordering.order_suite(entry, workspace, relative_to=relative_to)


def encoder_answers(train: Sequence[Example], suite: Suite) -> tuple[Answer, ...]:
    """What a linear classifier trained on the training rows answers. See ``encoder.encoder_answers``."""
    from delivery.evaluation import encoder

    return encoder.encoder_answers(train, suite)


def local_endpoint(base: BaseModel, *, adapter: Artifact | None = None) -> Endpoint:
    """The untouched base, or an adapter on it, answering in this process. See ``hf.HFEndpoint``."""
    from delivery.evaluation.endpoints.hf import HFEndpoint

    name = f"{base.name}@{base.sha256}" + (f"+{adapter.sha256}" if adapter is not None else "")
    return HFEndpoint(Path(base.path), name=name, adapter=Path(adapter.path) if adapter is not None else None)


def http_endpoint(
    base_url: str, *, model: str, name: str = "", api_key: str = "", concurrency: int = 8, budget: Budget | None = None
) -> OpenAIEndpoint:
    """Anything that speaks OpenAI's chat completions under ``base_url``. See ``openai.OpenAIEndpoint``.

    ``name`` says exactly what answers where ``model`` and address do not, such as the served artifact's hash.
    """
    from delivery.evaluation.endpoints.openai import Calls, OpenAIEndpoint

    return OpenAIEndpoint(
        base_url, model=model, name=name, api_key=api_key, calls=Calls(concurrency=concurrency), budget=budget
    )
