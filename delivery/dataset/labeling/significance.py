"""Is a part worse than the rest by more than chance? One-sided tests, and their adjustment for many parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, fisher_exact

DRAWS = 9_999
_CELLS_AT_ONCE = 4_000_000
# Sums of the same scores in another order differ in their last bits, and are not less for that.
_SAME = 1e-9

Array = NDArray[Any]


class Tested(NamedTuple):
    """Mean score of a part and of the rest, and the p-value that the part is no worse."""

    score: float
    rest: float
    p_value: float


def against_rest(scores: Sequence[float | None], parts: Sequence[Sequence[int]], *, seed: int) -> tuple[Tested, ...]:
    """Each part (row indices) against the rows outside it; rows whose score is None stand on neither side.

    Where every score is 0 or 1: Fisher's exact test (Fisher, "The Design of Experiments", 1935). Otherwise the
    permutation test of the mean, of which Fisher's is the exact form for such scores, by 9,999 random orders of the
    rows that all parts share; one is added to both counts (Phipson and Smyth, "Permutation p-values should never be
    zero", 2010).
    """
    if not parts:
        return ()
    kept = np.array([score is not None for score in scores])
    values = np.array([score for score in scores if score is not None], dtype=np.float64)
    position = np.cumsum(kept) - 1
    inside = np.zeros((len(parts), len(values)), dtype=bool)
    for row, part in enumerate(parts):
        inside[row, [position[index] for index in part if kept[index]]] = True
    sizes, sums = inside.sum(axis=1), inside @ values
    if np.isin(values, (0.0, 1.0)).all():
        p_values = [_fisher(int(sums[row]), int(sizes[row]), int(values.sum()), len(values)) for row in range(len(parts))]
    else:
        p_values = list(_permuted(values, inside, sums, seed=seed))
    rest = (values.sum() - sums) / (len(values) - sizes)
    return tuple(Tested(float(sums[row] / sizes[row]), float(rest[row]), float(p_values[row])) for row in range(len(parts)))


def against_others(own: Sequence[float], every: Sequence[Sequence[float]], *, seed: int) -> Tested:
    """One field's scores against those of the other fields of the same rows (``every`` includes the field itself).

    If fields were equally hard, each row's scores could stand under any other name: 9,999 times one score is drawn from
    each row, and the sums are compared. Rows stay whole, so that hard rows do not count as many hard fields.
    """
    observed = float(sum(own))
    flat = np.array([score for row in every for score in row], dtype=np.float64)
    widths = np.array([len(row) for row in every])
    starts = np.concatenate(([0], np.cumsum(widths)[:-1]))
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // len(every))
    as_low = 0
    for start in range(0, DRAWS, at_once):
        picks = generator.random((min(at_once, DRAWS - start), len(every))) * widths
        as_low += int((flat[picks.astype(np.int64) + starts].sum(axis=1) <= observed + _SAME).sum())
    others = (np.add.reduceat(flat, starts) - np.array(own)) / (widths - 1)
    return Tested(observed / len(own), float(others.mean()), (as_low + 1) / (DRAWS + 1))


def adjust(p_values: Sequence[float]) -> tuple[float, ...]:
    """Q-values of Benjamini and Hochberg (1995) for tests made together."""
    return tuple(float(value) for value in false_discovery_control(p_values, method="bh")) if p_values else ()


def _fisher(right_inside: int, inside: int, right: int, n: int) -> float:
    table = [[right_inside, inside - right_inside], [right - right_inside, n - inside - (right - right_inside)]]
    return float(fisher_exact(table, alternative="less").pvalue)


def _permuted(values: Array, inside: Array, sums: Array, *, seed: int) -> Array:
    members = csr_matrix(inside.astype(np.float64))
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // len(values))
    as_low = np.zeros(len(sums))
    for start in range(0, DRAWS, at_once):
        orders = generator.permuted(np.tile(values, (min(at_once, DRAWS - start), 1)), axis=1)
        as_low += (members @ orders.T <= sums[:, None] + _SAME).sum(axis=1)
    p_values: Array = (as_low + 1) / (DRAWS + 1)
    return p_values
