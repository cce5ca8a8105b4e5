from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from delivery.artifacts import Message, Progress
from delivery.errors import RetryableError
from delivery.serving import RunningServer, measure_load
from delivery.serving.load import _percentiles


@pytest.fixture
def httpserver() -> Iterator[HTTPServer]:
    """One that answers several requests at once."""
    with HTTPServer(threaded=True) as server:
        yield server


PROMPTS = [(Message("system", "s"), Message("user", str(n))) for n in range(10)]
ENDPOINT = "/v1/chat/completions"


def _chunk(**fields: object) -> str:
    common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    return f"data: {json.dumps({**common, **fields})}\n\n"


def _delta(**delta: object) -> str:
    return _chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])


USAGE = _chunk(usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})


def _server(httpserver: HTTPServer) -> RunningServer:
    return RunningServer(httpserver.url_for("/v1"), model="m", format="gguf-q8_0", slots=2, pid=0)


def test_it_counts_tokens_and_times_the_first_piece_of_text(httpserver: HTTPServer) -> None:
    bodies: list[dict[str, object]] = []

    def answer(request: Request) -> Response:
        bodies.append(request.get_json())

        def stream() -> Iterator[str]:
            yield _delta(role="assistant", content="")
            time.sleep(0.03)
            yield _delta(content="yes")
            time.sleep(0.03)
            yield _delta(content=".") + USAGE + "data: [DONE]\n\n"

        return Response(stream(), content_type="text/event-stream")

    httpserver.expect_request(ENDPOINT).respond_with_handler(answer)
    seen: list[Progress] = []
    latency = measure_load(_server(httpserver), PROMPTS, concurrency=1, max_new_tokens=5, on_progress=seen.append)
    assert latency.requests == 10
    assert 30 <= latency.ttft_ms["p50"] < latency.e2e_ms["p50"] - 25
    seconds = 10 / latency.requests_per_second
    assert seconds >= 0.6
    assert latency.output_tokens_per_second == pytest.approx(30 / seconds)
    assert latency.tokens_per_second == pytest.approx(100 / seconds)
    assert [p.done for p in seen if p.total == 10] == list(range(1, 11))
    # One request went first, with another question, and was not counted.
    assert len(bodies) == 11
    assert bodies[0]["messages"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "Warm-up."}]
    assert {(b["temperature"], b["max_tokens"], b["stream"]) for b in bodies} == {(0, 5, True)}
    assert bodies[1]["messages"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "0"}]


def test_as_many_requests_as_asked_for_are_under_way(httpserver: HTTPServer) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def answer(_: Request) -> Response:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return Response(_delta(content="a") + USAGE + "data: [DONE]\n\n", content_type="text/event-stream")

    httpserver.expect_request(ENDPOINT).respond_with_handler(answer)
    latency = measure_load(_server(httpserver), PROMPTS, concurrency=3, max_new_tokens=5)
    assert most[0] == 3
    assert latency.requests == 10


@pytest.mark.parametrize("bad", ["status", "broken", "usage", "torn"])
def test_one_failed_request_of_ten_makes_no_figure(bad: str, httpserver: HTTPServer) -> None:
    count = [0]

    def answer(_: Request) -> Response:
        count[0] += 1
        if count[0] != 6:
            return Response(_delta(content="a") + USAGE + "data: [DONE]\n\n", content_type="text/event-stream")
        if bad == "status":
            return Response("busy", status=503)
        if bad == "broken":
            return Response('data: {"error": {"message": "out of memory"}}\n\n', content_type="text/event-stream")
        if bad == "torn":
            return Response(_delta(content="a"), headers={"Content-Length": "5000"}, content_type="text/event-stream")
        return Response(_delta(content="a") + "data: [DONE]\n\n", content_type="text/event-stream")

    httpserver.expect_request(ENDPOINT).respond_with_handler(answer)
    with pytest.raises(RetryableError) as caught:
        measure_load(_server(httpserver), PROMPTS, concurrency=2, max_new_tokens=5)
    assert "\n" not in str(caught.value)
    assert "measure again" in str(caught.value)


def test_a_server_that_is_not_there_can_be_tried_again() -> None:
    nowhere = RunningServer("http://127.0.0.1:9/v1", model="m", format="gguf-q8_0", slots=1, pid=0)
    with pytest.raises(RetryableError):
        measure_load(nowhere, PROMPTS, concurrency=2, max_new_tokens=5)


@pytest.mark.parametrize(("count", "concurrency"), [(0, 1), (3, 0)])
def test_a_load_of_nothing_is_a_mistake(count: int, concurrency: int, httpserver: HTTPServer) -> None:
    with pytest.raises(ValueError, match="needs prompts"):
        measure_load(_server(httpserver), PROMPTS[:count], concurrency=concurrency, max_new_tokens=5)


def test_percentiles_are_by_nearest_rank() -> None:
    assert _percentiles([0.005]) == {"p50": 5.0, "p95": 5.0, "p99": 5.0}
    assert _percentiles([n / 1000 for n in range(100, 0, -1)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert _percentiles([0.004, 0.001, 0.002, 0.003]) == {"p50": 2.0, "p95": 4.0, "p99": 4.0}
