"""Judged suites of single answers: each system against one reference, pair by pair.

The win rate of every system is against the same reference (the baseline), whose own is one half by definition. So a
candidate's win rate minus the baseline's is what it wins beyond a draw, and two systems compare in pairs like any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from delivery.artifacts import Answer, Canary, Estimate, OnProgress, Sample, Scored, Suite, no_progress
from delivery.evaluation.judging.calibration import corrected_win_rate
from delivery.evaluation.judging.families import family_limitations
from delivery.evaluation.judging.intervals import mean_of_clusters
from delivery.evaluation.judging.judge import Choice, Judge, Judgement, Pair, compare, not_one, transcript
from delivery.evaluation.judging.length_control import differences, length_controlled
from delivery.evaluation.judging.results import Contest, Contestant, JudgedPairs, Terms, record
from delivery.evaluation.judging.rules import CANARIES
from delivery.evaluation.scoring.scorers import NO_ANSWER

_SCORES: dict[Choice, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}
_SAID: dict[Choice, str] = {"a": "better", "tie": "tie", "b": "worse"}


def judge_pairs(
    judge: Judge,
    suite: Suite,
    *,
    contestants: Sequence[Contestant],
    reference: Contestant,
    terms: Terms,
    on_progress: OnProgress = no_progress,
) -> JudgedPairs:
    """Every contestant, and every canary, against the reference on the suite's samples.

    A sample errored where either side has no answer or the judge gave no verdict. Canaries run on the first
    ``canary_samples`` samples by their hash.

    Raises:
        NoVerdict: of a contestant, or of a canary, not one pair has a verdict, and to all of them the judge said something.
        EvalIncompleteError: the same where some have no answer.
        ConfigError, RetryableError: from the judge's endpoint; verdicts given before are kept.
    """
    rules = terms.rules
    theirs = {answer.sample_id: answer for answer in reference.answers}
    contests = []
    for one in contestants:
        outcomes = _contest(judge, suite.samples, one, theirs, criteria=rules.rubric, on_progress=on_progress)
        contests.append(_summary(suite, one, outcomes, theirs, terms=terms))
    canaries = []
    chosen = some_samples(suite, rules.canary_samples)
    for name, text in CANARIES.items():
        canary = Contestant(name, "", tuple(Answer(sample.id, text) for sample in chosen))
        outcomes = _contest(judge, chosen, canary, theirs, criteria=rules.rubric, on_progress=on_progress)
        scored = tuple(outcome.scored for outcome in outcomes)
        canaries.append(Canary(name, len(counted(scored)), _mean(suite, name, scored, seed=terms.seed)))
    sides = {one.system: one.model for one in (*contestants, reference)}
    return JudgedPairs(
        suite=suite.name,
        judge=record(judge, judge.pairwise, rules.rubric),
        reference=tuple(_reference(sample, theirs.get(sample.id)) for sample in suite.samples),
        contests=tuple(contests),
        canaries=tuple(canaries),
        calibration=terms.calibration,
        withheld=reasons_to_withhold(terms, canaries, most=rules.max_canary_win_rate),
        limitations=family_limitations(judge.model, sides),
    )


def duel(
    judge: Judge, suite: Suite, *, ours: Contestant, theirs: Contestant, terms: Terms, on_progress: OnProgress = no_progress
) -> tuple[Scored, ...]:
    """One contestant head to head with another: per sample 1, 0.5 (tie) or 0, or errored, as in ``judge_pairs``.

    Answers that are equal to the letter are ties that nobody has to be asked about. Raises as ``judge_pairs``.
    """
    by_id = {answer.sample_id: answer for answer in theirs.answers}
    outcomes = _contest(judge, suite.samples, ours, by_id, criteria=terms.rules.rubric, on_progress=on_progress)
    scored = tuple(outcome.scored for outcome in outcomes)
    _require_some(suite, f"{ours.system} with {theirs.system}", scored)
    return scored


def reasons_to_withhold(terms: Terms, canaries: Sequence[Canary], *, most: float) -> tuple[str, ...]:
    """Why no verdict may be drawn: a judge that nobody measured or that agrees too little, or a canary above ``most``."""
    reasons = []
    known, least = terms.calibration, terms.rules.min_kappa
    if known is None:
        reasons.append("the judge was not measured on labeled pairs")
    elif known.kappa.value < least:
        reasons.append(
            f"the judge's kappa on {known.n} labeled pairs is {known.kappa.value:.2f} "
            f"({known.kappa.low:.2f} to {known.kappa.high:.2f}), below the {least:g} that the suite demands"
        )
    reasons += [
        f"a constant answer ({one.name.replace('_', ' ')}) reaches {one.rate.value:.2f} on {one.n} samples, more than the "
        f"{most:g} that the suite allows"
        for one in canaries
        if one.rate.value > most
    ]
    return tuple(reasons)


def some_samples(suite: Suite, most: int) -> tuple[Sample, ...]:
    """At most so many samples, the same ones every time and not just the first of the file."""
    return tuple(sorted(suite.samples, key=lambda sample: (sample.input_sha256, sample.id))[:most])


def counted(scored: Sequence[Scored]) -> list[Scored]:
    """The outcomes that have a score."""
    return [one for one in scored if one.score is not None]


@dataclass(frozen=True, slots=True)
class _Outcome:
    scored: Scored
    judgement: Judgement | None


def _contest(
    judge: Judge,
    samples: Sequence[Sample],
    contestant: Contestant,
    theirs: dict[str, Answer],
    *,
    criteria: str,
    on_progress: OnProgress,
) -> tuple[_Outcome, ...]:
    ours = {answer.sample_id: answer for answer in contestant.answers}
    pairs = []
    for sample in samples:
        a, b = ours.get(sample.id), theirs.get(sample.id)
        if a is not None and a.output is not None and b is not None and b.output is not None:
            pairs.append(Pair(sample.id, transcript(sample.messages), a.output, b.output))
    judged = {one.pair_id: one for one in compare(judge, pairs, criteria=criteria, on_progress=on_progress)}
    return tuple(_outcome(sample, ours.get(sample.id), theirs.get(sample.id), judged.get(sample.id)) for sample in samples)


def _outcome(sample: Sample, ours: Answer | None, theirs: Answer | None, judgement: Judgement | None) -> _Outcome:
    choice = judgement.choice if judgement is not None else None
    scored = Scored(
        sample_id=sample.id,
        expected=sample.expected,
        output=ours.output if ours is not None else None,
        parsed=None,
        valid=ours is not None and ours.output is not None,
        correct=None,
        cluster=sample.cluster,
    )
    if choice is not None:
        return _Outcome(
            replace(scored, parsed=_SAID[choice], correct=choice == "a", score=_SCORES[choice]),
            judgement,
        )
    if ours is None or ours.output is None:
        error = _why(ours)
    elif judgement is not None:
        error = judgement.error or ""
    else:
        error = f"the reference: {_why(theirs)}"
    return _Outcome(replace(scored, error=error), judgement)


def _why(answer: Answer | None) -> str:
    return (answer.error if answer is not None else None) or NO_ANSWER


def _reference(sample: Sample, answer: Answer | None) -> Scored:
    if answer is None or answer.output is None:
        return Scored(
            sample.id, sample.expected, None, None, valid=False, correct=None, error=_why(answer), cluster=sample.cluster
        )
    # Against itself every answer is a tie.
    return Scored(
        sample.id, sample.expected, answer.output, "tie", valid=True, correct=False, score=0.5, cluster=sample.cluster
    )


def _summary(
    suite: Suite, contestant: Contestant, outcomes: Sequence[_Outcome], theirs: dict[str, Answer], *, terms: Terms
) -> Contest:
    scored = tuple(one.scored for one in outcomes)
    known = counted(scored)
    win_rate = _mean(suite, contestant.system, scored, seed=terms.seed)
    scores, clusters = [one.score or 0.0 for one in known], [one.cluster for one in known]
    covariates = differences([one.output or "" for one in known], [theirs[one.sample_id].output or "" for one in known])
    asked = [
        float(one.judgement.forward == one.judgement.backward)
        for one in outcomes
        if one.judgement is not None
        and one.judgement.choice is not None
        and one.scored.output != theirs[one.scored.sample_id].output
    ]
    return Contest(
        system=contestant.system,
        model=contestant.model,
        scored=scored,
        n=len(known),
        n_tied=sum(one.score == 0.5 for one in known),
        n_errored=len(scored) - len(known),
        win_rate=win_rate,
        length_controlled=length_controlled(scores, covariates, clusters=clusters, seed=terms.seed),
        corrected=None
        if terms.calibration is None
        else corrected_win_rate(scores, clusters, calibration=terms.calibration, seed=terms.seed),
        order_consistency=mean_of_clusters(asked, [""] * len(asked), seed=terms.seed) if asked else None,
    )


def _mean(suite: Suite, name: str, scored: Sequence[Scored], *, seed: int) -> Estimate:
    known = _require_some(suite, name, scored)
    return mean_of_clusters([one.score or 0.0 for one in known], [one.cluster for one in known], seed=seed)


def _require_some(suite: Suite, name: str, scored: Sequence[Scored]) -> list[Scored]:
    known = counted(scored)
    if not known:
        what = f"suite {suite.name}: {name}: none of {len(scored)} pairs could be judged"
        raise not_one(what, [one.error for one in scored])
    return known
