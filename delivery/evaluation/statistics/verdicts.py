"""From an interval and a p-value to a verdict, and how often one champion may be challenged."""

from __future__ import annotations

from delivery.client_config import Verdict

ALPHA = 0.05
_EXPONENT = 1.5
_SERIES = 2.612375348685488
"""The sum of 1 / k^1.5 over all k from 1 on."""


def verdict(low: float, high: float, margin: float, *, p_value: float) -> Verdict:
    """What an interval of a difference (candidate minus other) shows, given a margin (same unit, not negative).

    ``better``: all of it above 0, and the test agrees (``p_value`` at most 5 %). ``not_worse``: none of it below -margin
    (Piaggio et al., "Reporting of noninferiority and equivalence randomized trials", JAMA 2012). ``worse``: all of it
    below 0, reaching below -margin, and the test agrees. ``inconclusive``: everything else; a difference that is only
    not significant is never called safe.
    """
    if low > 0 and p_value <= ALPHA:
        return "better"
    if low >= -margin:
        return "not_worse"
    return "worse" if high < 0 and p_value <= ALPHA else "inconclusive"


def level_of_look(look: int, *, alpha: float) -> float:
    """The one-sided level at which the ``look``-th candidate (from 1) is tested against one champion.

    The levels of all looks, however many come, sum to ``alpha``: so the chance that any of them is passed by a candidate
    that is no better stays below it whatever the dependence between nights, which share their holdout, their champion and
    most of their training rows (Boole's inequality; alpha spending over a stream of hypotheses as in Foster and Stine,
    "Alpha-investing", JRSS B 70, 2008, and Tian and Ramdas, "Online control of the familywise error rate", 2021). They fall
    as 1 / k^1.5, between the 1 / k^2 that leaves late nights nothing and the 1 / k that has no sum. Tests that gain from
    evidence adding up over nights (e-processes, group sequential boundaries) need one hypothesis that stays the same;
    here every night brings another model, and no new samples.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, not {look}")
    return float(alpha / (_SERIES * look**_EXPONENT))
