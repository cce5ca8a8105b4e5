"""Where a training run begins, and that nothing which is held out now is known to what it begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from delivery.artifacts import BaseModel, Example, LabeledDataset, Message, describe_folder, sha256_json
from delivery.client_config import SplitRule
from delivery.dataset import split
from delivery.errors import ConfigError
from delivery.registry import InMemoryRegistry
from delivery.settings import Workspace
from flows import beginnings
from flows.beginnings import FORM, STARTED_FROM, adapter_of, beginning_of
from flows.line import Line
from tests.delivery.test_client_config import MINIMAL
from tests.flows.conftest import new_line

BASE = BaseModel("base", "/models/base", "", "b" * 64, "", 1, 512)
RULE = SplitRule()


def row(number: int, text: str = "", **more: object) -> Example:
    words = text or " ".join(str((number + 3) ** (place + 2)) for place in range(12))
    return Example(id=f"r{number}", messages=(Message("user", words),), answer="a", **more)  # type: ignore[arg-type]


def stored(line: Line, rows: list[Example]) -> str:
    data = LabeledDataset(tuple(rows), sha256_json([(one.id, one.asked) for one in rows]), "chat-jsonl")
    version = line.row_store.commit(data, split(data, RULE, decided=line.row_store.decided()))
    line.row_store.decide(version, RULE)
    return f"rows/{version.id}"


class Service:
    """A registry with versions that are put into service."""

    def __init__(self, line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.line, self._folder = line, folder
        self.registry = InMemoryRegistry()
        monkeypatch.setattr(beginnings, "registry_of", lambda _: self.registry)
        monkeypatch.setattr(beginnings, "_was_registered", lambda _: bool(self.registry.versions("acme")))

    def put(self, data: str, **tags: str) -> str:
        """A version made from these rows goes into service; the hash of its adapter."""
        number = len(self.registry.versions("acme")) + 1
        folder = self._folder / str(number)
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(b"weights %d" % number)
        adapter = describe_folder("adapter", folder)
        made = {"data_version": data.removeprefix("rows/"), "base_sha256": BASE.sha256, FORM: "form", **tags}
        self.registry.register("acme", [adapter], shipped=adapter, delivery_id=f"d{number}", tags=made)
        self.registry.promote("acme", number)
        return adapter.sha256


@pytest.fixture
def service(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(new_line(workspace), tmp_path / "models", monkeypatch)


ROWS = [row(n) for n in range(60)]


def why(service: Service, data: str) -> str:
    found = beginning_of(service.line, data, BASE)
    assert found.adapter is None
    return found.why


def test_where_rows_were_only_added_training_goes_on_from_the_version_in_service(service: Service) -> None:
    first = stored(service.line, ROWS)
    assert "no version is in service" in why(service, first)
    adapter = service.put(first)
    found = beginning_of(service.line, stored(service.line, [*ROWS, row(60), row(61)]), BASE)
    assert found.adapter is not None
    assert (found.adapter.sha256, found.form) == (adapter, "form")
    assert "version 1 in service: all rows that it learned are training rows now" in found.why


def test_a_champion_that_learned_what_is_held_out_now_is_not_used(service: Service) -> None:
    first = stored(service.line, ROWS)
    service.put(first)
    splits = service.line.rows(first).splits
    # Rows arrive that lead in small steps from a training row to a test row: the training row is left out from now on.
    learned, held = splits.train[0], splits.test[0]
    one_end, other_end = (end.messages[0].content.split() for end in (learned, held))
    between = [row(100 + n, " ".join([*other_end[:n], *one_end[n:]])) for n in range(1, 12)]
    grown = stored(service.line, [*ROWS, *between])
    assert learned.id in service.line.rows(grown).splits.left_out
    assert "learned 1 rows that are not training rows now" in why(service, grown)
    # Sides are remembered: a training row that the client now calls a test row stays one, so nothing moves.
    moved = stored(service.line, [replace(one, split="test") if one.id == learned.id else one for one in ROWS])
    assert learned.id in {one.id for one in service.line.rows(moved).splits.train}


def test_a_row_that_was_taken_back_is_not_known_to_the_next_model(service: Service) -> None:
    first = stored(service.line, ROWS)
    service.put(first)
    gone = service.line.rows(first).splits.train[0].id
    assert "learned 1 rows" in why(service, stored(service.line, [one for one in ROWS if one.id != gone]))


def test_the_same_rows_begin_where_the_version_made_from_them_began(service: Service) -> None:
    first = stored(service.line, ROWS)
    adapter = service.put(first)
    assert "made from these very rows, began with one" in why(service, first)
    second = stored(service.line, [*ROWS, row(60)])
    service.put(second, **{STARTED_FROM: adapter})
    found = beginning_of(service.line, second, BASE)
    assert found.adapter is not None
    assert found.adapter.sha256 == adapter
    with pytest.raises(ConfigError, match=r"no longer registered; set training\.warm_start: never"):
        adapter_of(service.line, "f" * 64)


def test_another_base_unknown_rows_or_an_old_version_begin_anew(service: Service) -> None:
    first = stored(service.line, ROWS)
    more = stored(service.line, [*ROWS, row(60)])
    service.put(first, base_sha256="c" * 64)
    assert "has another base model" in why(service, more)
    service.put("rows/0123456789abcdef")
    assert "rows that are no longer known" in why(service, more)
    service.put(first)
    service.registry._versions["acme"][-1].tags.pop(FORM)
    assert "does not say how its adapter was made" in why(service, more)


@pytest.mark.parametrize(
    ("training", "said"), [({"warm_start": "never"}, "as client.yaml asks"), ({"sweep": {"rank": [8, 16]}}, "begin alike")]
)
def test_a_fresh_adapter_where_it_is_asked_for(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, object], said: str
) -> None:
    path = workspace.clients / "acme" / "client.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, "training": training}))
    service = Service(new_line(workspace), tmp_path / "models", monkeypatch)
    first = stored(service.line, ROWS)
    service.put(first)
    assert said in why(service, stored(service.line, [*ROWS, row(60)]))
