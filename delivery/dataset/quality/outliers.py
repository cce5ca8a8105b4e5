"""Rows that are unlike all others: by length, by saying one thing over and over, or by their words."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from delivery.artifacts import Check
from delivery.dataset.quality.pieces import chunks
from delivery.dataset.quality.texts import Finding, Text, Texts, concerned

NAME = "outliers"
MIN_TEXTS = 50
FAR = 5.0
"""Robust standard deviations. At 3.5, which is usual, 1 % of the real rows that it was tried on were called outliers."""
NORMAL = 1.4826
"""Median absolute deviations to standard deviations of a normal distribution."""
LEAST_SPREAD = 0.2
"""Of log length: nothing less than 2.7 times (e) as long or short as the median is far from it."""
REPETITION_FROM = 200
REPETITION_READ = 2_000
REPETITION_BELOW = 0.2
ALONE_TEXTS = 200
ALONE_WORDS = 5
ALONE_SHARE = 0.6
ALONE_READ = 1_000
BITS = 24

LONG, SHORT, REPEATS, ALONE = "far longer", "far shorter", "mostly repetition", "words found nowhere else"


def outliers(texts: Texts) -> Check:
    """Rows that a person should look at before a model learns from them.

    Length: the median absolute deviation of log length, on each side of the median by itself, as texts have a long tail
    (Leys et al. 2013, "Detecting outliers: do not use standard deviation around the mean"). Repetition: what deflate
    leaves of a text. Words: the share that stands in no other text.
    """
    if len(texts.asked) < MIN_TEXTS:
        return Check(NAME, "ok", 0, f"not measured: it takes {MIN_TEXTS} different texts to see what is usual")
    found = concerned([*_lengths(texts.asked), *_repetitions(texts.all), *_alone(texts.asked)])
    typical = round(float(np.median([len(text.text) for text in texts.asked])))
    if not found.rows:
        return Check(
            NAME, "ok", 0, f"no row stands out by length (half have {typical} characters or fewer), repetition or words"
        )
    parts = ", ".join(f"{rows} {kind}" for kind, rows in found.kinds.items())
    return Check(
        NAME,
        "warn",
        found.rows,
        f"{found.rows} rows stand out: {parts} (half of the texts have {typical} characters or fewer)",
        "look at them: take out what is no real case, and keep rare cases that are real",
        found.shown,
    )


def _lengths(texts: Sequence[Text]) -> Iterator[Finding]:
    logs = np.log(np.maximum([len(text.text) for text in texts], 1))
    middle = float(np.median(logs))
    far = logs - middle
    longer, shorter = _spread(far[far >= 0]), _spread(-far[far <= 0])
    for place in np.flatnonzero((far > FAR * longer) | (far < -FAR * shorter)).tolist():
        kind = LONG if far[place] > 0 else SHORT
        yield Finding(texts[place], kind, f"{kind} than the rest ({len(texts[place].text)} characters)")


def _spread(far: npt.NDArray[np.float64]) -> float:
    return max(NORMAL * float(np.median(far)), LEAST_SPREAD)


def _repetitions(texts: Sequence[Text]) -> Iterator[Finding]:
    for text in texts:
        start = text.text[:REPETITION_READ]
        if len(start) >= REPETITION_FROM and _may_repeat(start) and _deflated(start) < REPETITION_BELOW * len(start):
            yield Finding(text, REPEATS, f"{REPEATS} ({len(text.text)} characters)")


def _may_repeat(text: str) -> bool:
    """Spares deflate the texts of many words half of which are different."""
    words = text.split()
    return len(words) < len(text) // 20 or len(set(words)) * 2 < len(words)


def _deflated(text: str) -> int:
    # A small window and table: it is set up anew for every text.
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -11, 5)
    return len(squeeze.compress(text.encode(errors="replace"))) + len(squeeze.flush())


def _alone(texts: Sequence[Text]) -> Iterator[Finding]:
    """Texts most of whose words no other text has: random keys, another language, another subject."""
    if len(texts) < ALONE_TEXTS:
        return
    slots, owners = [], []
    seen, seen_again = np.zeros(1 << BITS, np.bool_), np.zeros(1 << BITS, np.bool_)
    for first, chunk in chunks([text.text for text in texts], ALONE_READ):
        words = chunk.words().distinct(BITS)
        slots.append(words.buckets.astype(np.int32))
        owners.append((words.rows + first).astype(np.int32))
        here, times = np.unique(slots[-1], return_counts=True)
        seen_again[here] |= seen[here] | (times > 1)
        seen[here] = True
    owner, alone = np.concatenate(owners), ~seen_again[np.concatenate(slots)]
    words_of = np.bincount(owner, minlength=len(texts))
    alone_of = np.bincount(owner, alone, minlength=len(texts))
    for place in np.flatnonzero((words_of >= ALONE_WORDS) & (alone_of >= ALONE_SHARE * words_of)).tolist():
        yield Finding(texts[place], ALONE, f"{int(alone_of[place])} of {words_of[place]} words stand in no other text")
