"""What goes into judging and what comes out: frozen, and storable as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from delivery.artifacts import Answer, Canary, Estimate, Scored, sha256_json
from delivery.evaluation.judging.dialogues import Dialogue
from delivery.evaluation.judging.judge import Judge, Pair
from delivery.evaluation.judging.prompts import Prompt
from delivery.evaluation.judging.rules import JudgeRules


@dataclass(frozen=True, slots=True)
class JudgeRecord:
    """Which judge decided, and by which words. For the report's provenance."""

    model: str
    endpoint: str
    prompt: str
    prompt_version: int
    prompt_sha256: str
    criteria_sha256: str


@dataclass(frozen=True, slots=True)
class LabeledPair:
    """A pair of answers of which people have said which is better."""

    pair: Pair
    gold: Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge on labeled pairs that have both of its verdicts. ``confusion``: gold a, then gold b, by final choice a, b, tie.

    ``accuracy``: single verdicts, both orders pooled, that name the gold answer. ``agreement``: the same of final
    choices, where a disagreement of the orders is a tie. ``kappa``: Cohen's, of final choices. ``order_consistency``: both
    orders name the same. ``pick_first_rate``: of single verdicts that are no tie, those for the answer shown first; 0.5 is
    no bias. ``sensitivity`` and ``specificity``: the mean score (ties half) that a's, and b's, get where they are better.
    """

    judge: str
    n: int
    n_errored: int
    accuracy: Estimate
    agreement: Estimate
    kappa: Estimate
    order_consistency: Estimate
    pick_first_rate: Estimate
    sensitivity: float
    specificity: float
    confusion: tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A system and what it answered. ``system``: its name in the report; ``model`` tells its family."""

    system: str
    model: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Player:
    """A system and how it played: with the frozen turns, and perhaps with a simulated user."""

    system: str
    model: str
    dialogues: tuple[Dialogue, ...]
    simulated: tuple[Dialogue, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a suite is judged: its rules, and what the judge is known to be worth."""

    rules: JudgeRules = field(default_factory=JudgeRules)
    calibration: Calibration | None = None
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Contest:
    """One system against the reference. ``scored``: per sample 1, 0.5 (tie) or 0, or errored, in the suite's order.

    ``length_controlled``: at equal length and format. ``corrected``: what a judge without error would find; None without
    a calibration or where the judge hardly tells the sides apart. ``order_consistency``: pairs of which both orders name
    the same, equal answers left out; None where all were equal.
    """

    system: str
    model: str
    scored: tuple[Scored, ...]
    n: int
    n_tied: int
    n_errored: int
    win_rate: Estimate
    length_controlled: Estimate
    corrected: Estimate | None
    order_consistency: Estimate | None


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """A judged suite. Where ``withheld`` gives reasons, no verdict may be drawn from its figures."""

    suite: str
    judge: JudgeRecord
    reference: tuple[Scored, ...]
    contests: tuple[Contest, ...]
    canaries: tuple[Canary, ...]
    calibration: Calibration | None
    withheld: tuple[str, ...]
    limitations: tuple[str, ...]

    def contest(self, system: str) -> Contest | None:
        """That of one system, or None when it did not take part."""
        return next((one for one in self.contests if one.system == system), None)


@dataclass(frozen=True, slots=True)
class SliceScore:
    """The score on the dialogues of one persona, scene or other slice."""

    name: str
    value: str
    n: int
    score: Estimate


@dataclass(frozen=True, slots=True)
class SimulatedScore:
    """The score with a simulated user. It stands beside and is no part of a comparison."""

    n: int
    n_errored: int
    score: Estimate


@dataclass(frozen=True, slots=True)
class RolePlay:
    """One system's role play. ``scored``: per dialogue the mean over its turns of the share of points met, of those that apply.

    ``judged_score``: the mean over dialogues, its interval over personas. ``simulated`` is kept apart.
    """

    system: str
    model: str
    scored: tuple[Scored, ...]
    n: int
    n_errored: int
    judged_score: Estimate
    slices: tuple[SliceScore, ...]
    simulated: SimulatedScore | None = None


@dataclass(frozen=True, slots=True)
class JudgedDialogues:
    """A judged role play suite. Where ``withheld`` gives reasons, no verdict may be drawn from its figures."""

    suite: str
    judge: JudgeRecord
    plays: tuple[RolePlay, ...]
    canaries: tuple[Canary, ...]
    calibration: Calibration | None
    withheld: tuple[str, ...]
    limitations: tuple[str, ...]

    def play(self, system: str) -> RolePlay | None:
        """That of one system, or None when it did not take part."""
        return next((one for one in self.plays if one.system == system), None)


def record(judge: Judge, prompt: Prompt, criteria: str) -> JudgeRecord:
    """The judge's entry in the provenance."""
    return JudgeRecord(
        judge.model, judge.endpoint.name, prompt.name, prompt.version, prompt.sha256, criteria_sha256=sha256_json(criteria)
    )
