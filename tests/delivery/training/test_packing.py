"""Which openings are shared, and where every token stands."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Opening, TokenStats
from delivery.training.batches import Packed
from delivery.training.packing import GRID, Block, Pack, Segment, blocks, expected_tokens, filled, openings, pack, shared_length

ONE, TWO = [1] * 40, [2] * 40


@st.composite
def rows(draw: st.DrawFn) -> list[list[int]]:
    """Rows that are put together from a few pieces, so that they share openings at several depths; some are equal."""
    pieces = [[n] * draw(st.integers(1, 50)) for n in range(4)]
    chosen = draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=14))
    return [[token for number in numbers for token in pieces[number]] for numbers in chosen]


def read(packed: Pack, rows: list[list[int]], number: int) -> list[int]:
    """A row's tokens as they stand in the sequence."""
    found: list[int] = []
    for segment in packed.line(packed.last[number]):
        assert segment.offset == len(found)
        found += rows[segment.row][segment.offset : segment.offset + segment.end - segment.start]
    return found


@settings(max_examples=200, deadline=None)
@given(rows())
def test_every_row_can_be_read_and_nothing_is_computed_twice_for_nothing(rows: list[list[int]]) -> None:
    packed = pack(rows)
    assert [read(packed, rows, number) for number in range(len(rows))] == rows
    assert [segment.start for segment in packed.segments] == [0, *(segment.end for segment in packed.segments[:-1])]
    assert all(segment.parent < place for place, segment in enumerate(packed.segments))
    distinct = len({tuple(row[:length]) for row in rows for length in range(1, len(row) + 1)})
    assert distinct <= packed.tokens <= sum(map(len, rows))
    # What is not shared would have saved less than an opening has to, for each pair of neighbours.
    assert packed.tokens - distinct < 32 * len(rows)
    for place, segment in enumerate(packed.segments):
        after = [s for s in packed.segments if s.parent == place]
        ends = packed.last.count(place)
        if after:
            assert (len(after) + ends - 1) * (segment.end - segment.start) >= 32


@settings(max_examples=200, deadline=None)
@given(rows(), st.integers(1, 90), st.booleans())
def test_blocks_let_every_token_see_its_row_up_to_itself(rows: list[list[int]], tokens: int, cut: bool) -> None:
    packed = pack(rows)
    found = blocks(packed, tokens=tokens, cut=cut)
    assert [block.start for block in found] == [0, *(block.end for block in found[:-1])]
    assert found[-1].end == packed.tokens
    start_of = {place: segment.start for segment in packed.segments for place in range(segment.start, segment.end)}
    for number, row in enumerate(rows):
        places = [p for segment in packed.line(packed.last[number]) for p in range(segment.start, segment.end)]
        assert len(places) == len(row)
        for index, place in enumerate(places):
            block = next(block for block in found if block.start <= place < block.end)
            seen = [p for start, end in block.before for p in range(start, end)]
            seen += range(max(start_of[place], block.own), place + 1)
            assert seen == places[: index + 1]
    lengths = {segment.end - segment.start for segment in packed.segments}
    assert all(block.end - block.start <= tokens or (not cut and block.end - block.start in lengths) for block in found)


@given(rows())
def test_sequences_have_few_lengths_and_what_fills_them_is_no_rows(rows: list[list[int]]) -> None:
    packed = pack(rows)
    whole = filled(packed)
    assert whole.tokens % GRID == 0
    assert 0 <= whole.tokens - packed.tokens < GRID
    assert whole.last == packed.last
    assert whole.segments[: len(packed.segments)] == packed.segments
    keys = {block.end - block.own for block in blocks(whole, tokens=2 * GRID, cut=True) if block.own}
    assert all(number % GRID == 0 for number in keys)


def test_openings_are_shared_where_that_saves_enough() -> None:
    assert pack([[*ONE, 5], [*ONE, 6]]).tokens == 42
    assert pack([[*ONE[:20], 5], [*ONE[:20], 6]]).tokens == 42
    assert pack([[*ONE[:20], n] for n in range(3)]).tokens == 23
    assert pack([[1, 2]]).tokens == 2
    assert pack([]).tokens == 0


def test_openings_nest() -> None:
    packed = pack([[*ONE, *TWO, 3], [*ONE, 7], [*ONE, *TWO, 4]])
    assert packed.segments == (
        Segment(0, 40, 0, 0, -1),
        Segment(40, 41, 1, 40, 0),
        Segment(41, 81, 0, 40, 0),
        Segment(81, 82, 0, 80, 2),
        Segment(82, 83, 2, 80, 2),
    )
    assert blocks(packed, tokens=100, cut=True) == (
        Block(0, 40, (), 0),
        Block(40, 81, ((0, 40),), 81 - GRID),
        Block(81, 83, ((0, 40), (41, 81)), 83 - GRID),
    )


def test_a_row_that_another_continues_has_no_tokens_of_its_own() -> None:
    packed = pack([ONE, [*ONE, *TWO], ONE])
    assert packed.tokens == 80
    assert packed.last == (0, 1, 0)


@given(st.lists(st.integers(0, 1), max_size=12), st.lists(st.integers(0, 1), max_size=12))
def test_the_shared_length_is_where_rows_part(one: list[int], other: list[int]) -> None:
    length = shared_length(one, other)
    assert one[:length] == other[:length]
    assert length in (len(one), len(other)) or one[length] != other[length]


@pytest.mark.parametrize("at_once", [1, 4, 16])
def test_the_expected_tokens_of_random_micro_batches_are_those_that_they_have(at_once: int) -> None:
    draw = random.Random(5)
    personas = [[n] * 120 for n in range(3)]
    data = [[99] * 30 + personas[n % 3] + [draw.randrange(10**6) for _ in range(draw.randint(10, 60))] for n in range(90)]
    found = openings(data, batch_size=16)
    assert found == (Opening(120, 30), Opening(120, 30), Opening(120, 30), Opening(30, 90))
    stats = TokenStats(len(data), sum(map(len, data)), 1, 250, 5, 30, found)
    packs = Packed([[row] for row in data])
    mean = sum(packs.tokens(draw.sample(range(90), at_once)) for _ in range(200)) / 200
    # A little less than packing does, which repeats what saves too little.
    assert expected_tokens(stats, at_once) == pytest.approx(mean, rel=0.04)


def test_openings_that_a_batch_will_hardly_share_are_not_told_of() -> None:
    data = [[n // 2] * 100 + [n] for n in range(400)]
    assert openings(data, batch_size=16) == ()
