"""What the win rate would be if both answers were equally long and equally formatted.

Judges prefer long, formatted answers. A logistic regression of the win on the differences in length and format separates
what they explain from what is left, and predicts the win rate at zero difference: Dubois, Galambosi, Liang and Hashimoto,
"Length-Controlled AlpacaEval: A Simple Way to Debias Automatic Evaluators", 2024. Format features beside length are from
Li, Angelopoulos and Chiang, "Does style matter?", 2024. The first paper's term for a question's difficulty is left out: it
is estimated across many models, and here are two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from delivery.artifacts import Estimate
from delivery.evaluation.judging.intervals import cluster_places
from delivery.evaluation.statistics.bootstrap import SEED

DRAWS = 2_000
FEATURES = ("length", "headings", "list items", "bold", "code blocks")

_FORMAT = (
    re.compile(r"^#{1,6} ", re.MULTILINE),
    re.compile(r"^\s*(?:[-*+]|\d+[.)]) ", re.MULTILINE),
    re.compile(r"\*\*[^*\n]+\*\*"),
    re.compile(r"^```", re.MULTILINE),
)
_RIDGE = 1.0
"""Of a slope: the prior that a feature, which lies between -1 and 1, multiplies the odds by a factor between 1/7 and 7."""
_INTERCEPT_RIDGE = 1e-4
_STEPS = 25
_DRAWS_AT_ONCE = 250

Values = NDArray[Any]


def differences(ours: Sequence[str], theirs: Sequence[str]) -> Values:
    """How each pair of answers differs (pairs x ``FEATURES``), every value between -1 and 1, 0 where they are alike.

    Length in characters: the hyperbolic tangent of the difference in units of its own standard deviation. Format: the
    difference of two counts over their sum plus one.
    """
    length = np.array([len(a) - len(b) for a, b in zip(ours, theirs, strict=True)], dtype=float)
    scale = float(np.sqrt((length**2).mean())) if len(length) else 0.0
    columns = [np.tanh(length / scale) if scale else length]
    for pattern in _FORMAT:
        a = np.array([len(pattern.findall(text)) for text in ours], dtype=float)
        b = np.array([len(pattern.findall(text)) for text in theirs], dtype=float)
        columns.append((a - b) / (a + b + 1))
    return np.column_stack(columns)


def length_controlled(
    scores: Sequence[float], covariates: Values, *, clusters: Sequence[str], draws: int = DRAWS, seed: int = SEED
) -> Estimate:
    """The win rate at zero difference, with its 95 % percentile interval; the whole fit is made anew for every resample.

    ``scores``: 1, 0.5 or 0 per pair, fitted as shares (quasi-likelihood: Papke and Wooldridge, 1996). ``covariates``:
    from ``differences``. Whole clusters are drawn. One win and one loss at zero difference are added to every resample,
    for the reason given in ``intervals.with_unit``.
    """
    y = np.asarray(scores, dtype=float)
    x = np.column_stack([np.ones(len(y)), covariates])
    fitted = _fit(x, y, np.ones((1, len(y))), start=np.zeros(x.shape[1]))[0]
    value = float(expit(fitted[0]))
    places = cluster_places(clusters)
    count = int(places.max()) + 1
    equal = np.zeros((2, x.shape[1]))
    equal[:, 0] = 1
    x, y = np.vstack([x, equal]), np.append(y, [1.0, 0.0])
    generator = np.random.default_rng(seed)
    found = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        picked = generator.multinomial(count, np.full(count, 1 / count), size=size)[:, places]
        weights = np.hstack([picked, np.ones((size, 2))])
        found.append(expit(_fit(x, y, weights, start=fitted)[:, 0]))
    low, high = np.quantile(np.concatenate(found), (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value))


def _fit(x: Values, y: Values, weights: Values, *, start: Values) -> Values:
    """Coefficients (fits x columns) of ridge logistic regressions that share ``x`` and ``y``, one per row of weights.

    Newton's method for all of them at once, from the same start.
    """
    columns = x.shape[1]
    ridge = np.full(columns, _RIDGE)
    ridge[0] = _INTERCEPT_RIDGE
    squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    found = np.tile(start, (len(weights), 1))
    for _ in range(_STEPS):
        share = expit(found @ x.T)
        gradient = (weights * (y - share)) @ x - ridge * found
        curvature = ((weights * share * (1 - share)) @ squares).reshape(-1, columns, columns) + np.diag(ridge)
        # A long step from a flat place overshoots; two units of log odds are a long way.
        step = np.clip(np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0], -2, 2)
        found += step
        if np.abs(step).max() < 1e-6:
            break
    return found
