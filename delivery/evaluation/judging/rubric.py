"""Judged role play: every reply is checked against the sample's rubric, point by point.

Points and not pairs of dialogues decide. From the second turn on two dialogues differ in what led up to a reply, so a
preference between replies is partly one between situations; a point such as "keeps to her age of seventy" is met or not, by
every system in the same sense, and needs neither a second order nor the baseline's dialogue. A point that does not apply to
a reply is left out of the reply's share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from delivery.artifacts import Canary, Estimate, OnProgress, Sample, Scored, Suite, no_progress
from delivery.evaluation.judging.dialogues import Dialogue, constant, scene_of
from delivery.evaluation.judging.families import family_limitations
from delivery.evaluation.judging.intervals import mean_of_clusters
from delivery.evaluation.judging.judge import NOTHING_APPLIES, Judge, Query, Reply, ask, key_of, not_one
from delivery.evaluation.judging.pairs import counted, reasons_to_withhold, some_samples
from delivery.evaluation.judging.prompts import RUBRIC
from delivery.evaluation.judging.results import (
    JudgedDialogues,
    Player,
    RolePlay,
    SimulatedScore,
    SliceScore,
    Terms,
    record,
)
from delivery.evaluation.judging.rules import CANARIES
from delivery.evaluation.judging.verdicts import Met, read_rubric, rubric_forms
from delivery.evaluation.scoring.scorers import NO_ANSWER

CALIBRATED_ON_PAIRS = (
    "The judge was measured on pairs of answers; in the role play it decides on single points, which it may do better or worse."
)


def judge_dialogues(
    judge: Judge,
    suite: Suite,
    *,
    players: Sequence[Player],
    terms: Terms,
    on_progress: OnProgress = no_progress,
) -> JudgedDialogues:
    """Every player's dialogues, and those of the canaries, checked reply by reply.

    A dialogue of which one reply has no verdict errored: a mean over the others could be one over the easier turns.

    Raises:
        ClientDataError: a sample is no role play.
        NoVerdict: of a player, or of a canary, not one dialogue has a verdict, and to all of them the judge said something.
        EvalIncompleteError: the same where some have no reply.
        ConfigError, RetryableError: from the judge's endpoint; verdicts given before are kept.
    """
    plays = [_play(judge, suite, one, terms=terms, on_progress=on_progress) for one in players]
    chosen = some_samples(suite, terms.rules.canary_samples)
    canaries = []
    for name, text in CANARIES.items():
        scored = _score(judge, chosen, constant(chosen, text), criteria=terms.rules.rubric, on_progress=on_progress)
        canaries.append(Canary(name, len(counted(scored)), _mean(suite, name, scored, seed=terms.seed)))
    limitations = family_limitations(judge.model, {one.system: one.model for one in players})
    return JudgedDialogues(
        suite=suite.name,
        judge=record(judge, RUBRIC, terms.rules.rubric),
        plays=tuple(plays),
        canaries=tuple(canaries),
        calibration=terms.calibration,
        withheld=reasons_to_withhold(terms, canaries, most=terms.rules.max_canary_score),
        limitations=limitations if terms.calibration is None else (*limitations, CALIBRATED_ON_PAIRS),
    )


def _play(judge: Judge, suite: Suite, player: Player, *, terms: Terms, on_progress: OnProgress) -> RolePlay:
    criteria = terms.rules.rubric
    scored = _score(judge, suite.samples, player.dialogues, criteria=criteria, on_progress=on_progress)
    simulated = None
    if player.simulated:
        beside = _score(judge, suite.samples, player.simulated, criteria=criteria, on_progress=on_progress)
        known = len(counted(beside))
        simulated = SimulatedScore(known, len(beside) - known, _mean(suite, player.system, beside, seed=terms.seed))
    return RolePlay(
        system=player.system,
        model=player.model,
        scored=scored,
        n=len(counted(scored)),
        n_errored=len(scored) - len(counted(scored)),
        judged_score=_mean(suite, player.system, scored, seed=terms.seed),
        slices=_slices(suite, scored, seed=terms.seed),
        simulated=simulated,
    )


def _score(
    judge: Judge, samples: Sequence[Sample], dialogues: Sequence[Dialogue], *, criteria: str, on_progress: OnProgress
) -> tuple[Scored, ...]:
    by_id = {dialogue.sample_id: dialogue for dialogue in dialogues}
    queries: dict[str, list[Query[Met]]] = {}
    for sample in samples:
        dialogue = by_id.get(sample.id)
        if dialogue is not None and dialogue.error is None:
            queries[sample.id] = _queries(judge, sample, dialogue, criteria)
    asked = [query for of_one in queries.values() for query in of_one]
    replies = ask(judge, RUBRIC, asked, on_progress=on_progress)
    return tuple(
        _scored(sample, by_id.get(sample.id), [replies[query.id] for query in queries.get(sample.id, [])]) for sample in samples
    )


def _queries(judge: Judge, sample: Sample, dialogue: Dialogue, criteria: str) -> list[Query[Met]]:
    scene = scene_of(sample)
    points = "\n".join(f"{number}. {point}" for number, point in enumerate(scene.rubric, start=1))
    standard = f"Standard: {criteria}\nPoints:\n{points}"
    found = []
    for number, turn in enumerate(dialogue.turns):
        so_far = Dialogue(sample.id, dialogue.turns[:number]).text
        material = {
            "persona": scene.persona,
            "scene": scene.scene or "(none)",
            "conversation so far": "\n\n".join(part for part in (so_far, f"user: {turn.user}") if part),
            "reply to check": turn.reply,
        }
        count = len(scene.rubric)
        forms = rubric_forms(count) if judge.closed else ()
        found.append(Query(key_of(standard, material), standard, material, partial(read_rubric, points=count), forms))
    return found


def _scored(sample: Sample, dialogue: Dialogue | None, replies: Sequence[Reply[Met]]) -> Scored:
    error = (dialogue.error if dialogue is not None else NO_ANSWER) or next((one.error for one in replies if one.error), None)
    met = [one.value for one in replies if one.value is not None]
    turns = [known for one in met if (known := [bool(point) for point in one if point is not None])]
    cluster = sample.cluster or sample.slices.get("persona", "")
    output = dialogue.text if dialogue is not None and dialogue.turns else None
    if error is not None or not turns:
        error = error or NOTHING_APPLIES
        return Scored(sample.id, "", output, None, valid=False, correct=None, error=error, cluster=cluster)
    score = sum(sum(turn) / len(turn) for turn in turns) / len(turns)
    return Scored(
        sample_id=sample.id,
        expected="",
        output=output,
        parsed=json.dumps([list(turn) for turn in met]),
        valid=True,
        correct=all(all(turn) for turn in turns),
        score=score,
        cluster=cluster,
    )


def _slices(suite: Suite, scored: Sequence[Scored], *, seed: int) -> tuple[SliceScore, ...]:
    slices: Mapping[str, Mapping[str, str]] = {sample.id: sample.slices for sample in suite.samples}
    members: dict[tuple[str, str], list[Scored]] = {}
    for one in counted(scored):
        for name, value in slices[one.sample_id].items():
            members.setdefault((name, value), []).append(one)
    return tuple(
        SliceScore(name, value, len(found), _estimate(_apart(found), seed=seed))
        for (name, value), found in sorted(members.items())
    )


def _apart(found: Sequence[Scored]) -> Sequence[Scored]:
    """Within one persona its dialogues are what varies: of a single cluster nothing could be drawn."""
    return [replace(one, cluster="") for one in found] if len({one.cluster for one in found}) == 1 else found


def _mean(suite: Suite, name: str, scored: Sequence[Scored], *, seed: int) -> Estimate:
    known = counted(scored)
    if not known:
        raise not_one(f"suite {suite.name}: {name}: none of {len(scored)} dialogues could be judged", [s.error for s in scored])
    return _estimate(known, seed=seed)


def _estimate(known: Sequence[Scored], *, seed: int) -> Estimate:
    return mean_of_clusters([one.score or 0.0 for one in known], [one.cluster for one in known], seed=seed)
