"""Rows from elsewhere: every fsspec URL, and stores that refuse, break off or say nothing."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from delivery.dataset import load, read, source_sha256
from delivery.dataset.reading import stores
from delivery.errors import ClientDataError, DeliveryError, RetryableError

ROWS = b"".join(orjson.dumps({"text": f"Text {n}", "label": "claim"}) + b"\n" for n in range(5000))

pytestmark = pytest.mark.timeout(60)


@contextmanager
def server_that(answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """An HTTP server as it should not be: ``answers`` has the connection for itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    answers(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://user:secret@127.0.0.1:{listening.getsockname()[1]}/rows.jsonl?signature=secret"
        listening.shutdown(socket.SHUT_RDWR)


def said_of(url: str, kind: type[DeliveryError]) -> str:
    """What reading and hashing say, which is the same."""
    said = []
    for use in (lambda: read([url]), lambda: source_sha256(url)):
        with pytest.raises(kind) as caught:
            use()
        assert type(caught.value) is kind
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "secret" not in said[0]
    assert said[0].isprintable()
    assert ";" in said[0]
    return said[0]


@pytest.mark.parametrize("packed", [False, True])
def test_rows_over_http(httpserver: HTTPServer, packed: bool) -> None:
    content = gzip.compress(ROWS) if packed else ROWS
    httpserver.expect_request("/rows.jsonl").respond_with_data(content)
    url = httpserver.url_for("/rows.jsonl?signature=secret")
    examples = load([url]).examples
    assert len(examples) == 5000
    assert (examples[-1].source, examples[-1].line) == (url.partition("?")[0], 5000)


def test_rows_over_http_of_unknown_length(httpserver: HTTPServer) -> None:
    def in_pieces(request: Request) -> Response:
        return Response((ROWS[at : at + 7777] for at in range(0, len(ROWS), 7777)), mimetype="text/plain")

    httpserver.expect_request("/rows.jsonl").respond_with_handler(in_pieces)
    assert len(load([httpserver.url_for("/rows.jsonl")]).examples) == 5000


def test_rows_from_a_signed_url_that_answers_get_alone(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/rows.jsonl", method="GET").respond_with_data(ROWS)
    httpserver.expect_request("/rows.jsonl", method="HEAD").respond_with_data(status=403)
    assert len(load([httpserver.url_for("/rows.jsonl")]).examples) == 5000


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (404, ClientDataError, "there is no such file (HTTP 404); check data.path"),
        (410, ClientDataError, "there is no such file (HTTP 410)"),
        (401, ClientDataError, "the store refuses access (HTTP 401); renew the link"),
        (403, ClientDataError, "the store refuses access (HTTP 403)"),
        (418, ClientDataError, "cannot be read (HTTP 418)"),
        (429, RetryableError, "the store could not answer (HTTP 429); try again"),
        (500, RetryableError, "the store could not answer (HTTP 500)"),
        (503, RetryableError, "the store could not answer (HTTP 503)"),
    ],
)
def test_a_store_that_refuses(httpserver: HTTPServer, status: int, kind: type[DeliveryError], says: str) -> None:
    httpserver.expect_request("/rows.jsonl").respond_with_data("no", status=status)
    url = httpserver.url_for("/rows.jsonl")
    assert said_of(f"{url}?signature=secret", kind).startswith(f"{url}: {says}")


@pytest.mark.parametrize(
    "head", [b"Content-Length: %d\r\n" % len(ROWS), b"Transfer-Encoding: chunked\r\n"], ids=["length", "chunks"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_half_an_answer_is_no_data(head: bytes, packed: bool) -> None:
    def answers(connection: socket.socket) -> None:
        body = (gzip.compress(ROWS, 0) if packed else ROWS)[: len(ROWS) // 2]
        if b"chunked" in head:
            body = b"%x\r\n%s\r\n" % (len(body), body)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)

    with server_that(answers) as url:
        said = said_of(url, RetryableError)
        assert "/rows.jsonl: the store did not answer, or broke off" in said


def test_a_store_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "SILENT_SECONDS", 0.2)
    with server_that(lambda connection: time.sleep(1.0)) as url:
        started = time.monotonic()
        assert "the store did not answer, or broke off" in said_of(url, RetryableError)
        assert time.monotonic() - started < 10


def test_a_store_that_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "SILENT_SECONDS", 0.2)

    def answers(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + ROWS[:1000])
        time.sleep(1.0)

    with server_that(answers) as url:
        assert "the store did not answer, or broke off" in said_of(url, RetryableError)


def test_a_store_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    assert "the store did not answer, or broke off" in said_of(f"http://127.0.0.1:{port}/rows", RetryableError)


def test_a_store_that_talks_nonsense() -> None:
    with server_that(lambda connection: connection.sendall(b"\x16\x03\x01 hello")) as url:
        assert "cannot be read (HTTP 400); check data.path" in said_of(url, ClientDataError)


def test_time_limits_of_the_users_own_configuration_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.config import conf

    monkeypatch.setitem(conf, "http", {"client_kwargs": {"timeout": "own", "trust_env": True}})
    assert stores._patience("http://host/rows")["client_kwargs"] == {"timeout": "own", "trust_env": True}
    assert stores._patience("https://host/rows")["client_kwargs"]["timeout"].sock_read == stores.SILENT_SECONDS


def test_memory_and_files_by_url(tmp_path: Path) -> None:
    for name, content in (("rows.jsonl", ROWS), ("rows.gz", gzip.compress(ROWS))):
        with fsspec.open(f"memory://stores/{name}", "wb") as stream:
            stream.write(content)
        (tmp_path / name).write_bytes(content)
        for url in (f"memory://stores/{name}", f"file://{tmp_path}/{name}", f"local://{tmp_path}/{name}"):
            assert len(load([url]).examples) == 5000
            assert source_sha256(url) == source_sha256(str(tmp_path / name))


def test_a_member_of_an_archive_by_url(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("rows.jsonl", ROWS)
    assert len(load([f"zip://rows.jsonl::file://{tmp_path}/all.zip"]).examples) == 5000


def test_a_store_that_gives_less_than_it_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    with fsspec.open("memory://stores/short.jsonl", "wb") as stream:
        stream.write(ROWS)

    opened = fsspec.implementations.memory.MemoryFileSystem._open

    def short(self: Any, *args: Any, **kwargs: Any) -> Any:
        file = opened(self, *args, **kwargs)
        whole, file.read = file.getvalue(), lambda size: b""
        assert len(whole) == len(ROWS)
        return file

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "_open", short)
    assert "broke off (ConnectionError); try again" in said_of("memory://stores/short.jsonl", RetryableError)
