from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Example, LabeledDataset, Message, Split, Splits
from delivery.client_config import SplitRule
from delivery.dataset import load, split
from delivery.dataset.splits import side_names
from delivery.errors import ClientDataError
from tests.delivery.dataset.conftest import Write, unlike


def example(name: str, *, text: str | None = None, side: Split | None = None, **metadata: str) -> Example:
    return Example(name, (Message("user", text or unlike(name)),), "a", split=side, metadata=metadata, source="f", line=3)


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
        example("of test", text=unlike("t1").upper() + "  ", side="train"),
        example("of test too", text=unlike("t2"), side="validation"),
        example("validation", text="only here", side="validation"),
        example("of validation", text="Only here", side="train"),
        example("of training", text=unlike("r1"), side="train"),
    ]
    result = split(dataset(*copies, *rows), SplitRule())
    assert result.left_out == ("of test", "of test too", "of validation")
    assert [e.id for e in result.validation] == ["validation"]
    assert [e.id for e in result.train] == ["of training", *(f"r{n}" for n in range(10))]
    assert len(result.test) == 10


def test_unnamed_rows_of_one_input_share_a_side(write: Write) -> None:
    rows = [{"text": write_it(unlike(str(n))), "label": "a"} for n in range(100) for write_it in (str.lower, str.upper)]
    loaded = load([write(*rows)])
    assert len({e.id for e in loaded.examples}) == 200
    assert split(loaded, SplitRule()).left_out == ()


def test_rows_that_are_nearly_the_same_share_a_side() -> None:
    rows = [example(f"{n}-{copy}", text=f"{unlike(str(n))} {copy}") for n in range(300) for copy in ("one", "two", "three")]
    result = split(dataset(*rows), SplitRule())
    assert result.left_out == ()
    assert len(result.near) == 900
    for side in (result.train, result.validation, result.test):
        assert {e.id.partition("-")[0] + "-one" for e in side} <= {e.id for e in side}
    assert abs(len(result.test) - 180) < 75


def test_rows_near_to_held_out_ones_are_left_out_where_the_client_divided_them_so() -> None:
    rows = [example(f"t{n}", side="test") for n in range(10)] + [example(f"r{n}", side="train") for n in range(10)]
    near = [
        example("near test", text=f"{unlike('t1')} too", side="train"),
        example("near that", text=f"{unlike('t1')} too, please", side="train"),
        example("nobody's", text=f"{unlike('t1')}!"),
    ]
    result = split(dataset(*near, *rows), SplitRule())
    assert result.left_out == ("near test", "near that", "nobody's")
    assert len(result.train) == 10


def before_by_name(splits: Splits) -> dict[str, Split]:
    sides: dict[Split, tuple[Example, ...]] = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: side for side, rows in sides.items() for e in rows for name in side_names(e, SplitRule())}


def test_a_side_decided_before_outlives_the_rule_the_given_split_and_a_change_of_text() -> None:
    rows = [example(str(n)) for n in range(200)]
    before = split(dataset(*rows), SplitRule())
    decided = before_by_name(before)
    moved = [replace(e, split="train") for e in before.test[:5]]
    edited = [example(e.id, text=unlike("edited " + e.id)) for e in before.test[5:9]]
    renamed = [example("new " + e.id, text=e.asked) for e in before.test[9:12]]
    rest = [e for e in rows if e.id not in {m.id for m in before.test[:12]}]
    after = split(dataset(*moved, *edited, *renamed, *rest), SplitRule(test=0.5, seed=99), decided=decided)
    assert {e.id for e in (*moved, *edited, *renamed)} <= {e.id for e in after.test}
    assert {e.id for e in before.train} == {e.id for e in after.train}


def test_a_row_that_joins_two_sides_is_left_out() -> None:
    rows = [example(f"t{n}", side="test") for n in range(12)] + [example(f"r{n}", side="train") for n in range(12)]
    shared = unlike("bridge") * 2
    rows += [example("on test", text=shared + unlike("a")[:18], side="test")]
    rows += [example("on train", text=unlike("b")[:18] + shared, side="train")]
    bridge = example("bridge", text=shared)
    result = split(dataset(*rows, bridge), SplitRule())
    assert set(result.left_out) == {"bridge", "on train"}


def test_too_little_is_refused_in_one_line() -> None:
    with pytest.raises(ClientDataError, match=r"^data: 19 rows, but it takes at least 20; label more$"):
        split(dataset(*(example(str(n)) for n in range(19))), SplitRule())
    with pytest.raises(ClientDataError, match=r"test rows of 25, but it takes at least 10; give about 50 rows"):
        split(dataset(*(example(str(n)) for n in range(25))), SplitRule())
    held = [example(f"{n}", side="test") for n in range(25)]
    copies = [example(f"c{n}", text=unlike(f"{n}"), side="train") for n in range(5)]
    with pytest.raises(ClientDataError, match="no row of 30 is left to train on, 5 left out as copies"):
        split(dataset(*held, *copies), SplitRule())
