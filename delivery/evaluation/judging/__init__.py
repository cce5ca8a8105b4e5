"""A judge where no rule decides: pairs of answers, and role play. Its prompts, what it is worth, and what may be claimed.

In order: ``prompts`` and ``fencing`` (what a judge is told, and how the judged texts are kept from telling it more),
``verdicts`` and ``judge`` (asking, both orders), ``labeled`` and ``calibration`` (what its word is worth), ``pairs`` with
``length_control`` (win rates), ``dialogues`` and ``rubric`` (role play), ``families`` and ``rules`` (when a claim is limited or
withheld).
"""

from __future__ import annotations

from collections.abc import Sequence

from delivery.artifacts import OnProgress, Scored, Suite, no_progress
from delivery.evaluation.judging.dialogues import Dialogue, play, simulate
from delivery.evaluation.judging.families import family_limitations, family_of
from delivery.evaluation.judging.judge import Judge, Pair
from delivery.evaluation.judging.labeled import labeled_pairs
from delivery.evaluation.judging.results import (
    Calibration,
    Contestant,
    JudgedDialogues,
    JudgedPairs,
    LabeledPair,
    Player,
    Terms,
)
from delivery.evaluation.judging.rules import JudgeRules, rules_of

__all__ = [
    "Calibration",
    "Contestant",
    "Dialogue",
    "Judge",
    "JudgeRules",
    "JudgedDialogues",
    "JudgedPairs",
    "LabeledPair",
    "Pair",
    "Player",
    "Terms",
    "calibrate",
    "duel",
    "family_limitations",
    "family_of",
    "judge_dialogues",
    "judge_pairs",
    "labeled_pairs",
    "play",
    "rules_of",
    "simulate",
]


def calibrate(
    judge: Judge, labeled: Sequence[LabeledPair], *, criteria: str, seed: int = 7, on_progress: OnProgress = no_progress
) -> Calibration:
    """A judge measured on labeled pairs. See ``calibration.calibrate``."""
    from delivery.evaluation.judging import calibration

    return calibration.calibrate(judge, labeled, criteria=criteria, seed=seed, on_progress=on_progress)


def judge_pairs(
    judge: Judge,
    suite: Suite,
    *,
    contestants: Sequence[Contestant],
    reference: Contestant,
    terms: Terms,
    on_progress: OnProgress = no_progress,
) -> JudgedPairs:
    """Win rates of single answers against a reference, with canaries. See ``pairs.judge_pairs``."""
    from delivery.evaluation.judging import pairs

    return pairs.judge_pairs(judge, suite, contestants=contestants, reference=reference, terms=terms, on_progress=on_progress)


def duel(
    judge: Judge, suite: Suite, *, ours: Contestant, theirs: Contestant, terms: Terms, on_progress: OnProgress = no_progress
) -> tuple[Scored, ...]:
    """One system's answers head to head with another's. See ``pairs.duel``."""
    from delivery.evaluation.judging import pairs

    return pairs.duel(judge, suite, ours=ours, theirs=theirs, terms=terms, on_progress=on_progress)


def judge_dialogues(
    judge: Judge, suite: Suite, *, players: Sequence[Player], terms: Terms, on_progress: OnProgress = no_progress
) -> JudgedDialogues:
    """Role play checked against the rubrics, with canaries. See ``rubric.judge_dialogues``."""
    from delivery.evaluation.judging import rubric

    return rubric.judge_dialogues(judge, suite, players=players, terms=terms, on_progress=on_progress)
