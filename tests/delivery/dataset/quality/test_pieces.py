from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from delivery.dataset.quality import pieces
from delivery.dataset.quality.pieces import Chunk, Pieces, chunks, pairs

TEXTS = st.lists(st.text(alphabet=st.sampled_from("abAB1 \n.é世界ひß😀"), max_size=12), max_size=6)


def plain(texts: Sequence[str], cut: Callable[[str], list[str]]) -> list[tuple[int, str]]:
    return [(number, piece) for number, text in enumerate(texts) for piece in cut(text)]


def same(found: Pieces, expected: list[tuple[int, str]]) -> bool:
    """The same texts, and one hash to one piece."""
    named = list(zip(found.rows.tolist(), found.hashes.tolist(), strict=True))
    pairing = {(piece, name) for (_, piece), (_, name) in zip(expected, named, strict=True)}
    one_to_one = len(pairing) == len({piece for piece, _ in pairing}) == len({name for _, name in pairing})
    return [row for row, _ in expected] == [row for row, _ in named] and one_to_one


@given(TEXTS)
def test_words_are_those_of_a_regular_expression(texts: list[str]) -> None:
    folded = [text.casefold() for text in texts]
    expected = plain(folded, lambda text: re.findall(r"[世界ひ]|[a-z0-9é]+", text))
    assert same(Chunk(texts).words(), expected)


@given(TEXTS)
def test_pairs_are_neighbours_of_one_text(texts: list[str]) -> None:
    def neighbours(text: str) -> list[str]:
        words = re.findall(r"[世界ひ]|[a-z0-9é]+", text.casefold())
        return [f"{one} {other}" for one, other in itertools.pairwise(words)]

    assert same(pairs(Chunk(texts).words()), plain(texts, neighbours))


@given(TEXTS)
def test_runs_are_all_that_a_window_shows_with_the_ends_of_the_text(texts: list[str]) -> None:
    def windows(text: str) -> list[str]:
        line = "\n" + text.replace("\n", " ").casefold() + "\n"
        return [line[at : at + 4] for at in range(len(line) - 3)]

    assert same(Chunk(texts).runs(4), plain(texts, windows))


def test_a_piece_has_one_hash_wherever_it_stands() -> None:
    one, other = Chunk(["hello"]).words(), Chunk(["say", "well, Hello there"]).words()
    assert one.hashes[0] == other.hashes[2]
    assert one.buckets(17)[0] == other.buckets(17)[2] < 1 << 17


@given(TEXTS)
def test_distinct_pieces_are_every_text_and_bucket_once(texts: list[str]) -> None:
    words = Chunk(texts).words()
    found = words.distinct(20)
    expected = sorted(set(zip(words.rows.tolist(), words.buckets(20).tolist(), strict=True)))
    assert list(zip(found.rows.tolist(), found.buckets.tolist(), strict=True)) == expected


def test_buckets_are_used_evenly() -> None:
    found = Chunk([f"word{number}" for number in range(4096)]).words().buckets(8)
    rows = np.bincount(found.astype(np.int64), minlength=256)
    assert rows.min() >= 2
    assert rows.max() <= 40


@given(st.lists(st.text(max_size=5), max_size=12))
def test_chunks_hold_every_text_once_and_in_order(texts: list[str]) -> None:
    size = pieces.CHUNK_CHARACTERS
    try:
        pieces.CHUNK_CHARACTERS = 6
        found = list(chunks(texts, 3))
    finally:
        pieces.CHUNK_CHARACTERS = size
    assert [first for first, _ in found] == [sum(chunk.texts for _, chunk in found[:n]) for n in range(len(found))]
    assert sum(chunk.texts for _, chunk in found) == len(texts)
    read = [chunk.codes.tolist() for _, chunk in found]
    assert all(
        codes == Chunk([t[:3] for t in texts[f : f + c.texts]]).codes.tolist()
        for codes, (f, c) in zip(read, found, strict=True)
    )
