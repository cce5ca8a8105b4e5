from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Example, LabeledDataset, sha256_json
from delivery.client_config import SplitRule
from delivery.dataset import split
from delivery.dataset.versions import RowStore
from delivery.errors import ConfigError, IntegrityError
from tests.delivery.dataset.test_splits import example, unlike

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


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_over_twenty_nights_no_row_changes_side_and_no_held_out_row_is_trained_on(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Every night rows come, go, come back, are relabeled, reworded, renamed, or come with a wish for another side."""
    import random

    chance = random.Random(seed)
    store = RowStore(tmp_path_factory.mktemp("nights"))
    alive = {n: example(str(n)) for n in range(120)}
    gone: dict[int, Example] = {}
    last_side: dict[str, str] = {}
    held_out_inputs: set[str] = set()
    trained_inputs: set[str] = set()
    top = 120
    for _ in range(20):
        for n in chance.sample(sorted(alive), 8):
            gone[n] = alive.pop(n)
        for n in chance.sample(sorted(gone), min(4, len(gone))):
            alive[n] = gone.pop(n)
        for n in chance.sample(sorted(alive), 6):
            kind = chance.choice(["relabel", "wish", "reword", "copy", "near copy"])
            row = alive[n]
            if kind == "relabel":
                alive[n] = replace(row, answer=chance.choice("abc"))
            elif kind == "wish":
                alive[n] = replace(row, split=chance.choice(["train", "validation", "test"]))
            elif kind == "reword":
                alive[n] = example(row.id, text=row.asked + " please")
            else:
                alive[top] = example(str(top), text=row.asked + (" thanks" if kind == "near copy" else ""))
                top += 1
        for _ in range(chance.randint(1, 12)):
            alive[top] = example(str(top), side=chance.choice([None, None, "train"]))
            top += 1
        rule = SplitRule(seed=chance.randint(0, 3), test=chance.choice([0.2, 0.3]))
        given_rows = dataset([alive[n] for n in sorted(alive)])
        splits = split(given_rows, rule, decided=store.decided())
        version = store.commit(given_rows, splits)
        store.decide(version, rule)
        stored = store.read(version.id).splits
        for side in ("train", "validation", "test"):
            for row in getattr(stored, side):
                assert last_side.setdefault(row.id, side) == side
        held_out = {e.input_key for e in (*stored.test, *stored.validation)}
        training = {e.input_key for e in stored.train}
        assert not training & held_out
        assert not training & held_out_inputs
        assert not {e.input_key for e in stored.test} & trained_inputs
        held_out_inputs |= {e.input_key for e in stored.test}
        trained_inputs |= training


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    version = commit(store, rows(*range(50)))
    (segment,) = (tmp_path / "segments").iterdir()
    whole = segment.read_bytes()
    lines = gzip.decompress(whole).replace(b'"answer":"a"', b'"answer":"b"', 1)
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
    whole = RowStore(tmp_path / "whole")
    commit(whole, rows(*range(60)))
    expected = commit(whole, rows(*range(5, 80)))
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
            commit(RowStore(folder), rows(*range(60)))
            commit(RowStore(folder), rows(*range(5, 80)))
        monkeypatch.setattr(Path, "replace", original)
        commit(RowStore(folder), rows(*range(60)))
        assert commit(RowStore(folder), rows(*range(5, 80))) == expected
        assert not list(folder.rglob("*.tmp"))
        assert [(v.number, v.changes) for v in RowStore(folder).versions()] == [
            (v.number, v.changes) for v in whole.versions()
        ]
