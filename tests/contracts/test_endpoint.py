"""What every ``Endpoint`` keeps to, on each implementation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as HttpRequest
from werkzeug import Response

from delivery.artifacts import Answer, BaseModel, Message
from delivery.errors import EvalIncompleteError
from delivery.evaluation import Endpoint, FakeEndpoint, Request, collect, http_endpoint, local_endpoint

ASKED = [
    Request(f"r-{i}", (Message("system", "Answer in one word."), Message("user", f"What is the capital of {land}?")))
    for i, land in enumerate(("France", "Italy", "the very large and old country of China", "Japan", "Spain"))
]


def _fake() -> Endpoint:
    return FakeEndpoint({r.sample_id: "A word that is repeated " * 10 for r in ASKED})


def _http(httpserver: HTTPServer) -> Endpoint:
    def reply(request: HttpRequest) -> Response:
        asked: dict[str, Any] = json.loads(request.get_data())
        said = f"About {asked['messages'][-1]['content']}".split()[: asked["max_completion_tokens"]]
        document = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": " ".join(said)}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": len(said), "total_tokens": 9 + len(said)},
        }
        return Response(json.dumps(document), content_type="application/json")

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(reply)
    return http_endpoint(httpserver.url_for("/v1"), model="served", concurrency=3)


@pytest.fixture(autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Waiting for each other's threads makes tests that share a machine many times slower."""
    if "local" not in request.node.name:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["fake", "http", pytest.param("local", marks=pytest.mark.slow)])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    makers: dict[str, Callable[[], Endpoint]] = {
        "fake": _fake,
        "http": lambda: _http(request.getfixturevalue("httpserver")),
        "local": lambda: local_endpoint(_shallow(request)),
    }
    return makers[request.param]()


def _shallow(request: pytest.FixtureRequest) -> BaseModel:
    base = request.getfixturevalue("shallow")
    assert isinstance(base, BaseModel)
    return base


def _ask(endpoint: Endpoint, length: int = 6) -> dict[str, Answer]:
    given: list[Answer] = []
    endpoint.answer(ASKED, max_new_tokens=length, on_answer=given.append)
    assert len(given) == len(ASKED)
    return {a.sample_id: a for a in given}


def test_every_request_is_answered_once_with_its_usage(endpoint: Endpoint) -> None:
    given = _ask(endpoint)
    assert set(given) == {r.sample_id for r in ASKED}
    for answer in given.values():
        assert answer.error is None
        assert isinstance(answer.output, str)
        assert answer.prompt_tokens is not None
        assert answer.prompt_tokens > 0
        assert answer.completion_tokens is not None
        assert 0 < answer.completion_tokens <= 6
        assert answer.seconds is not None
        assert answer.seconds >= 0


def test_answers_are_greedy_and_so_the_same_again(endpoint: Endpoint) -> None:
    assert {i: a.output for i, a in _ask(endpoint).items()} == {i: a.output for i, a in _ask(endpoint).items()}


def test_fewer_tokens_give_the_beginning_of_the_same_answer(endpoint: Endpoint) -> None:
    short, long = _ask(endpoint, 2), _ask(endpoint, 6)
    for name, answer in short.items():
        assert (long[name].output or "").startswith(answer.output or "?")


def test_nothing_asked_is_nothing_done(endpoint: Endpoint) -> None:
    endpoint.answer([], max_new_tokens=4, on_answer=lambda answer: pytest.fail(str(answer)))


def test_it_can_be_collected_and_resumed(endpoint: Endpoint, tmp_path: Path) -> None:
    first = collect(endpoint, ASKED, path=tmp_path / "answers.jsonl", max_new_tokens=4)
    nobody = FakeEndpoint({}, name=endpoint.name)
    assert collect(nobody, ASKED, path=tmp_path / "answers.jsonl", max_new_tokens=4) == first
    assert nobody.asked == []


def test_each_repeat_is_asked_for_itself_and_offline_it_is_only_looked_up(endpoint: Endpoint, tmp_path: Path) -> None:
    path, again = tmp_path / "answers.jsonl", [replace(request, repeat=1) for request in ASKED[:2]]
    collect(endpoint, ASKED[:2], path=path, max_new_tokens=4)
    with pytest.raises(EvalIncompleteError, match="2 of 2 answers are missing"):
        collect(endpoint, again, path=path, max_new_tokens=4, offline=True)
    repeated = collect(endpoint, again, path=path, max_new_tokens=4)
    assert [a.error for a in repeated] == [None, None]
    assert len(path.read_bytes().splitlines()) == 4
    assert collect(endpoint, again, path=path, max_new_tokens=4, offline=True) == repeated
