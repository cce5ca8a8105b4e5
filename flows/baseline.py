"""The baseline tasks: the model to beat, by its recorded answers, asked live, by its published score, or a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from delivery import evaluation, quantization
from delivery.artifacts import BaselinePack, BaseModel, OnProgress, Source, Suite, SystemResult, TrainingPlan, sha256_json
from delivery.client_config import BaselineSource, ClientConfig, Format
from delivery.errors import ConfigError, EvalIncompleteError, IntegrityError
from delivery.evaluation import Endpoint, Holdout, System
from delivery.settings import get_settings
from flows.contenders import Contender, longest_play, served
from flows.evidence import put_through, score, suite_of
from flows.judged import hear
from flows.line import Line
from flows.live import day_of, live_model, record, sale_notice
from flows.results import Frozen
from flows.steps import Step

STAND_IN: Format = "gguf-q8_0"
SHOTS = 4
"""Worked examples in the prompt of the stand-in."""


@Step
def check_baseline(line: Line, data: str) -> None:
    """Refuse a pack that was changed or belongs to another holdout, or a wrong key, before anything has cost time."""
    held = holdout_of(line, data)
    for source in line.config.baseline.sources:
        found = packs_from(line, source)
        for pack in found:
            evaluation.verify_pack(pack, held.test)
        if found:
            return
        if source == "live":
            try:
                model = live_model(line, held)
            except ConfigError:
                continue
            if not get_settings().offline:
                model.endpoint.check()
            return


@Step
def evaluate_baseline(line: Line, data: str, base: str, plan: str) -> list[str]:
    """The model to beat with its strongest prompt, then with the others: from the first source that is available.

    Without any, a local stand-in that is labelled as one. A live model's answers are frozen as packs and used as those. Where a
    judge decides, the strongest is the first of ``baseline.prompting``, and a published score is of another judge: no help.
    """
    held, why = holdout_of(line, data), ""
    for source in line.config.baseline.sources:
        if held.test.judged and source == "published":
            continue
        if source == "live":
            try:
                _ask_live(line, data, held)
            except (ConfigError, EvalIncompleteError) as error:
                why = str(error) if get_settings().openai_api_key is not None else ""
                continue
        found = packs_from(line, "recorded" if source == "live" else source)
        if found:
            return _from_packs(line, held, found, source=source, plan=plan)
    return [_stand_in(line, data, base, plan, why)]


def holdout_of(line: Line, data: str) -> Holdout:
    """The client's test rows, and the validation rows where it has any and a rule can choose by them between prompts."""
    test, splits = suite_of(line, data), line.rows(data).splits
    chooses = bool(splits.validation) and not test.judged
    return Holdout(test, evaluation.use_case_suite(line.config, splits.validation) if chooses else None)


def packs_from(line: Line, source: BaselineSource) -> list[BaselinePack]:
    """The client's packs of its baseline model from one source: the newest of each prompting, in the configured order."""
    baseline = line.config.baseline
    packs = [pack for pack in packs_of(line.config) if pack.model == baseline.model and pack.source == source]
    packs.sort(key=lambda pack: pack.recorded_on)
    newest = {pack.prompting: pack for pack in packs}
    order: list[str] = [name for name in baseline.prompting if name in newest]
    rest = sorted((name for name in newest if name not in order), key=lambda name: newest[name].recorded_on, reverse=True)
    return [newest[name] for name in (*order, *rest)]


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


def _ask_live(line: Line, data: str, held: Holdout) -> None:
    model = live_model(line, held)

    def work(_: Path, on_progress: OnProgress) -> Frozen:
        found = record(line, held, line.rows(data).splits.train, live=model, on_progress=on_progress)
        return Frozen(tuple(pack.name for pack in found.packs))

    inputs = {"suite": held.test.sha256, "baseline": line.config.baseline.model_dump(mode="json")}
    # The packs lie outside the workspace's state; what was answered once is not asked again.
    line.stage("record_baseline", inputs, work, always=True)


def _from_packs(line: Line, held: Holdout, packs: list[BaselinePack], *, source: BaselineSource, plan: str) -> list[str]:
    contest = evaluation.contest_of_packs(held.validation, packs)
    by_name = {pack.name: pack for pack in packs}
    ranked = [by_name[name] for name in contest.ranked(list(by_name))]
    notes = [_note(line, pack, place=place, source=source, contest=contest) for place, pack in enumerate(ranked)]
    stages = ["evaluate_baseline", *(f"evaluate_baseline_{pack.prompting}" for pack in ranked[1:])]
    found = []
    for pack, note, stage in zip(ranked, notes, stages, strict=True):
        system = System("baseline", pack.model, source=source, prompting=pack.prompting, note=note)
        if held.test.judged:
            contender = Contender(system, pack.sha256, partial(_says, pack, held.test), pack_sha256=pack.sha256)
            found.append(hear(line, contender, held.test, room=line.read(TrainingPlan, plan).max_new_tokens, stage=stage))
        else:
            found.append(_from_pack(line, held, pack, system=system, stage=stage))
    return found


def _says(pack: BaselinePack, suite: Suite, _: Path) -> AbstractContextManager[Endpoint]:
    return nullcontext(evaluation.PackEndpoint(pack, suite))


def _note(line: Line, pack: BaselinePack, *, place: int, source: Source, contest: evaluation.Contest) -> str:
    said = [f"answers recorded on {pack.recorded_on}" if source != "live" else f"asked live, frozen as {pack.name}"]
    if pack.name in contest.values:
        standing = "the strongest" if place == 0 else "not the strongest"
        value = 100 * contest.values[pack.name]
        said.append(f"{standing} of {len(contest.values)} prompts: {value:.1f} % on {contest.n} validation rows")
    notice = sale_notice(pack.model, day_of(line))
    return "; ".join([*said, notice] if notice else said)


def _from_pack(line: Line, held: Holdout, pack: BaselinePack, *, system: System, stage: str) -> str:
    notice = sale_notice(pack.model, day_of(line))

    def work(_: Path, __: OnProgress) -> SystemResult:
        if pack.source == "published":
            published = evaluation.published_result(pack, held.test)
            return replace(published, note=f"{published.note} {notice}." if notice else published.note)
        result = score(line, held.test, evaluation.pack_answers(pack, held.test), system=system, parse=pack.parse)
        return replace(result, pack_sha256=pack.sha256)

    return line.stage(stage, {"suite": held.test.sha256, "pack": pack.sha256, "note": system.note}, work)


def _stand_in(line: Line, data: str, base: str, plan: str, why: str) -> str:
    """The untuned base model with worked examples in its prompt (but for a role play), behind a local server."""
    model, length, suite = line.read(BaseModel, base), line.read(TrainingPlan, plan), suite_of(line, data)

    @contextmanager
    def reach(folder: Path) -> Iterator[Endpoint]:
        # It belongs to no client: whoever tunes this base next has it already.
        place = get_settings().cache / "untuned" / model.sha256
        (untuned,) = quantization.quantize((STAND_IN,), base=model, adapter=None, out=place)
        with served(untuned, length, shots=len(shots), context=partial(longest_play, suite, length))(folder) as endpoint:
            yield endpoint

    shots = evaluation.choose_shots(line.rows(data).splits.train, 0 if suite.scorer == "role_play" else SHOTS, suite=suite)
    system = System(
        "baseline",
        f"{model.name} (untuned)",
        artifact=STAND_IN,
        source="stand-in",
        prompting="few_shot" if shots else "zero_shot",
        note=f"a local stand-in, not {line.config.baseline.model}: "
        + (why or "no recorded answers, published score or key was there"),
    )
    contender = Contender(
        system,
        f"{model.sha256}-{STAND_IN}-{sha256_json([shot.id for shot in shots])[:12]}",
        reach,
        lambda sample: evaluation.few_shot(sample, shots),
    )
    return put_through(line, contender, suite, length)
