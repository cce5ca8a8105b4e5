"""How often a champion was challenged, as the store counts it."""

from __future__ import annotations

from dataclasses import replace

from delivery.artifacts import Artifact
from delivery.settings import Workspace
from flows.versions import count_look, look_of
from tests.delivery.evaluation.cases import classification
from tests.flows.conftest import new_line

SUITE = classification(["dovish"] * 4)


def artifact(letter: str) -> Artifact:
    return Artifact("adapter", f"models/{letter}", 1, letter * 64, {"weights": letter * 64})


def test_nights_whose_data_did_not_change_spend_nothing(workspace: Workspace) -> None:
    def night(champion: str, candidate: str, data: str = "same") -> int:
        line = new_line(workspace)
        count_look(line, artifact(champion), artifact(candidate), replace(SUITE, sha256=data))
        return look_of(line)

    assert [night("a", "b"), night("a", "b"), night("a", "c"), night("a", "b")] == [1, 1, 2, 1]
    assert night("a", "b", data="further test rows") == 3
    # A new champion begins anew; the old one, put back, goes on where it was.
    assert [night("c", "d"), night("c", "e"), night("a", "e")] == [1, 2, 4]


def test_a_resumed_delivery_stays_the_look_that_it_was(workspace: Workspace) -> None:
    line = new_line(workspace)
    assert look_of(line) == 1
    count_look(line, artifact("a"), artifact("b"), SUITE)
    count_look(line, artifact("f"), artifact("b"), SUITE)
    other = new_line(workspace)
    count_look(other, artifact("a"), artifact("c"), SUITE)
    assert (look_of(line), look_of(other)) == (1, 2)
