"""The baseline tasks: the model to beat, by its recorded answers, its published score, or a stand-in labelled as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from delivery import evaluation, quantization
from delivery.artifacts import BaselinePack, BaseModel, OnProgress, SystemResult, TrainingPlan, sha256_json
from delivery.client_config import ClientConfig
from delivery.errors import IntegrityError
from delivery.evaluation import System
from flows.evidence import Contender, put_through, score, served, suite_of
from flows.line import Line
from flows.results import Artifacts
from flows.steps import Step

SHOTS = 4
"""Worked examples in the prompt of the stand-in."""


@Step
def check_baseline(line: Line, data: str) -> None:
    """Refuse a pack that was changed or belongs to another holdout, before anything has cost time."""
    pack = chosen_pack(line)
    if pack is not None:
        evaluation.verify_pack(pack, suite_of(line, data))


@Step
def evaluate_baseline(line: Line, data: str, base: str, plan: str) -> str:
    """The model to beat: its recorded answers, its published score, or a local stand-in that is labelled as one."""
    suite = suite_of(line, data)
    pack = chosen_pack(line)
    if pack is None:
        return _stand_in(line, data, base, plan)
    evaluation.verify_pack(pack, suite)

    def work(_: Path, __: OnProgress) -> SystemResult:
        if pack.source == "published":
            return replace(evaluation.published_result(pack, suite), pack_sha256=pack.sha256)
        note = f"answers recorded on {pack.recorded_on}"
        system = System("baseline", pack.model, source="recorded", prompting=pack.prompting, note=note)
        result = score(line, suite, evaluation.pack_answers(pack, suite), system=system, parse=pack.parse)
        return replace(result, pack_sha256=pack.sha256)

    return line.stage("evaluate_baseline", {"suite": suite.sha256, "pack": pack.sha256}, work)


def chosen_pack(line: Line) -> BaselinePack | None:
    """The client's newest pack of its baseline model, from the first of its sources that has one."""
    order = [source for source in line.config.baseline.sources if source != "live"]
    packs = [pack for pack in packs_of(line.config) if pack.model == line.config.baseline.model and pack.source in order]
    packs.sort(key=lambda pack: pack.recorded_on, reverse=True)
    return min(packs, key=lambda pack: order.index(pack.source), default=None)


def packs_of(config: ClientConfig) -> list[BaselinePack]:
    """A client's packs.

    Raises:
        IntegrityError: one of them is not what it was when it was frozen.
    """
    packs = []
    for found in evaluation.list_packs(config.folder):
        if isinstance(found, evaluation.PackProblem):
            raise IntegrityError(found.problem)
        packs.append(found)
    return packs


def _stand_in(line: Line, data: str, base: str, plan: str) -> str:
    """The untuned base model with worked examples in its prompt, behind a local server."""
    model, length, suite = line.read(BaseModel, base), line.read(TrainingPlan, plan), suite_of(line, data)

    def work(folder: Path, on_progress: OnProgress) -> Artifacts:
        made = quantization.quantize(("gguf-q8_0",), base=model, adapter=None, out=folder, on_progress=on_progress)
        return Artifacts(made, made[0])

    untuned = line.read(Artifacts, line.stage("quantize_stand_in", {"base": model.sha256}, work)).shipped
    shots = evaluation.choose_shots(line.rows(data).splits.train, SHOTS, suite=suite)
    system = System(
        "baseline",
        f"{model.name} (untuned)",
        artifact=untuned.format,
        source="stand-in",
        prompting="few_shot",
        note=f"a local stand-in, not {line.config.baseline.model}: no recorded answers, published score or key was there",
    )
    contender = Contender(
        system,
        f"{untuned.sha256}-{sha256_json([shot.id for shot in shots])[:12]}",
        served(untuned, length, shots=len(shots)),
        lambda sample: evaluation.few_shot(sample, shots),
    )
    return put_through(line, contender, suite, length)
