"""What to label next, and labels that come back, as the commands do it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from delivery.client_config import load_client
from delivery.errors import ClientDataError, ConfigError
from delivery.settings import Workspace
from flows import labeling, steps
from flows.line import Line
from flows.results import Rounds
from tests.e2e.processes import make_client

SUBJECTS = [
    "my invoice of March",
    "a refund for two",
    "the fee on my card",
    "a parcel from Lyon",
    "the courier at noon",
    "a box",
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    make_client(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "clients" / "acme"
    rows = [
        {"id": f"p{n}", "text": f"Tell me {n} things about {subject}, jo{n}@example.com"} for n, subject in enumerate(SUBJECTS)
    ]
    (folder / "data" / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = yaml.safe_load((folder / "client.yaml").read_text())
    document["data"]["pool"] = "data/pool.jsonl"
    (folder / "client.yaml").write_text(yaml.safe_dump(document))
    return Workspace(tmp_path)


def filled(path: Path, *, labels: dict[str, list[tuple[str, str]]]) -> Path:
    """The CSV of a queue as labelers send it back: {id: [(labeler, label), ...]}."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    back = path.with_name("back.csv")
    with back.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            for labeler, label in labels.get(row["id"], [("ann", "")]):
                writer.writerow({**row, "labeler": labeler, "label": label})
    return back


def test_from_the_pool_to_the_next_round(workspace: Workspace, tmp_path: Path) -> None:
    chosen = labeling.queue("acme", tmp_path / "next.csv", size=4)
    assert (len(chosen.queue.rows), chosen.queue.pool, chosen.evaluated) == (4, 6, None)
    assert chosen.csv.is_file()
    assert "@example.com" not in chosen.csv.read_text() + chosen.jsonl.read_text()
    ids = [one.row.id for one in chosen.queue.rows]
    labels = {
        ids[0]: [("ann", "billing"), ("bob", "billing")],
        ids[1]: [("ann", "delivery"), ("bob", "billing")],
        ids[2]: [("ann", "delivery")],
    }
    added = labeling.add("acme", str(filled(chosen.csv, labels=labels)))
    assert added.agreed is not None
    assert (added.round, added.rows, added.agreed.pending, len(added.agreed.unsettled)) == (1, 2, 1, 1)
    assert added.disagreements is not None
    assert ids[1] in added.disagreements.read_text()
    config = load_client(workspace.clients, "acme")
    assert config.data_paths()[-1] == str(added.path)
    line = Line(workspace, config)
    rows = {e.id: e for e in line.rows(steps.load_data.on(line)).dataset.examples}
    assert (rows[ids[0]].answer, rows[ids[0]].metadata["round"]) == ("billing", "1")
    assert {ids[0], ids[2]} <= {e.id for e in line.rows(steps.load_data.on(line)).splits.train}
    assert rows[ids[0]].messages[0].content == config.use_case.system_prompt
    assert "[EMAIL_" in rows[ids[0]].asked
    assert labeling.add("acme", str(tmp_path / "back.csv")).path == added.path


def test_a_wrong_label_adds_nothing(workspace: Workspace, tmp_path: Path) -> None:
    chosen = labeling.queue("acme", tmp_path / "next.csv", size=2)
    ids = [one.row.id for one in chosen.queue.rows]
    back = filled(chosen.csv, labels={ids[0]: [("ann", "billing")], ids[1]: [("ann", "biling")]})
    with pytest.raises(ClientDataError, match=r"back\.csv:3: label: 'biling' is no label .*did you mean 'billing'"):
        labeling.add("acme", str(back))
    with pytest.raises(ClientDataError, match="no row is labeled and settled yet"):
        labeling.add("acme", str(filled(chosen.csv, labels={})))
    folder = workspace.clients / "acme" / "data"
    assert not (folder / "rounds").exists()


def test_further_rows_are_refused_where_their_ids_are_taken(workspace: Workspace, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "invoice-0", "text": "Something else", "label": "billing"}\n')
    with pytest.raises(ClientDataError, match="'invoice-0' is also the id of"):
        labeling.add("acme", str(more))
    more.write_text('{"id": "new-1", "text": "Why is it so late again?", "label": "delivery"}\n')
    assert labeling.add("acme", str(more)).round == 1
    more.write_text('{"id": "new-2", "text": "An unpaid bill lies here", "label": "billing"}\n')
    assert labeling.add("acme", str(more)).round == 2
    assert sorted(path.name for path in (workspace.clients / "acme" / "data" / "rounds").iterdir())[0].startswith("0001-")


def test_what_a_round_bought_is_measured_on_the_same_holdout(workspace: Workspace, tmp_path: Path) -> None:
    line = Line(workspace, load_client(workspace.clients, "acme"))
    data = steps.load_data.on(line)
    assert line.read(Rounds, labeling.measure_rounds.on(line, data)).gains == ()
    more = tmp_path / "more.jsonl"
    rows = [
        {"text": f"My {word} number {n * 7919} is {n}", "label": "billing", "split": "train"} for n, word in enumerate(SUBJECTS)
    ]
    more.write_text("".join(json.dumps(row) + "\n" for row in rows))
    labeling.add("acme", str(more))
    line = Line(workspace, load_client(workspace.clients, "acme"))
    data = steps.load_data.on(line)
    first, second = line.read(Rounds, labeling.measure_rounds.on(line, data)).gains
    assert (first.round, second.round, second.rows - first.rows) == (0, 1, 6)
    assert first.gain is None
    assert second.gain is not None
    assert second.gain.n == len(line.rows(data).splits.test)
    assert second.value.value - first.value.value == pytest.approx(second.gain.difference)


def test_a_client_without_a_pool_is_told_so(workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.clients / "acme" / "client.yaml"
    path.write_text(path.read_text().replace("pool: data/pool.jsonl", "pool: []"))
    with pytest.raises(ConfigError, match=r"data\.pool: names no file"):
        labeling.queue("acme", tmp_path / "next.csv", size=2)
