from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Example, LabeledDataset, sha256_json
from delivery.client_config import SplitRule
from delivery.dataset import split
from delivery.dataset.versions import RowStore
from delivery.errors import ConfigError, IntegrityError
from tests.delivery.dataset.conftest import unlike
from tests.delivery.dataset.test_splits import example

RULE = SplitRule()


def rows(*names: int) -> list[Example]:
    return [example(str(n)) for n in names]


def dataset(examples: list[Example]) -> LabeledDataset:
    return LabeledDataset(tuple(examples), sha256_json([(e.id, e.asked, e.answer) for e in examples]), "chat-jsonl")


def commit(store: RowStore, examples: list[Example]) -> str:
    given_rows = dataset(examples)
    version = store.commit(given_rows, split(given_rows, RULE, decided=store.decided()))
    store.decide(version, RULE)
    return version.id


def test_what_was_stored_is_read_back(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    examples = rows(*range(200))
    examples[0] = replace(examples[0], metadata={"plan": "gold"}, weight=0.5, rejected="no", line=77, source="g")
    examples.append(example("200", text=unlike("7") + " too"))
    given_rows = dataset(examples)
    divided = split(given_rows, RULE)
    version = store.commit(given_rows, divided)
    stored = RowStore(tmp_path).read(version.id)
    keyed = [replace(e, key=e.input_key) for e in examples]
    assert list(stored.dataset.examples) == keyed
    assert stored.dataset.fingerprint == given_rows.fingerprint
    for side in ("train", "validation", "test"):
        assert [e.id for e in getattr(stored.splits, side)] == [e.id for e in getattr(divided, side)]
    assert (stored.splits.left_out, stored.splits.near) == (divided.left_out, divided.near)
    assert stored.splits.near == (("7", "200"),)


def test_the_same_rows_are_the_same_version_and_each_row_is_stored_once(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    first = commit(store, rows(*range(100)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.gz")}
    assert commit(store, rows(*range(100))) == first
    second = commit(store, [*rows(*range(100)), *rows(*range(100, 110))])
    assert [v.number for v in store.versions()] == [1, 2]
    assert {path: path.read_bytes() for path in before} == before
    segments = sorted((tmp_path / "segments").iterdir(), key=lambda p: p.stat().st_size)
    assert [len(gzip.decompress(path.read_bytes()).splitlines()) for path in segments] == [10, 100]
    assert store.version(second).parent == first
    assert store.version(second).changes == {"added": 10, "removed": 0, "relabeled": 0, "edited": 0}


def test_a_diff_tells_added_removed_relabeled_and_edited_apart(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    first = commit(store, rows(*range(60)))
    changed = rows(*range(2, 62))
    changed[0] = replace(changed[0], answer="b")
    changed[1] = replace(example("3", text=unlike("another")), answer="b")
    second = commit(store, changed)
    diff = store.diff(first, second)
    assert diff.as_dict() == {"added": ("60", "61"), "removed": ("0", "1"), "relabeled": ("2",), "edited": ("3",)}
    assert store.diff(second, first).added == ("0", "1")


class Nights:
    """A client's rows from night to night: they come, go, come back, are relabeled, reworded, copied, or wished elsewhere."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._alive = {n: example(str(n)) for n in range(120)}
        self._gone: dict[int, Example] = {}
        self._count = 120

    def next(self) -> list[Example]:
        chance = self._chance
        for n in chance.sample(sorted(self._alive), 8):
            self._gone[n] = self._alive.pop(n)
        for n in chance.sample(sorted(self._gone), min(4, len(self._gone))):
            self._alive[n] = self._gone.pop(n)
        for n in chance.sample(sorted(self._alive), 6):
            self._change(n)
        for _ in range(chance.randint(1, 12)):
            self._add(example(str(self._count), side=chance.choice([None, None, "train"])))
        return [self._alive[n] for n in sorted(self._alive)]

    def rule(self) -> SplitRule:
        return SplitRule(seed=self._chance.randint(0, 3), test=self._chance.choice([0.2, 0.3]))

    def _add(self, row: Example) -> None:
        self._alive[self._count] = row
        self._count += 1

    def _change(self, n: int) -> None:
        row = self._alive[n]
        match self._chance.choice(["relabel", "wish", "reword", "copy", "near copy"]):
            case "relabel":
                self._alive[n] = replace(row, answer=self._chance.choice("abc"))
            case "wish":
                self._alive[n] = replace(row, split=self._chance.choice(["train", "validation", "test"]))
            case "reword":
                self._alive[n] = example(row.id, text=row.asked + " please")
            case "copy":
                self._add(example(str(self._count), text=row.asked))
            case _:
                self._add(example(str(self._count), text=row.asked + " thanks"))


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_over_twenty_nights_no_row_changes_side_and_no_held_out_row_is_trained_on(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    store, nights = RowStore(tmp_path_factory.mktemp("nights")), Nights(seed)
    side_of: dict[str, str] = {}
    tested: set[str] = set()
    trained: set[str] = set()
    for _ in range(20):
        given_rows, rule = dataset(nights.next()), nights.rule()
        version = store.commit(given_rows, split(given_rows, rule, decided=store.decided()))
        store.decide(version, rule)
        stored = store.read(version.id).splits
        for side in ("train", "validation", "test"):
            for row in getattr(stored, side):
                assert side_of.setdefault(row.id, side) == side
        training, test = ({e.input_key for e in rows_of} for rows_of in (stored.train, stored.test))
        assert not training & (test | tested | {e.input_key for e in stored.validation})
        assert not test & trained
        tested |= test
        trained |= training
    assert len(trained) > 100
    assert len(tested) > 25


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    version = commit(store, rows(*range(50)))
    (segment,) = (tmp_path / "segments").iterdir()
    whole = segment.read_bytes()
    lines = gzip.decompress(whole).replace(b'"content":"a"', b'"content":"b"', 1)
    segment.write_bytes(gzip.compress(lines))
    with pytest.raises(IntegrityError, match="lacks 1 rows"):
        store.read(version)
    segment.write_bytes(whole[:100])
    with pytest.raises(IntegrityError, match="cannot be read"):
        store.read(version)
    segment.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        store.read(version)
    segment.write_bytes(whole)
    (manifest,) = (tmp_path / "manifests").iterdir()
    manifest.write_bytes(gzip.compress(gzip.decompress(manifest.read_bytes()).replace(b'"train"', b'"test"', 1)))
    with pytest.raises(IntegrityError, match="not the manifest of its version"):
        store.read(version)
    with pytest.raises(ConfigError, match="no data version 'nowhere'"):
        store.read("nowhere")


def test_killed_at_any_write_the_next_attempt_ends_with_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two_nights(folder: Path) -> str:
        commit(RowStore(folder), rows(*range(60)))
        return commit(RowStore(folder), rows(*range(5, 80)))

    expected = two_nights(tmp_path / "whole")
    whole = RowStore(tmp_path / "whole")
    original = Path.replace
    for moment in range(1, 9):
        folder = tmp_path / str(moment)
        done = 0

        def killed(self: Path, target: Path, moment: int = moment) -> Path:
            nonlocal done
            done += 1
            if done == moment:
                raise KeyboardInterrupt
            return original(self, target)

        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            two_nights(folder)
        monkeypatch.setattr(Path, "replace", original)
        assert two_nights(folder) == expected
        assert not list(folder.rglob("*.tmp"))
        assert [(v.number, v.changes) for v in RowStore(folder).versions()] == [(v.number, v.changes) for v in whole.versions()]
