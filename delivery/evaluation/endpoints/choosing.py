"""Answers out of a closed set: the tokens of all choices as one tree, and how the answer is found in it.

``Likelihood`` takes the choice whose tokens are likeliest together (their log-probabilities summed, no end token, no length
correction), as evaluation harnesses score multiple choice: figures can be compared with published ones. A choice that
another one begins with never loses to it. ``Constrained`` takes the likeliest token that some choice goes on with, one by
one, and the end token where a choice may end: what a server says that is held to the set by a grammar and spells each choice
as the tokenizer does. It can miss the choice that is likeliest as a whole.

Each is told log-probabilities and says which tokens it has to know next, so most of a large tree is never computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

ROOT = -1
"""The prompt's last token, below which the tree of choices stands."""
_WIDTH = 8
_NEAR = 3.0
"""``Likelihood`` asks at once for up to 8 tokens of a sample whose sums are within 3 nats: few rounds for few tokens."""


class Step(NamedTuple):
    """A token that follows an inner token: its own number where it is inner, too, and the choice that it completes."""

    token: int
    inner: int | None
    choice: int | None


@dataclass(frozen=True, slots=True)
class ChoiceTree:
    """Choices as a tree of tokens. Inner tokens, those that another one follows, are numbered from 0, parents first.

    ``followers[i + 1]`` are the steps from inner token i, ascending by token; ``paths[c]`` are choice c's pairs of an inner
    token and the token that follows it there.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    followers: tuple[tuple[Step, ...], ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest choice."""
        return max(len(path) for path in self.paths)

    def opening(self, inner: int) -> list[int]:
        """The tokens from the root to an inner token; none for the root itself."""
        return [] if inner == ROOT else [*self.opening(self.parents[inner]), self.tokens[inner]]


def choice_tree(choices: Sequence[Sequence[int]]) -> ChoiceTree:
    """The tree of choices that are given as tokens, each with at least one. Of equal choices the first counts.

    Raises:
        ValueError: no choices, or one without tokens.
    """
    if not choices or not all(choices):
        raise ValueError("there must be a choice, and each needs at least one token")
    begun = {tuple(choice[:length]) for choice in choices for length in range(1, len(choice))}
    inner = sorted(begun, key=lambda opening: (len(opening), opening))
    numbers = {(): ROOT} | {opening: number for number, opening in enumerate(inner)}
    whole = {tuple(choice): number for number, choice in reversed(list(enumerate(choices)))}
    steps: dict[tuple[int, ...], list[Step]] = {opening: [] for opening in numbers}
    for opening in sorted(begun | set(whole)):
        steps[opening[:-1]].append(Step(opening[-1], numbers.get(opening), whole.get(opening)))
    return ChoiceTree(
        tokens=tuple(opening[-1] for opening in inner),
        parents=tuple(numbers[opening[:-1]] for opening in inner),
        depths=tuple(len(opening) for opening in inner),
        followers=tuple(tuple(after) for after in steps.values()),
        paths=tuple(tuple((numbers[tuple(choice[:at])], token) for at, token in enumerate(choice)) for choice in choices),
    )


class Search(Protocol):
    """Finds out what it needs about one sample's choices. The root is told first."""

    def wanted(self) -> list[int]:
        """Inner tokens to compute next, each after its parent; none when all that is needed is known."""

    def tell(self, inner: int, log_probs: Mapping[int, float]) -> None:
        """The log-probabilities, behind an inner token, of the tokens that follow it in the tree and of the end tokens."""


class Everything:
    """The log-likelihood of every choice."""

    def __init__(self, tree: ChoiceTree) -> None:
        self._tree = tree
        self._told: dict[int, Mapping[int, float]] = {}

    def wanted(self) -> list[int]:
        """All inner tokens at once."""
        return [] if len(self._told) > 1 else list(range(len(self._tree.tokens)))

    def tell(self, inner: int, log_probs: Mapping[int, float]) -> None:
        """Kept as it is."""
        self._told[inner] = log_probs

    @property
    def sums(self) -> tuple[float, ...]:
        """Each choice's log-likelihood in nats, without an end token."""
        return tuple(sum(self._told[inner][token] for inner, token in path) for path in self._tree.paths)


class Likelihood:
    """The choice with the highest sum, the first of equal ones. What is behind a sum that is too low is never asked for."""

    def __init__(self, tree: ChoiceTree) -> None:
        self._tree = tree
        self._begun = {ROOT: 0.0}
        self._best = (float("-inf"), 0)
        self.choice = 0

    def wanted(self) -> list[int]:
        """The likeliest openings among those that can still win: a sum only falls as tokens are added."""
        enough = max(self._best[0], max(self._begun.values(), default=0.0) - _NEAR)
        near = [inner for inner, total in self._begun.items() if total >= enough]
        return sorted(near, key=lambda inner: (-self._begun[inner], inner))[:_WIDTH]

    def tell(self, inner: int, log_probs: Mapping[int, float]) -> None:
        """Sum up, and open what follows."""
        before = self._begun.pop(inner)
        for step in self._tree.followers[inner + 1]:
            total = before + log_probs[step.token]
            if step.inner is not None:
                self._begun[step.inner] = total
            if step.choice is not None and (total, -step.choice) > self._best:
                self._best, self.choice = (total, -step.choice), step.choice


class Constrained:
    """The choice that greedy decoding arrives at when it may only say choices; ``ends`` are the tokens that end an answer."""

    def __init__(self, tree: ChoiceTree, ends: Sequence[int]) -> None:
        self._tree, self._ends = tree, ends
        self._at: int | None = ROOT
        self._whole: int | None = None
        self.choice = 0

    def wanted(self) -> list[int]:
        """The one token where it stands."""
        return [] if self._at is None else [self._at]

    def tell(self, inner: int, log_probs: Mapping[int, float]) -> None:
        """Go one token on, or end."""
        step = max(self._tree.followers[inner + 1], key=lambda step: (log_probs[step.token], -step.token))
        if self._whole is not None and max(log_probs[end] for end in self._ends) > log_probs[step.token]:
            self.choice, self._at = self._whole, None
        elif step.inner is None:
            self.choice, self._at = step.choice or 0, None
        else:
            self._at, self._whole = step.inner, step.choice
