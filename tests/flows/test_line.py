"""The stage mechanism: what is run again, what is not, and what a kill leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery.artifacts import Check, OnProgress, Progress
from delivery.client_config import load_client
from delivery.errors import ConfigError
from delivery.settings import Workspace
from flows.line import Line, config_as_stored, config_from
from tests.flows.conftest import new_line


class Work:
    """Counts its runs, writes a file, and fails on demand."""

    def __init__(self, *, fail: bool = False) -> None:
        self.runs = 0
        self.fail = fail

    def __call__(self, folder: Path, on_progress: OnProgress) -> Check:
        self.runs += 1
        on_progress(Progress(1, 2, "things"))
        (folder / "half.txt").write_text("half")
        if self.fail:
            raise ConfigError("the disk is full")
        return Check("a", "ok", self.runs, "")


def test_a_configuration_survives_the_store(workspace: Workspace) -> None:
    config = load_client(workspace.clients, "acme")
    assert config_from(config_as_stored(config), workspace) == config


def test_unchanged_inputs_are_not_run_again_even_by_another_delivery(workspace: Workspace) -> None:
    work = Work()
    first, second = new_line(workspace), new_line(workspace)
    reference = first.stage("train", {"a": 1}, work)
    assert second.stage("train", {"a": 1}, work) == reference
    assert second.read(Check, reference).count == 1
    assert work.runs == 1
    assert [s.state for s in second.delivery.repository.stages(second.delivery.delivery_id)] == ["reused"]


def test_changed_inputs_are_run(workspace: Workspace) -> None:
    work, line = Work(), new_line(workspace)
    line.stage("train", {"a": 1}, work)
    new_line(workspace).stage("train", {"a": 2}, work)
    assert work.runs == 2


def test_a_failed_stage_keeps_its_folder_and_runs_again(workspace: Workspace) -> None:
    line, work = new_line(workspace), Work(fail=True)
    with pytest.raises(ConfigError, match="disk is full"):
        line.stage("train", {"a": 1}, work)
    (stage,) = line.delivery.repository.stages(line.delivery.delivery_id)
    assert stage.state == "failed"
    work.fail = False
    again = Line.of_delivery(line.delivery.delivery_id, workspace)
    reference = again.stage("train", {"a": 1}, work)
    assert (again.folder(reference) / "half.txt").is_file()
    assert again.read(Check, reference).count == 2


def test_a_resumed_delivery_keeps_what_it_finished_though_the_inputs_changed(workspace: Workspace) -> None:
    work, line = Work(), new_line(workspace)
    reference = line.stage("load_data", {"files": ["old"]}, work)
    again = Line.of_delivery(line.delivery.delivery_id, workspace)
    assert again.stage("load_data", {"files": ["new"]}, work) == reference
    assert work.runs == 1


def test_a_result_that_is_gone_is_made_again(workspace: Workspace) -> None:
    work, line = Work(), new_line(workspace)
    reference = line.stage("train", {"a": 1}, work)
    (line.folder(reference) / "output.json").unlink()
    assert line.stage("train", {"a": 1}, work) == reference
    assert work.runs == 2


def test_what_lies_outside_the_workspace_is_always_looked_at(workspace: Workspace) -> None:
    work, line = Work(), new_line(workspace)
    line.stage("fetch_base_model", {}, work, always=True)
    line.stage("fetch_base_model", {}, work, always=True)
    assert work.runs == 2


def test_progress_reaches_the_store(workspace: Workspace) -> None:
    line = new_line(workspace)
    line.stage("train", {}, Work())
    (stage,) = line.delivery.repository.stages(line.delivery.delivery_id)
    assert (stage.done, stage.total, stage.unit) == (1, 2, "things")


def test_an_unknown_delivery_is_one_line(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="there is no delivery"):
        Line.of_delivery("20260101-000000-abcd", workspace)
