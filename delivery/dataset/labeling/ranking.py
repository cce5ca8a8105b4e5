"""Which texts of a pool a labeler should see first: those that stand for the most that the model is unsure of.

One space for everything: TF-IDF of words and character n-grams, reduced to 256 dimensions (latent semantic analysis,
Deerwester et al., 1990), fitted on labeled and unlabeled texts alike. In it, a logistic regression trained on the labeled
rows says where it is unsure, and texts are picked greedily so that unsure texts get a pick near them: facility location
(Nemhauser, Wolsey and Fisher, "An analysis of approximations for maximizing submodular set functions", 1978) over the
unsure candidates, as Wei, Iyer and Bilmes ("Submodularity in data subset selection and active learning", 2015) do; here
uncertainty also weighs what is to be covered, and labeled texts cover from the start. Measured against other ways on
Banking77: ``tests/benchmarks/label_queue.py``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from delivery.dataset.labeling.copies import nearly_alike
from delivery.dataset.shingles import folded, shingles

CONSIDERED = 20_000
"""Pool texts that are ranked in full; of a larger pool, a quicker look at words alone chooses them."""
CANDIDATES = 3_000
LEARNED_FROM = 20_000
FITTED_ON = 1_500_000
"""Characters of texts on which the space is fitted: all of some 20,000 short ones, a random part of many long ones."""
DIMENSIONS = 256
QUICK_DIMENSIONS = 64
SHARPNESS = 4
"""The power of a cosine by which one text stands for another: 0.9 counts 0.66, and 0.5 counts 0.06."""
LEAST = 1e-3
"""What a text weighs at least, so that picks are spread also where the classifier is sure of everything."""
STANDS_FOR = 0.5
"""The cosine from which a text is said to be like a picked one."""
_LONGEST_IN_WORDS = 600
_LONGEST_IN_CHARACTERS = 300
_ROWS_AT_ONCE = 2_000

Array = NDArray[Any]
Refuse = Callable[[Sequence[int]], set[int]]
"""Those of the pool texts (by index) that may not be picked."""


class Guess(NamedTuple):
    """What the classifier says of one target: the likelier two values (the second empty where there is only one)."""

    first: str
    probability: float
    second: str
    second_probability: float


class Pick(NamedTuple):
    """A pool text by its place in the pool. ``nearest`` is the failed text most like it, by index, with their cosine."""

    place: int
    guesses: dict[str, Guess]
    unsure: float
    nearest: int | None
    nearness: float
    stands_for: int


class Learned(NamedTuple):
    """Labeled texts and, per target (the label, or each field of few values), the value of each."""

    texts: Sequence[str]
    targets: Mapping[str, Sequence[str]]


def rank(pool: Sequence[str], learned: Learned, failed: Sequence[str], *, size: int, seed: int, refuse: Refuse) -> list[Pick]:
    """The ``size`` texts to label next, best first; fewer where the pool ends.

    A text weighs as much as the classifier is unsure of it (one minus the margin between its two likeliest values,
    Scheffer, Decomain and Wrobel, 2001; the mean over targets), up to twice that where a failed text is near. Without
    targets all weigh the same before nearness. Time grows linearly with the pool, memory by less than 1 KiB a text.
    """
    generator = np.random.default_rng(seed)
    learned = _sampled(learned, generator)
    considered = list(range(len(pool)))
    if len(pool) > CONSIDERED:
        quick = _look(pool, learned, failed, words_alone=True, seed=seed)
        considered = sorted(_heaviest(quick.weights, CONSIDERED, seed=seed))
    texts = [pool[index] for index in considered]
    look = _look(texts, learned, failed, words_alone=False, seed=seed)
    offered = _cover(look, texts, candidates=_heaviest(look.weights, max(CANDIDATES, 2 * size), seed=seed))
    chosen: list[int] = []
    while len(chosen) < size and (more := list(islice(offered, max(size - len(chosen), size // 4)))):
        refused = refuse([considered[index] for index in more])
        chosen += [index for index in more if considered[index] not in refused]
    del chosen[size:]
    like = look.places @ look.places[chosen].T > STANDS_FOR if chosen else np.zeros((0, 0))
    return [
        Pick(
            place=considered[index],
            guesses={name: guess(index) for name, guess in look.guesses.items()},
            unsure=float(look.unsure[index]),
            nearest=int(look.nearest[index]) if failed else None,
            nearness=float(look.nearness[index]),
            stands_for=int(like[:, place].sum()) - 1,
        )
        for place, index in enumerate(chosen)
    ]


class _Look(NamedTuple):
    places: Array
    covered: Array
    weights: Array
    unsure: Array
    nearest: Array
    nearness: Array
    guesses: dict[str, Callable[[int], Guess]]


def _look(pool: Sequence[str], learned: Learned, failed: Sequence[str], *, words_alone: bool, seed: int) -> _Look:
    """Where texts lie, and how much each weighs. ``covered``: how well labeled texts already stand for each."""
    space = _Space([*learned.texts, *pool], words_alone=words_alone, seed=seed)
    labeled, places = space.places(learned.texts), space.places(pool)
    unsure, guesses = _unsure(labeled, places, learned.targets)
    nearest, nearness = _nearest(places, space.places(failed))
    return _Look(
        places=places,
        covered=_nearest(places, labeled).nearness ** SHARPNESS,
        weights=np.maximum(unsure, LEAST) * (1 + nearness**SHARPNESS),
        unsure=unsure,
        nearest=nearest,
        nearness=nearness,
        guesses=guesses,
    )


class _Space:
    """Texts as unit vectors."""

    def __init__(self, texts: Sequence[str], *, words_alone: bool, seed: int) -> None:
        words = TfidfVectorizer(
            preprocessor=_Excerpt(_LONGEST_IN_WORDS),
            sublinear_tf=True,
            ngram_range=(1, 1) if words_alone else (1, 2),
            token_pattern=r"\w+|[^\w\s]",
            max_features=50_000,
            dtype=np.float32,
        )
        characters = TfidfVectorizer(
            preprocessor=_Excerpt(_LONGEST_IN_CHARACTERS),
            sublinear_tf=True,
            analyzer="char_wb",
            ngram_range=(2, 5),
            max_features=50_000,
            dtype=np.float32,
        )
        self._vectorizers = [words] if words_alone else [words, characters]
        some = _some(texts, seed=seed)
        matrix = hstack([one.fit_transform(some) for one in self._vectorizers]).tocsr()
        dimensions = QUICK_DIMENSIONS if words_alone else DIMENSIONS
        self._reduce: TruncatedSVD | None = None
        if min(matrix.shape) > dimensions:
            self._reduce = TruncatedSVD(dimensions, n_iter=2, random_state=seed).fit(matrix)

    def places(self, texts: Sequence[str]) -> Array:
        """Unit vectors (texts x dimensions)."""
        starts = range(0, len(texts), _ROWS_AT_ONCE)
        parts = [self._dense(texts[start : start + _ROWS_AT_ONCE]) for start in starts]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _dense(self, texts: Sequence[str]) -> Array:
        matrix = hstack([one.transform(texts) for one in self._vectorizers]).tocsr()
        dense = matrix.toarray() if self._reduce is None else self._reduce.transform(matrix)
        unit: Array = normalize(dense.astype(np.float32))
        return unit


class _Excerpt(NamedTuple):
    """Beginning and end of a long text, in lower case: the last turn of a chat is what has to be answered."""

    longest: int

    def __call__(self, text: str) -> str:
        half = self.longest // 2
        return (text if len(text) <= self.longest else f"{text[:half]} {text[-half:]}").lower()


def _some(texts: Sequence[str], *, seed: int) -> list[str]:
    """Texts to fit on, in their order."""
    order = np.random.default_rng(seed).permutation(len(texts))
    lengths = np.array([min(len(texts[index]), _LONGEST_IN_CHARACTERS) for index in order])
    return [texts[index] for index in np.sort(order[np.cumsum(lengths) <= FITTED_ON])]


def _sampled(learned: Learned, generator: np.random.Generator) -> Learned:
    if len(learned.texts) <= LEARNED_FROM:
        return learned
    rows = np.sort(generator.permutation(len(learned.texts))[:LEARNED_FROM])
    targets = {name: [values[row] for row in rows] for name, values in learned.targets.items()}
    return Learned([learned.texts[row] for row in rows], targets)


class _Unsure(NamedTuple):
    unsure: Array
    guesses: dict[str, Callable[[int], Guess]]


def _unsure(labeled: Array, places: Array, targets: Mapping[str, Sequence[str]]) -> _Unsure:
    """How unsure classifiers are (0 to 1, mean over targets), and what each guesses."""
    if not targets or not len(labeled):
        return _Unsure(np.ones(len(places), np.float32), {})
    total, guesses = np.zeros(len(places), np.float32), {}
    for name, values in targets.items():
        names, order, top = _likeliest(labeled, values, places)
        total += 1 - (top[:, 0] - top[:, 1])
        guesses[name] = _guesser(names, order, top)
    return _Unsure(total / len(targets), guesses)


def _guesser(names: Sequence[str], order: Array, top: Array) -> Callable[[int], Guess]:
    def guess(row: int) -> Guess:
        first, second = order[row]
        return Guess(names[first], float(top[row, 0]), names[second], float(top[row, 1]))

    return guess


class _Likeliest(NamedTuple):
    """The values that occur, and for each text the indices and probabilities of its likeliest two."""

    names: list[str]
    order: Array
    probabilities: Array


def _likeliest(labeled: Array, values: Sequence[str], places: Array) -> _Likeliest:
    if len(set(values)) == 1:
        certain = np.tile(np.array([1.0, 0.0], np.float32), (len(places), 1))
        return _Likeliest([values[0], ""], np.tile([0, 1], (len(places), 1)), certain)
    model = LogisticRegression(C=30.0, solver="lbfgs", max_iter=200, tol=1e-3).fit(labeled, np.array(values))
    orders, tops = [], []
    for start in range(0, len(places), _ROWS_AT_ONCE):
        probabilities = model.predict_proba(places[start : start + _ROWS_AT_ONCE])
        orders.append(np.argsort(-probabilities, axis=1, kind="stable")[:, :2])
        tops.append(np.take_along_axis(probabilities, orders[-1], axis=1).astype(np.float32))
    return _Likeliest([str(name) for name in model.classes_], np.concatenate(orders), np.concatenate(tops))


class _Nearest(NamedTuple):
    nearest: Array
    nearness: Array


def _nearest(places: Array, others: Array) -> _Nearest:
    """For each text, the most similar of the others and their cosine (0 where there is none, or none is similar)."""
    nearest, nearness = np.zeros(len(places), np.int64), np.zeros(len(places), np.float32)
    if len(others):
        for start in range(0, len(places), _ROWS_AT_ONCE):
            cosines = places[start : start + _ROWS_AT_ONCE] @ others.T
            nearest[start : start + len(cosines)] = cosines.argmax(axis=1)
            nearness[start : start + len(cosines)] = np.clip(cosines.max(axis=1), 0, 1)
    return _Nearest(nearest, nearness)


def _heaviest(weights: Array, count: int, *, seed: int) -> list[int]:
    """The indices of the largest weights, equal ones in random order."""
    ties = np.random.default_rng(seed).random(len(weights))
    return [int(index) for index in np.lexsort((ties, -weights))[:count]]


def _cover(look: _Look, texts: Sequence[str], *, candidates: Sequence[int]) -> Iterator[int]:
    """Candidates (by index into the look) in greedy order, each the one that adds most; none nearly like an earlier one.

    What a pick adds: over all texts, their weight times how much better it stands for them than what was there, times
    its own weight. Lazily: gains only shrink, so only the best of the heap has to be computed again (Minoux,
    "Accelerated greedy algorithms for maximizing submodular set functions", 1978).
    """
    alike = look.places[candidates] @ look.places.T
    np.power(np.clip(alike, 0, 1, out=alike), SHARPNESS, out=alike)
    own = look.weights[candidates]
    covered = look.covered.copy()

    def gain(place: int) -> float:
        return float(own[place] * (look.weights @ np.maximum(alike[place] - covered, 0)))

    heap = [(-gain(place), place) for place in range(len(candidates))]
    heapq.heapify(heap)
    computed_at = [0] * len(candidates)
    picked: list[frozenset[str]] = []
    while heap:
        _, place = heapq.heappop(heap)
        if computed_at[place] < len(picked):
            computed_at[place] = len(picked)
            heapq.heappush(heap, (-gain(place), place))
            continue
        mine = shingles(folded(texts[candidates[place]]))
        if not any(nearly_alike(mine, other) for other in picked):
            picked.append(mine)
            covered = np.maximum(covered, alike[place])
            yield candidates[place]
