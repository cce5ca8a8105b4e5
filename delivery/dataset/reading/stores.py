"""Opening the files of rows: on this machine, or wherever an fsspec URL points."""

from __future__ import annotations

import io
import os
import re
import stat
from typing import Any

from delivery.dataset.reading.problems import BadRow
from delivery.errors import ClientDataError, RetryableError

CONNECT_SECONDS = 30.0
SILENT_SECONDS = 60.0
"""How long an HTTP server may take to accept, and how long it may then say nothing."""

BLOCK = 1 << 16


def shown(path: str) -> str:
    """A path as messages and examples name it, in one printable line.

    A URL loses credentials and query, which may be a signature; a file name that is no UTF-8 shows its odd bytes escaped.
    """
    if "://" in path:
        path = re.sub(r"//[^/]*@", "//", path.partition("?")[0])
    if path.isprintable():
        return path
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


def open_bytes(path: str) -> io.BufferedReader:
    """A file's bytes, streamed. Reading raises ``BadRow`` when a local file turns out to change meanwhile.

    Raises:
        ClientDataError: there is no such file, it is no regular one, or it cannot be read.
        RetryableError: a remote store did not answer.
    """
    try:
        return io.BufferedReader(_open_url(path) if "://" in path else _LocalFile(path, shown(path)), BLOCK)
    except ClientDataError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: Exception) -> ClientDataError | RetryableError:
    """One line for whatever a store raised. A remote error's own text stays out: it may quote a signed URL."""
    remote = "://" in path
    name = shown(path)
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        # fsspec calls every failure to look at an HTTP URL a missing file, and chains what really happened.
        error = error.__cause__
    status = getattr(error, "status", None)
    if remote and isinstance(status, int):
        return _answered(name, status)
    if isinstance(error, FileNotFoundError):
        return ClientDataError(f"{name}: there is no such file; check data.path")
    if isinstance(error, IsADirectoryError):
        return ClientDataError(f"{name}: is a folder; name a JSONL or CSV file")
    if isinstance(error, ImportError) and remote:
        return ClientDataError(f"{name}: the fsspec driver of {path.partition('://')[0]}:// is not installed; install it")
    if remote and _may_pass(error):
        return RetryableError(f"{name}: the store did not answer, or broke off ({type(error).__name__}); try again")
    reason = type(error).__name__ if remote or not isinstance(error, OSError) else error.strerror
    return ClientDataError(f"{name}: cannot be read ({reason}); check the path and the permissions")


def _answered(name: str, status: int) -> ClientDataError | RetryableError:
    if status in (404, 410):
        return ClientDataError(f"{name}: there is no such file (HTTP {status}); check data.path")
    if status in (401, 403):
        return ClientDataError(f"{name}: the store refuses access (HTTP {status}); renew the link or the credentials")
    if status >= 500 or status in (408, 425, 429):
        return RetryableError(f"{name}: the store could not answer (HTTP {status}); try again")
    return ClientDataError(f"{name}: cannot be read (HTTP {status}); check data.path")


def _may_pass(error: Exception) -> bool:
    passing = isinstance(error, TimeoutError | ConnectionError)
    # aiohttp's tree is its own; it is not imported here, because only HTTP needs it.
    return passing or (type(error).__module__.startswith("aiohttp.") and not isinstance(error, ValueError))


class _LocalFile(io.RawIOBase):
    """A regular file as it was when it was opened: what is added or taken while it is read is an error, not rows."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__()
        # A device may act on being opened at all, and a pipe waits for a writer, so the kind is looked at before; and
        # again after, on the file itself.
        _refuse_irregular(name, os.stat(path))
        self._file = io.FileIO(path, opener=_open_at_once)
        self._before = os.fstat(self._file.fileno())
        self._left = self._before.st_size
        try:
            _refuse_irregular(name, self._before)
        except ClientDataError:
            self._file.close()
            raise

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)[: self._left]
        count = (self._file.readinto(room) or 0) if self._left else 0
        self._left -= count
        if not count:
            after = os.fstat(self._file.fileno())
            if self._left or (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
                raise BadRow("the file was changed while it was read; wait until it is written, and read it again")
        return count

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        super().close()


def _refuse_irregular(name: str, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        what = "a folder" if stat.S_ISDIR(info.st_mode) else "no regular file"
        raise ClientDataError(f"{name}: is {what}; name a JSONL or CSV file")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _open_url(url: str) -> io.RawIOBase:
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    web = url.startswith(("http://", "https://"))
    filesystem, inside = url_to_fs(url, **(_patience(url) if web else {}))
    if isinstance(filesystem, LocalFileSystem):
        return _LocalFile(inside, shown(url))
    # Block size 0 is one answer read as it comes: no store has to know ranges, and half an answer is noticed.
    return _RemoteFile(filesystem, filesystem.open(inside, "rb", **({"block_size": 0} if web else {})))


def _patience(url: str) -> dict[str, Any]:
    """Time limits of an HTTP client, under what the user's own fsspec configuration says."""
    import aiohttp
    from fsspec.config import conf

    limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    own = conf.get(url.partition("://")[0], {}).get("client_kwargs", {})
    return {"client_kwargs": {"timeout": limits, **own}}


class _RemoteFile(io.RawIOBase):
    """What a store gives. Fewer bytes than it announced are a broken connection, whatever it calls them."""

    def __init__(self, filesystem: Any, file: Any) -> None:
        super().__init__()
        # An archive's file system closes the archive when nobody holds it any more.
        self._filesystem = filesystem
        self._file = file
        size = getattr(file, "size", None)
        self._left = size if isinstance(size, int) else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        if self._left is not None:
            self._left -= len(data)
            if not data and self._left > 0:
                raise ConnectionError("the answer is shorter than announced")
        return len(data)

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        super().close()
