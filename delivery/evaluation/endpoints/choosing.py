"""Answers out of a closed set: the tokens of all choices as one tree, and the two ways to choose from their log-probabilities.

``likelihood`` takes the choice whose tokens are likeliest together (their log-probabilities summed, no end token, no
length correction), as evaluation harnesses score multiple choice: figures can be compared with published ones. A choice
that another one begins with never loses to it. ``constrained`` takes the likeliest token that some choice goes on with, one
by one, and the end token where a choice may end: what a server says that is held to the set by a grammar and spells each
choice as the tokenizer does. It can miss the choice that is likeliest as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ChoiceTree:
    """The tokens of choices as a tree below the prompt's last token.

    Inner tokens, those that another one follows, are numbered from 0, parents first; the prompt's last token is -1.
    ``steps[c]`` are the steps of choice c, each from an inner token to the token that follows it there. ``followers[i + 1]``
    are the tokens that some choice has after inner token i, ascending.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]
    followers: tuple[tuple[int, ...], ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest choice."""
        return max(len(steps) for steps in self.steps)


def choice_tree(choices: Sequence[Sequence[int]]) -> ChoiceTree:
    """The tree of choices that are given as tokens, each with at least one.

    Raises:
        ValueError: no choices, or one without tokens.
    """
    if not choices or not all(choices):
        raise ValueError("each choice needs at least one token, and there must be a choice")
    begun = {tuple(choice[:length]) for choice in choices for length in range(1, len(choice))}
    numbers: dict[tuple[int, ...], int] = {(): -1}
    numbers |= {opening: number for number, opening in enumerate(sorted(begun, key=lambda opening: (len(opening), opening)))}
    inner = [opening for opening in numbers if opening]
    followers: dict[tuple[int, ...], set[int]] = {opening: set() for opening in numbers}
    for choice in choices:
        for length, token in enumerate(choice):
            followers[tuple(choice[:length])].add(token)
    return ChoiceTree(
        tokens=tuple(opening[-1] for opening in inner),
        parents=tuple(numbers[opening[:-1]] for opening in inner),
        depths=tuple(len(opening) for opening in inner),
        steps=tuple(tuple((numbers[tuple(choice[:at])], token) for at, token in enumerate(choice)) for choice in choices),
        followers=tuple(tuple(sorted(tokens)) for tokens in followers.values()),
    )


LogProbs = Mapping[int, Mapping[int, float]]
"""Inner token -> following token -> log-probability."""


def likelihoods(tree: ChoiceTree, log_probs: LogProbs) -> tuple[float, ...]:
    """The log-probability of each choice: the sum over its tokens."""
    return tuple(sum(log_probs[inner][token] for inner, token in steps) for steps in tree.steps)


def likeliest(tree: ChoiceTree, log_probs: LogProbs) -> int:
    """The number of the choice with the highest sum; the first of equal ones."""
    return int(np.argmax(likelihoods(tree, log_probs)))


def constrained(tree: ChoiceTree, log_probs: LogProbs, *, ends: Sequence[int]) -> int:
    """The number of the choice that greedy decoding arrives at when it may only say choices. ``ends``: tokens that end it."""
    open_choices = list(range(len(tree.steps)))
    for depth in range(tree.longest + 1):
        going_on = [c for c in open_choices if len(tree.steps[c]) > depth]
        ended = [c for c in open_choices if len(tree.steps[c]) == depth]
        if not going_on:
            break
        inner = tree.steps[going_on[0]][depth][0]
        said = {tree.steps[c][depth][1]: log_probs[inner][tree.steps[c][depth][1]] for c in going_on}
        best = max(said, key=lambda token: (said[token], -token))
        if ended and max(log_probs[inner][end] for end in ends) > said[best]:
            return ended[0]
        open_choices = [c for c in going_on if tree.steps[c][depth][1] == best]
    return open_choices[0]
