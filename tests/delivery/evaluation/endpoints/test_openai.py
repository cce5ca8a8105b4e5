from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as HttpRequest
from werkzeug import Response

from delivery.artifacts import Answer, Message
from delivery.errors import ConfigError, RetryableError
from delivery.evaluation import Request
from delivery.evaluation.endpoints.openai import Calls, OpenAIEndpoint

PATH = "/v1/chat/completions"
ASKED = [Request(f"r-{i}", (Message("system", "s"), Message("user", f"q{i}"))) for i in range(6)]


def completion(text: str | None, **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **choice.pop("message", {})}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


def ask(server: HTTPServer, n: int = 1, *, base: str = "/v1", **options: Any) -> list[Answer]:
    given: list[Answer] = []
    calls = Calls(**{"first_wait_seconds": 0.01, **options})
    endpoint = OpenAIEndpoint(server.url_for(base), model="m", api_key="sk-secret", calls=calls)
    endpoint.answer(ASKED[:n], max_new_tokens=17, on_answer=given.append)
    return sorted(given, key=lambda a: a.sample_id)


def test_what_is_sent_and_what_comes_back(httpserver: HTTPServer) -> None:
    httpserver.expect_request(
        PATH,
        method="POST",
        json={
            "model": "m",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q0"}],
            "temperature": 0,
            "max_completion_tokens": 17,
        },
        headers={"Authorization": "Bearer sk-secret"},
    ).respond_with_json(completion("yes"))
    (answer,) = ask(httpserver)
    assert (answer.output, answer.error, answer.prompt_tokens, answer.completion_tokens) == ("yes", None, 5, 2)
    assert answer.seconds is not None
    assert answer.seconds > 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_after_the_time_it_names(httpserver: HTTPServer, status: int) -> None:
    headers = {"Retry-After": "1"} if status == 429 else {"retry-after-ms": "10"}
    # A place of its own: a request that another test gave up may still arrive at the usual one.
    place = f"/busy-{status}"
    httpserver.expect_oneshot_request(place + PATH).respond_with_data("busy", status=status, headers=headers)
    httpserver.expect_oneshot_request(place + PATH).respond_with_json(completion("yes"))
    started = time.monotonic()
    assert ask(httpserver, base=place + "/v1")[0].output == "yes"
    assert time.monotonic() - started >= (1 if status == 429 else 0)


def test_what_still_fails_is_an_error_and_the_rest_goes_on(httpserver: HTTPServer) -> None:
    def reply(request: HttpRequest) -> Response:
        if "q1" in request.get_data(as_text=True):
            return Response(json.dumps({"error": {"message": "overloaded\nsecond line"}}), 500, {"retry-after-ms": "5"})
        return Response(json.dumps(completion("yes")), content_type="application/json")

    httpserver.expect_request(PATH).respond_with_handler(reply)
    given = ask(httpserver, 3, retries=2)
    assert [a.output for a in given] == ["yes", None, "yes"]
    assert given[1].error == "HTTP 500: overloaded"
    assert sum("q1" in request.get_data(as_text=True) for request, _ in httpserver.log) == 3


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<html>gateway</html>", "the response holds no completion"),
        ("", "the response holds no completion"),
        ("{}", "the response holds no completion"),
        ('{"choices": []}', "the response holds no completion"),
        ('{"choices": [{"index": 0}]}', "the response holds no completion"),
        (json.dumps(completion("ye", finish_reason="content_filter")), "stopped by the provider's content filter"),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_no_other_response_is_taken_for_an_answer(httpserver: HTTPServer, body: str, error: str, kind: str) -> None:
    httpserver.expect_request(PATH).respond_with_data(body, content_type=kind)
    (answer,) = ask(httpserver, retries=0)
    assert answer.output is None
    assert answer.error
    if kind == "application/json" and body.startswith("{"):
        assert answer.error == error


@pytest.mark.parametrize(("text", "message", "said"), [("", {}, ""), (None, {"refusal": "No."}, "No."), (None, {}, "")])
def test_saying_nothing_and_refusing_are_answers(httpserver: HTTPServer, text: str, message: dict[str, str], said: str) -> None:
    httpserver.expect_request(PATH).respond_with_json(completion(text, message=message))
    assert ask(httpserver)[0].output == said


@pytest.mark.parametrize(("status", "remedy"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "the model's name")])
def test_what_no_request_survives_ends_the_call_and_shows_no_key(httpserver: HTTPServer, status: int, remedy: str) -> None:
    said = {"error": {"message": "Incorrect API key provided: sk-secret" if status == 401 else "no such model"}}
    httpserver.expect_request(PATH).respond_with_json(said, status=status)
    with pytest.raises(ConfigError, match=remedy) as raised:
        ask(httpserver, 6)
    assert "sk-secret" not in str(raised.value)


def test_a_prompt_that_is_too_long_is_an_error_of_its_sample(httpserver: HTTPServer) -> None:
    httpserver.expect_request(PATH).respond_with_json({"error": {"message": "context length is 8"}}, status=400)
    assert [a.error for a in ask(httpserver, 2)] == ["HTTP 400: context length is 8"] * 2


def test_a_server_that_hangs_is_an_error_in_time(httpserver: HTTPServer) -> None:
    release = threading.Event()
    httpserver.expect_request(PATH).respond_with_handler(lambda _: Response(str(release.wait(5))))
    started = time.monotonic()
    given = ask(httpserver, 1, retries=0, timeout_seconds=0.2)
    release.set()
    assert given[0].error == "no answer in time"
    assert time.monotonic() - started < 3


def test_a_server_that_is_not_there_is_said_to_be_down(httpserver: HTTPServer) -> None:
    endpoint = OpenAIEndpoint("http://127.0.0.1:9/v1", model="m", calls=Calls(concurrency=2, retries=0))
    given: list[Answer] = []
    with pytest.raises(RetryableError, match="4 requests in a row could not connect"):
        endpoint.answer(ASKED, max_new_tokens=1, on_answer=given.append)
    assert {a.error for a in given} == {"the connection failed"}


def test_no_more_than_so_many_requests_at_once() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def reply(_: HttpRequest) -> Response:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.1)
        with lock:
            now -= 1
        return Response(json.dumps(completion("yes")), content_type="application/json")

    with HTTPServer(threaded=True) as server:
        server.expect_request(PATH).respond_with_handler(reply)
        assert len(ask(server, 6, concurrency=3)) == 6
    assert most == 3


def test_a_proxy_is_not_asked_for_this_machine(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    httpserver.expect_request(PATH).respond_with_json(completion("yes"))
    assert ask(httpserver, retries=0)[0].output == "yes"


def test_an_error_while_keeping_an_answer_reaches_the_caller(httpserver: HTTPServer) -> None:
    def full(_: Answer) -> None:
        raise OSError(28, "No space left on device")

    httpserver.expect_request(PATH).respond_with_json(completion("yes"))
    with pytest.raises(OSError, match="No space left"):
        OpenAIEndpoint(httpserver.url_for("/v1"), model="m").answer(ASKED, max_new_tokens=1, on_answer=full)


def test_ctrl_c_stops_at_once(httpserver: HTTPServer) -> None:
    arrived, release = threading.Event(), threading.Event()

    def hang(_: HttpRequest) -> Response:
        arrived.set()
        release.wait(20)
        return Response("")

    httpserver.expect_request(PATH).respond_with_handler(hang)
    # What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from delivery.artifacts import Message\n"
        "from delivery.evaluation import Request, http_endpoint\n"
        f"endpoint = http_endpoint({httpserver.url_for('/v1')!r}, model='m')\n"
        "asked = [Request(str(i), (Message('user', 'q'),)) for i in range(20)]\n"
        "endpoint.answer(asked, max_new_tokens=1, on_answer=lambda a: None)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env=dict(os.environ))
    try:
        assert arrived.wait(60)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=10)
    finally:
        release.set()
        child.kill()
    assert b"KeyboardInterrupt" in stderr
