from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.evaluation.endpoints.choosing import ROOT, ChoiceTree, Constrained, Everything, Likelihood, Search, choice_tree

END = 99
CHOICES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=12)


def log_probs(tree: ChoiceTree, inner: int, seed: int) -> dict[int, float]:
    """A language model: what follows an opening depends on that opening, and is a share of one."""
    draw = random.Random(repr((tree.opening(inner), seed)))
    shares = {token: draw.random() ** 3 + 1e-6 for token in (0, 1, 2, 3, END)}
    return {token: math.log(share / sum(shares.values())) for token, share in shares.items()}


def run(search: Search, tree: ChoiceTree, seed: int) -> int:
    """Tell a search what it wants; how many inner tokens that took."""
    asked, known = 0, {ROOT}
    search.tell(ROOT, log_probs(tree, ROOT, seed))
    while wanted := search.wanted():
        for inner in wanted:
            assert inner not in known
            assert tree.parents[inner] in known
            known.add(inner)
        for inner in wanted:
            asked += 1
            search.tell(inner, log_probs(tree, inner, seed))
    return asked


def likelihood_of(choice: Sequence[int], choices: list[list[int]], seed: int) -> float:
    tree = choice_tree(choices)
    inner = {tuple(tree.opening(i)): i for i in range(ROOT, len(tree.tokens))}
    return sum(log_probs(tree, inner[tuple(choice[:at])], seed)[token] for at, token in enumerate(choice))


@given(CHOICES, st.integers(0, 999))
def test_the_likeliest_choice_is_found_without_looking_at_everything(choices: list[list[int]], seed: int) -> None:
    tree = choice_tree(choices)
    everything, likelihood = Everything(tree), Likelihood(tree)
    run(everything, tree, seed)
    asked = run(likelihood, tree, seed)
    assert everything.sums == pytest.approx([likelihood_of(choice, choices, seed) for choice in choices])
    assert likelihood.choice == max(range(len(choices)), key=lambda c: everything.sums[c])
    assert asked <= len(tree.tokens)


def greedy(choices: list[list[int]], seed: int) -> list[int]:
    """Token by token over the lists themselves."""
    tree = choice_tree(choices)
    inner = {tuple(tree.opening(i)): i for i in range(ROOT, len(tree.tokens))}
    said: list[int] = []
    while True:
        open_tokens = {choice[len(said)] for choice in choices if choice[: len(said)] == said and len(choice) > len(said)}
        allowed = open_tokens | ({END} if said in choices else set())
        if allowed == {END}:
            return said
        shares = log_probs(tree, inner[tuple(said)], seed)
        best = max(allowed, key=lambda token: shares[token])
        if best == END:
            return said
        said.append(best)


@given(CHOICES, st.integers(0, 999))
def test_constrained_says_what_greedy_decoding_under_a_grammar_says(choices: list[list[int]], seed: int) -> None:
    tree = choice_tree(choices)
    search = Constrained(tree, [END])
    asked = run(search, tree, seed)
    assert choices[search.choice] == greedy(choices, seed)
    assert search.choice == choices.index(choices[search.choice])
    assert asked < max(len(choice) for choice in choices)


def test_a_sure_model_costs_few_tokens_of_a_large_set() -> None:
    choices = [[a, b, c, d] for a in range(4) for b in range(4) for c in range(4) for d in range(4)]
    tree = choice_tree(choices)
    search = Likelihood(tree)
    sure = {0: -0.01, 1: -6.0, 2: -7.0, 3: -8.0}
    search.tell(ROOT, sure)
    asked = 0
    while wanted := search.wanted():
        asked += len(wanted)
        for inner in wanted:
            search.tell(inner, sure)
    assert choices[search.choice] == [0, 0, 0, 0]
    assert asked == 3
    assert len(tree.tokens) == 84


def test_a_choice_that_another_begins_with_wins_by_likelihood_and_by_its_end_under_constraint() -> None:
    tree = choice_tree([[1, 2, 3], [1, 2]])
    told = [{1: -0.1, END: -9.0}, {2: -0.1, END: -9.0}, {3: -1.0, END: -2.0}]
    likelihood, going_on, ending = Likelihood(tree), Constrained(tree, [END]), Constrained(tree, [END])
    for inner, after in enumerate(told, start=-1):
        likelihood.tell(inner, after)
        going_on.tell(inner, after)
        ending.tell(inner, after if inner < 1 else {3: -2.0, END: -1.0})
    assert (likelihood.choice, going_on.choice, ending.choice) == (1, 0, 1)


@pytest.mark.parametrize("choices", [[], [[1], []]])
def test_a_choice_without_tokens_is_refused(choices: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        choice_tree(choices)
