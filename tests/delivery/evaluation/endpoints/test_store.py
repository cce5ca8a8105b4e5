from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery.artifacts import Answer
from delivery.errors import ConfigError, EvalIncompleteError
from delivery.evaluation import FakeEndpoint, Request, collect
from delivery.evaluation.endpoints.store import AnswerStore, read_answers
from delivery.settings import get_settings
from tests.delivery.evaluation.endpoints.test_collect import requests, script


def test_a_file_has_one_writer_and_can_be_read_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerStore(path) as store:
        store.put("a", Answer("s", "yes", prompt_tokens=3))
        assert read_answers(path)["a"].answer == Answer("s", "yes", prompt_tokens=3)
        with path.open("ab") as torn:
            torn.write(b'{"key": "b", "at"')
        assert set(read_answers(path)) == {"a"}
        with pytest.raises(ConfigError, match="another process is writing"), AnswerStore(path):
            pass
        assert path.read_bytes().endswith(b'"at"'), "a reader cuts nothing off"
    with AnswerStore(path) as store:
        assert store.get("a") == Answer("s", "yes", prompt_tokens=3)
        assert path.read_bytes().endswith(b"}\n")


def test_it_says_when_an_answer_came_and_keeps_no_error(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "a") as store:
        store.put("a", Answer("s", "yes"))
        store.put("b", Answer("t", None, error="HTTP 500"))
    (line,) = (tmp_path / "a").read_text().splitlines()
    assert json.loads(line)["at"][:4].isdigit()
    assert set(read_answers(tmp_path / "a")) == {"a"}
    assert read_answers(tmp_path / "nowhere") == {}


def test_repeats_of_a_prompt_are_asked_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (request,) = requests(1)
    endpoint = FakeEndpoint(script(1))
    for repeat in (0, 1, 2, 1):
        collect(endpoint, [Request(request.sample_id, request.messages, repeat=repeat)], path=path, max_new_tokens=9)
    assert [asked.repeat for asked in endpoint.asked] == [0, 1, 2]
    assert len(read_answers(path)) == 3


def test_answers_to_what_was_not_asked_are_no_answers(tmp_path: Path) -> None:
    class Confused(FakeEndpoint):
        def answer(self, requests, *, max_new_tokens, on_answer):  # type: ignore[no-untyped-def]
            on_answer(Answer("somebody", "else"))
            on_answer(Answer("r-0", None))
            on_answer(Answer("r-0", "too late"))

    (answer,) = collect(Confused({}), requests(1), path=tmp_path / "a", max_new_tokens=9)
    assert (answer.output, answer.error) == (None, "the endpoint gave no answer")
    assert read_answers(tmp_path / "a") == {}


@pytest.mark.parametrize("by", ["parameter", "variable"])
def test_offline_only_the_store_answers_and_what_is_missing_is_said(
    tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, offline = tmp_path / "a", True if by == "parameter" else None
    collect(FakeEndpoint(script(3)), requests(3), path=path, max_new_tokens=9)
    if by == "variable":
        monkeypatch.setenv("DELIVERY_OFFLINE", "1")
        get_settings.cache_clear()
    nobody = FakeEndpoint(script(9))
    assert len(collect(nobody, requests(3), path=path, max_new_tokens=9, offline=offline)) == 3
    with pytest.raises(
        EvalIncompleteError, match=r"offline: 6 of 9 answers are missing \(ids r-3, r-4, r-5, \.\.\.\)"
    ) as raised:
        collect(nobody, requests(9), path=path, max_new_tokens=9, offline=offline)
    assert "\n" not in str(raised.value)
    assert nobody.asked == []
