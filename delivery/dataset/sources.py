"""Bytes of a file, line by line, from this machine or from any fsspec URL."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from delivery.dataset.problems import BadRow, BrokenFile
from delivery.errors import ClientDataError, RetryableError

MAX_LINE_BYTES = 16 * 1024 * 1024
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def shown(path: str) -> str:
    """A path as messages and examples name it: a URL loses credentials and query, which may be a signature."""
    if "://" not in path:
        return path
    return re.sub(r"//[^/]*@", "//", path.partition("?")[0])


def read_lines(path: str) -> Iterator[bytes]:
    """The lines of a file with their ends, streamed; a UTF-8 byte-order mark is taken off.

    Raises:
        ClientDataError: there is no such file, or it cannot be read.
        RetryableError: a remote store did not answer.
        BrokenFile: what follows cannot be text in UTF-8.
    """
    with _open(path) as stream:
        number = 0
        while True:
            try:
                line = stream.readline(MAX_LINE_BYTES + 1)
            except Exception as error:
                raise _unreadable(path, error) from error
            if not line:
                return
            number += 1
            if number == 1:
                if line.startswith(UTF16_MARKS):
                    raise BrokenFile("is UTF-16 text; save the file as UTF-8", line=1)
                line = line.removeprefix(codecs.BOM_UTF8)
            if b"\0" in line:
                raise BrokenFile("holds a NUL byte, so this is no UTF-8 text; save the file as UTF-8", line=number)
            if len(line) > MAX_LINE_BYTES:
                raise BrokenFile(f"is longer than {MAX_LINE_BYTES >> 20} MiB; write one row a line", line=number)
            yield line


def source_sha256(path: str) -> str:
    """SHA-256 of a data file's bytes: whether it changed at all since it was last read.

    Raises:
        ClientDataError: there is no such file, or it cannot be read.
        RetryableError: a remote store did not answer.
    """
    with _open(path) as stream:
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except Exception as error:
            raise _unreadable(path, error) from error


def decoded(line: bytes) -> str:
    """A line as text.

    Raises:
        BadRow: it is not UTF-8; names the byte.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        what = f"is not UTF-8 (byte 0x{byte:02x} at position {error.start + 1}); save the file as UTF-8"
        raise BadRow(what) from error


def _open(path: str) -> io.BufferedReader:
    try:
        if "://" in path:
            import fsspec

            return cast(io.BufferedReader, fsspec.open(path, "rb").open())
        local = Path(path)
        if local.exists() and not local.is_file():
            what = "a folder" if local.is_dir() else "no regular file"
            raise ClientDataError(f"{path}: is {what}; name a JSONL or CSV file")
        return local.open("rb")
    except ClientDataError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> Exception:
    """One line for whatever a store raised. A remote error's own text stays out: it may quote a signed URL."""
    remote = "://" in path
    name = " ".join(shown(path).split())
    if isinstance(error, FileNotFoundError):
        return ClientDataError(f"{name}: there is no such file; check data.path")
    if isinstance(error, IsADirectoryError):
        return ClientDataError(f"{name}: is a folder; name a JSONL or CSV file")
    if isinstance(error, ImportError) and remote:
        return ClientDataError(f"{name}: the fsspec driver of {path.partition('://')[0]}:// is not installed; install it")
    if remote and isinstance(error, TimeoutError | ConnectionError):
        return RetryableError(f"{name}: the store did not answer ({type(error).__name__}); try again")
    reason = type(error).__name__ if remote or not isinstance(error, OSError) else error.strerror
    return ClientDataError(f"{name}: cannot be read ({reason}); check the path and the permissions")
