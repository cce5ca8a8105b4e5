"""The store: migrations, deliveries and stages, and that one client never sees another's."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from delivery.artifacts import Check, DataReport, Decision, Gate, Progress
from delivery.errors import ConfigError
from delivery.store import open_store
from delivery.store.repository import Store
from delivery.store.tables import Base


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'state' / 'delivery.db'}")


def test_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    open_store(url).close()
    open_store(url).close()
    found = inspect(create_engine(url))
    for table in Base.metadata.sorted_tables:
        assert {column["name"] for column in found.get_columns(table.name)} == {column.name for column in table.columns}


def test_a_delivery_and_its_stages(store: Store) -> None:
    repository = store.add_client("acme", "finance")
    delivery = repository.start_delivery({"client": "acme"})
    repository.set_stage(delivery.id, "train", state="running", key="k1")
    repository.set_progress(delivery.id, "train", Progress(3, 10, "steps", "loss 1.2"))
    stage = repository.stage(delivery.id, "train")
    assert stage is not None
    assert (stage.done, stage.total, stage.note) == (3, 10, "loss 1.2")
    repository.set_stage(delivery.id, "train", state="done", key="k1", seconds=2.5)
    assert [(s.stage, s.state, s.seconds) for s in repository.stages(delivery.id)] == [("train", "done", 2.5)]
    repository.set_state(delivery.id, "done", decision=Decision(True, (Gate("baseline", True, "is better"),)))
    row = repository.delivery(delivery.id)
    assert row is not None
    assert row.state == "done"
    assert row.decision == {"promote": True, "gates": [{"name": "baseline", "passed": True, "why": "is better"}]}


def test_an_erased_client_is_forgotten_and_the_others_are_not(store: Store) -> None:
    for slug in ("acme", "other"):
        repository = store.add_client(slug, "finance")
        delivery = repository.start_delivery({"client": slug})
        repository.set_stage(delivery.id, "train", state="done", key="k")
        repository.record_dataset(DataReport(1, "chat-jsonl", "f" * 64, {}, (Check("pii", "ok", 0, "none"),)))
        repository.record_report(delivery.id, folder=Path("r"), sha256="0" * 64)
    store.client("acme").erase()
    assert store.client("acme").deliveries() == []
    assert store.client("acme").reports() == []
    (kept,) = store.client("other").deliveries()
    assert len(store.client("other").stages(kept.id)) == 1
    assert len(store.client("other").reports()) == 1
    store.client("acme").erase()


def test_clients_do_not_see_each_other(store: Store) -> None:
    acme, other = store.add_client("acme", "finance"), store.add_client("other", "games")
    delivery = acme.start_delivery({"client": "acme"})
    acme.set_stage(delivery.id, "train", state="running", key="k")
    assert other.delivery(delivery.id) is None
    assert list(other.deliveries()) == []
    assert list(other.stages(delivery.id)) == []
    other.set_state(delivery.id, "failed", error="not mine")
    other.close_stale()
    row = acme.delivery(delivery.id)
    assert row is not None
    assert row.state == "running"
    assert store.client_of(delivery.id) == "acme"
    assert store.client_of("nothing") is None


def test_stale_deliveries_are_closed_but_the_one_that_goes_on(store: Store) -> None:
    repository = store.add_client("acme", "finance")
    first, second = repository.start_delivery({}), repository.start_delivery({})
    repository.close_stale(keep=second.id)
    states = {row.id: row.state for row in repository.deliveries()}
    assert states == {first.id: "interrupted", second.id: "running"}


def test_a_state_of_the_data_is_entered_once(store: Store) -> None:
    repository = store.add_client("acme", "finance")
    report = DataReport(3, "chat-jsonl", "f" * 64, {"train": 3}, (Check("schema", "ok", 0, "fine"),))
    repository.record_dataset(report)
    repository.record_dataset(report)


def test_a_database_that_cannot_be_used_is_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        open_store("sqlite:////proc/nowhere/delivery.db")
    assert "\n" not in str(caught.value)


def test_looks_at_a_champion_are_counted_once_per_test(store: Store) -> None:
    repository = store.add_client("acme", "finance")

    def look(champion: str, test: str) -> int:
        delivery = repository.start_delivery({})
        number = repository.record_look(delivery.id, champion_sha256=champion * 64, test_sha256=test * 64)
        assert repository.look(delivery.id) == number
        assert repository.record_look(delivery.id, champion_sha256="f" * 64, test_sha256="f" * 64) == number
        return number

    assert [look("a", "1"), look("a", "2"), look("a", "2"), look("a", "1"), look("a", "3")] == [1, 2, 2, 1, 3]
    assert [look("b", "1"), look("b", "4")] == [1, 2]
    assert look("a", "5") == 4
    other = store.add_client("other", "games")
    delivery = other.start_delivery({})
    assert other.look(delivery.id) is None
    assert other.record_look(delivery.id, champion_sha256="a" * 64, test_sha256="9" * 64) == 1
