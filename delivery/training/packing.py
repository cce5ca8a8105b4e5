"""Rows as one sequence without padding, in which openings that rows share stand once. Pure.

Rows in the order of their tokens have their longest shared openings between neighbours, so one pass over them finds all
openings as a tree: an opening may continue a shorter one that more rows share. Every segment of the sequence is an
opening's or a row's own tokens; it follows on the segments above it in the tree, and on nothing else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

from delivery.artifacts import Opening, TokenStats

GRID = 64
"""Sequences, blocks of queries and their keys have lengths that are multiples of this where that is cheap: on a CPU torch's
products in bfloat16 keep some 300 kB for every shape that they ever had, for as long as the process lives."""
_LEAST_SAVED = 32
"""Tokens. An opening that saves fewer is not worth products of its own, and stands in each of its rows."""


class Segment(NamedTuple):
    """Tokens ``start`` to ``end`` of the sequence: those of ``row`` from ``offset`` on, after segment ``parent`` (or -1)."""

    start: int
    end: int
    row: int
    offset: int
    parent: int


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows as one sequence. A segment stands after its parent, and segments of one parent without children stand together."""

    segments: tuple[Segment, ...]
    last: tuple[int, ...]
    """For each row the segment that it ends with; -1 for a row without tokens."""

    @property
    def tokens(self) -> int:
        """Length of the sequence."""
        return self.segments[-1].end if self.segments else 0

    def line(self, segment: int) -> tuple[Segment, ...]:
        """A segment and those that it follows on, the first first."""
        found = []
        while segment >= 0:
            found.append(self.segments[segment])
            segment = found[-1].parent
        return tuple(reversed(found))


class Block(NamedTuple):
    """Queries ``start`` to ``end`` of a sequence, all after the key ranges ``before``, and their keys from ``own`` to ``end``.

    A query sees ``before`` whole, and of the further keys those of its own segment up to itself; ``own`` may lie before these.
    """

    start: int
    end: int
    before: tuple[tuple[int, int], ...]
    own: int


@dataclass(slots=True)
class _Node:
    """``rows`` rows that share their first ``length`` tokens: row numbers, and nodes of rows that share more."""

    length: int
    units: list[int | _Node]
    rows: int

    @property
    def nodes(self) -> list[_Node]:
        return [unit for unit in self.units if isinstance(unit, _Node)]

    def take(self, *units: int | _Node) -> None:
        self.units += units
        self.rows += sum(unit.rows if isinstance(unit, _Node) else 1 for unit in units)


def shared_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many opening tokens two rows share."""
    longest = min(len(one), len(other))
    # Whole slices are compared much faster than tokens one by one.
    return bisect_left(range(longest), True, key=lambda length: one[: length + 1] != other[: length + 1])


def pack(rows: Sequence[list[int]]) -> Pack:
    """The rows (token ids) as one sequence, with the openings that save enough, and only those, standing once."""
    segments: list[Segment] = []
    last = [-1] * len(rows)

    def add(row: int, offset: int, end: int, parent: int) -> int:
        if end == offset:
            return parent
        start = segments[-1].end if segments else 0
        segments.append(Segment(start, start + end - offset, row, offset, parent))
        return len(segments) - 1

    def place(node: _Node, parent: int) -> None:
        for unit in node.units:
            if isinstance(unit, int):
                last[unit] = add(unit, node.length, len(rows[unit]), parent)
        for below in node.nodes:
            place(below, add(_any_row(below), node.length, below.length, parent))

    place(_tree(rows, _saves), -1)
    return Pack(tuple(segments), tuple(last))


def filled(packed: Pack) -> Pack:
    """A pack with a segment of no row at its end (``row`` -1), so that its length is a multiple of ``GRID``."""
    missing = -packed.tokens % GRID
    if not missing:
        return packed
    filling = Segment(packed.tokens, packed.tokens + missing, -1, 0, packed.segments[-1].parent)
    return Pack((*packed.segments, filling), packed.last)


def openings(rows: Sequence[list[int]], *, batch_size: int) -> tuple[Opening, ...]:
    """The openings that two rows of a random batch are likely to share, the longest first."""
    todo = [_tree(rows, lambda node, beyond: node.rows * batch_size >= 2 * len(rows) and _saves(node, beyond))]
    found = []
    while todo:
        node = todo.pop()
        found += [Opening(below.length - node.length, below.rows) for below in node.nodes]
        todo += node.nodes
    return tuple(sorted(found, key=lambda opening: (opening.tokens, opening.rows), reverse=True))


def expected_tokens(stats: TokenStats, at_once: float) -> float:
    """Tokens that a micro-batch of ``at_once`` random rows is expected to compute."""
    found = stats.openings or (Opening(stats.shared_prefix, stats.rows),)
    alone = stats.tokens / stats.rows - sum(opening.tokens * opening.rows / stats.rows for opening in found)
    shared = sum(opening.tokens * (1.0 - (1.0 - opening.rows / stats.rows) ** at_once) for opening in found)
    return alone * at_once + shared


def _saves(node: _Node, beyond: int) -> bool:
    return (len(node.units) - 1) * (node.length - beyond) >= _LEAST_SAVED


def _any_row(node: _Node) -> int:
    first = node.units[0]
    return first if isinstance(first, int) else _any_row(first)


def _tree(rows: Sequence[list[int]], worth: Callable[[_Node, int], bool]) -> _Node:
    """All openings for which ``worth`` (the node, the length of the opening that it continues) holds."""
    stack = [_Node(0, [], 0)]

    def settle(shared: int) -> None:
        """Close the openings that are longer than what the next row shares."""
        while stack[-1].length > shared:
            done = stack.pop()
            if stack[-1].length < shared:
                stack.append(_Node(shared, [], 0))
            stack[-1].take(*([done] if worth(done, stack[-1].length) else done.units))

    order = sorted(range(len(rows)), key=rows.__getitem__)
    for place, number in enumerate(order):
        shared = shared_length(rows[order[place - 1]], rows[number]) if place else 0
        settle(shared)
        if stack[-1].length < shared:
            # The row before opens a node together with this one.
            stack[-1].rows -= 1
            stack.append(_Node(shared, [stack[-1].units.pop()], 1))
        stack[-1].take(number)
    settle(0)
    return stack[0]


def blocks(packed: Pack, *, tokens: int, cut: bool) -> tuple[Block, ...]:
    """The sequence as blocks of queries of up to ``tokens``; a longer segment is a block of its own, or cut where ``cut``."""
    found = []
    # Neighbours after the same segment see the same keys before their own.
    for parent, group in groupby(packed.segments, key=lambda segment: segment.parent):
        together = list(group)
        before = _ranges(packed.line(parent))
        starts = [segment.start for segment in together]
        ends = _cuts(together, tokens, cut)
        for start, end in pairwise([starts[0], *ends]):
            own = starts[bisect_right(starts, start) - 1]
            found.append(Block(start, end, before, max(0, end - _on_grid(end - own)) if cut else own))
    return tuple(found)


def _on_grid(length: int) -> int:
    return length + -length % GRID


def _cuts(together: Sequence[Segment], tokens: int, cut: bool) -> list[int]:
    first, end = together[0].start, together[-1].end
    if cut:
        return [*range(first + tokens, end, tokens), end]
    found = []
    for before, after in pairwise(together):
        if after.end - first > tokens:
            found.append(before.end)
            first = before.end
    return [*found, end]


def _ranges(line: Sequence[Segment]) -> tuple[tuple[int, int], ...]:
    """The tokens of segments as ranges, those that touch as one."""
    found: list[tuple[int, int]] = []
    for segment in line:
        start = found.pop()[0] if found and found[-1][1] == segment.start else segment.start
        found.append((start, segment.end))
    return tuple(found)
