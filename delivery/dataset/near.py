"""Rows whose inputs are nearly the same: pairs with a Jaccard similarity of character 5-grams of at least ``THRESHOLD``.

MinHash signatures (Broder 1997) from rensa, candidates by banding (Leskovec, Rajaraman and Ullman, "Mining of Massive
Datasets", chapter 3), then the similarity itself wherever the signature leaves a doubt. With 42 bands of 6, a pair that
reaches the threshold exactly is missed once in 200; one at 0.8 once in 300,000. Time grows as n log n: a bucket is searched
within ``WINDOW`` neighbours, so that a text that stands everywhere costs no square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import rensa
from numpy.typing import NDArray

from delivery.dataset.shingles import THRESHOLD, WIDTH, shingles, similarity

BANDS, BAND_ROWS = 42, 6
WINDOW = 32
CHUNK = 4_000

# A signature of 252 places estimates a similarity of 0.7 with a standard error of 0.029: both bounds are 3.5 of them away.
_SURELY_NOT, _SURELY = 0.6, 0.8

_SPREAD, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)

Indexes = NDArray[np.int64]
Pairs = NDArray[np.int64]
"""Shape (pairs, 2): places in the list of texts, the smaller first, sorted, each pair once."""


class _Signatures(NamedTuple):
    keys: NDArray[np.uint32]
    """Shape (BANDS, texts): the bucket of each text in each band."""
    sketch: NDArray[np.uint8]
    """Shape (texts, BANDS * BAND_ROWS): the low byte of each place of the signature."""


def near_pairs(texts: Sequence[str], *, threshold: float = THRESHOLD) -> Pairs:
    """The pairs of texts that are near one another. Texts are compared as given: fold them first, and drop equal ones."""
    if len(texts) < 2:
        return np.empty((0, 2), np.int64)
    signatures = _sign(texts)
    codes = [np.empty(0, np.int64)]
    for keys in signatures.keys:
        for first, second in _bucket_pairs(keys):
            likely = _estimates(signatures.sketch, first, second) >= _SURELY_NOT
            codes.append(first[likely] * len(texts) + second[likely])
    unique = np.unique(np.concatenate(codes))
    first, second = unique // len(texts), unique % len(texts)
    near = _estimates(signatures.sketch, first, second) >= _SURELY
    for place in np.flatnonzero(~near | (threshold > THRESHOLD)):
        near[place] = similarity(shingles(texts[first[place]]), shingles(texts[second[place]])) >= threshold
    return np.stack([first[near], second[near]], axis=1)


def _sign(texts: Sequence[str]) -> _Signatures:
    keys = np.empty((BANDS, len(texts)), np.uint32)
    sketch = np.empty((len(texts), BANDS * BAND_ROWS), np.uint8)
    for begin in range(0, len(texts), CHUNK):
        signed = _minhash(texts[begin : begin + CHUNK])
        end = begin + len(signed)
        sketch[begin:end] = signed.astype(np.uint8)
        bands = signed.astype(np.uint64).reshape(len(signed), BANDS, BAND_ROWS)
        bucket = bands[:, :, 0]
        for row in range(1, BAND_ROWS):
            bucket = bucket * _SPREAD + bands[:, :, row]
        keys[:, begin:end] = (_mixed(bucket) >> np.uint64(32)).astype(np.uint32).T
    return _Signatures(keys, sketch)


def _minhash(texts: Sequence[str]) -> NDArray[np.uint32]:
    lengths = np.array([max(len(text), WIDTH) for text in texts])
    joined = "".join(text.ljust(WIDTH, "\0") for text in texts)
    letters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    runs = letters[: 1 - WIDTH].copy()
    for place in range(1, WIDTH):
        runs *= _SPREAD
        runs += letters[place : len(letters) - WIDTH + 1 + place]
    ends = np.cumsum(lengths)
    inside = np.ones(len(letters), bool)
    for place in range(1, WIDTH):
        inside[ends - place] = False
    offsets = np.concatenate([[0], np.cumsum(lengths - WIDTH + 1)]).astype(np.int64)
    flat = _mixed(runs[inside[: len(runs)]])
    signed = rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, BANDS * BAND_ROWS, 7)
    return np.array(signed.to_rows(), np.uint32)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values ^= values >> np.uint64(29)
    values *= _MIX
    values ^= values >> np.uint64(32)
    return values


def _bucket_pairs(keys: NDArray[np.uint32]) -> Iterator[tuple[Indexes, Indexes]]:
    """Texts of one bucket, each with up to ``WINDOW`` that follow it there."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    for lag in range(1, min(WINDOW + 1, len(keys))):
        same = np.flatnonzero(ordered[lag:] == ordered[:-lag])
        if not same.size:
            return
        yield order[same], order[same + lag]


def _estimates(sketch: NDArray[np.uint8], first: Indexes, second: Indexes) -> NDArray[np.float64]:
    shares = np.empty(len(first))
    for begin in range(0, len(first), CHUNK):
        part = slice(begin, begin + CHUNK)
        shares[part] = (sketch[first[part]] == sketch[second[part]]).mean(axis=1)
    return shares
