from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Example, LabeledDataset, Message, Split
from delivery.client_config import SplitRule
from delivery.dataset import load, split
from delivery.errors import ClientDataError
from tests.delivery.dataset.conftest import Write


def example(name: str, *, text: str | None = None, side: Split | None = None, **metadata: str) -> Example:
    return Example(name, (Message("user", text or f"text of {name}"),), "a", split=side, metadata=metadata, source="f", line=3)


def dataset(*examples: Example) -> LabeledDataset:
    return LabeledDataset(examples, "0" * 64, "chat-jsonl")


def sides(rows: list[Example], rule: SplitRule) -> dict[str, str]:
    result = split(dataset(*rows), rule)
    return {row.id: side for side in ("train", "validation", "test") for row in getattr(result, side)}


@settings(max_examples=50, deadline=None)
@given(
    first=st.sets(st.text("abcdef0123", min_size=1), min_size=0, max_size=30),
    more=st.sets(st.text("abcdef0123", min_size=1), max_size=30),
    seed=st.integers(0, 5),
)
def test_a_row_keeps_its_side_when_rows_are_added(first: set[str], more: set[str], seed: int) -> None:
    rule = SplitRule(seed=seed)
    given_rows = [example(f"given {n}", side="test") for n in range(10)] + [
        example(f"own {n}", side="train") for n in range(10)
    ]
    before = sides([*given_rows, *map(example, sorted(first))], rule)
    after = sides([*map(example, sorted(more | first)), *given_rows], rule)
    assert {name: after[name] for name in before} == before


def test_shares_are_those_of_the_rule_and_the_seed_decides() -> None:
    rows = [example(str(n)) for n in range(5000)]
    result = split(dataset(*rows), SplitRule(test=0.3, validation=0.1))
    assert abs(len(result.test) - 1500) < 130
    assert abs(len(result.validation) - 500) < 85
    assert sum(result.counts.values()) == 5000
    other = split(dataset(*rows), SplitRule(test=0.3, validation=0.1, seed=8))
    assert 0.2 < len({e.id for e in result.test} & {e.id for e in other.test}) / len(result.test) < 0.4


def test_groups_stay_together() -> None:
    rows = [example(str(n), customer=f"c{n % 60}") for n in range(600)]
    placed = sides(rows, SplitRule(group_by="customer"))
    assert all(len({placed[str(n)] for n in range(group, 600, 60)}) == 1 for group in range(60))
    with pytest.raises(ClientDataError, match=r"f:3: metadata\.customer: is missing, but data\.splits\.group_by"):
        split(dataset(*rows, example("alone")), SplitRule(group_by="customer"))


def test_copies_of_held_out_rows_are_left_out_and_copies_in_training_stay() -> None:
    rows = [example(f"t{n}", side="test") for n in range(10)] + [example(f"r{n}", side="train") for n in range(10)]
    copies = [
        example("of test", text="TEXT  of t1", side="train"),
        example("of test too", text="text of t2", side="validation"),
        example("validation", text="only here", side="validation"),
        example("of validation", text="Only here", side="train"),
        example("of training", text="text of r1", side="train"),
    ]
    result = split(dataset(*copies, *rows), SplitRule())
    assert result.left_out == ("of test", "of test too", "of validation")
    assert [e.id for e in result.validation] == ["validation"]
    assert [e.id for e in result.train] == ["of training", *(f"r{n}" for n in range(10))]
    assert len(result.test) == 10


def test_unnamed_rows_of_one_input_share_a_side(write: Write) -> None:
    rows = [{"text": f"{word} {n}", "label": "a"} for n in range(100) for word in ("case", "CASE")]
    loaded = load([write(*rows)])
    assert len({e.id for e in loaded.examples}) == 200
    assert split(loaded, SplitRule()).left_out == ()


def test_too_little_is_refused_in_one_line() -> None:
    with pytest.raises(ClientDataError, match=r"^data: 19 rows, but it takes at least 20; label more$"):
        split(dataset(*(example(str(n)) for n in range(19))), SplitRule())
    with pytest.raises(ClientDataError, match=r"test rows of 25, but it takes at least 10; give about 50 rows"):
        split(dataset(*(example(str(n)) for n in range(25))), SplitRule())
    held = [example(f"{n}", side="test") for n in range(25)]
    copies = [example(f"c{n}", text=f"text of {n}", side="train") for n in range(5)]
    with pytest.raises(ClientDataError, match="no row of 30 is left to train on, 5 left out as copies"):
        split(dataset(*held, *copies), SplitRule())
