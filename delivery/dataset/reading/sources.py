"""Bytes of a file, line by line, from this machine or from any fsspec URL, plain or gzip."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

from delivery.dataset.reading.problems import BadRow, BrokenFile
from delivery.dataset.reading.stores import BLOCK, open_bytes, shown, unreadable
from delivery.errors import ClientDataError

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_BLANK_LINES = 1_000_000
GZIP_FREE_BYTES = 16 * 1024 * 1024
GZIP_RATIO = 200
"""A gzip file may unpack to 16 MiB, and beyond that to 200 times its size; text comes to 3 to 20 times."""

_GZIP = b"\x1f\x8b"
_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_OTHER_KINDS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook; export its table as CSV, or unpack it"),
    (b"PAR1", "a Parquet file; export it as JSON lines"),
    (b"ARROW1", "an Arrow file; export it as JSON lines"),
    (b"%PDF", "a PDF; give the rows as JSON lines or CSV"),
    (b"SQLite format 3", "a SQLite database; export its table as CSV"),
    (b"BZh", "bzip2 data; unpack it, or pack it with gzip"),
    (b"\xfd7zXZ", "xz data; unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd data; unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
)


def read_lines(path: str) -> Iterator[bytes]:
    """The lines of a file with their ends, streamed; gzip is unpacked, a UTF-8 byte-order mark is taken off.

    No more is held than one line and the buffers.

    Raises:
        ClientDataError: there is no such file, or it cannot be read.
        RetryableError: a remote store did not answer.
        BrokenFile: what follows cannot be text in UTF-8, the gzip data is damaged, or the file changes as it is read.
    """
    with open_bytes(path) as packed:
        number, blank = 1, 0
        try:
            stream = _text_stream(packed)
            line = stream.readline(MAX_LINE_BYTES + 1).removeprefix(codecs.BOM_UTF8)
            while line:
                if b"\0" in line:
                    raise BadRow("holds a NUL byte, so this is no UTF-8 text; save the file as UTF-8")
                if len(line) > MAX_LINE_BYTES:
                    raise BadRow(f"is longer than {MAX_LINE_BYTES >> 20} MiB; write one row a line")
                blank = blank + 1 if line.isspace() else 0
                if blank > MAX_BLANK_LINES:
                    raise BadRow(f"ends {MAX_BLANK_LINES:,} blank lines; take them out")
                yield line
                number += 1
                line = stream.readline(MAX_LINE_BYTES + 1)
        except BadRow as bad:
            raise BrokenFile(bad.what, line=number) from bad
        except Exception as error:
            raise unreadable(path, error) from error


def source_sha256(path: str) -> str:
    """SHA-256 of a data file's bytes: whether it changed at all since it was last read.

    Raises:
        ClientDataError: there is no such file, or it cannot be read.
        RetryableError: a remote store did not answer.
    """
    with open_bytes(path) as stream:
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except BadRow as bad:
            raise ClientDataError(f"{shown(path)}: {bad.what}") from bad
        except Exception as error:
            raise unreadable(path, error) from error


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


def _text_stream(packed: io.BufferedReader) -> io.BufferedReader:
    """What holds the lines: the file itself, or what it unpacks to. Files of another kind are refused by their first bytes."""
    stream = packed
    if packed.peek(2).startswith(_GZIP):
        stream = io.BufferedReader(_Unpacked(packed), BLOCK)
    head = stream.peek(16)
    if head.startswith(_GZIP):
        raise BadRow("is gzip data that holds gzip data; unpack it once")
    for mark, name in _OTHER_ENCODINGS:
        if head.startswith(mark):
            raise BadRow(f"is {name} text; save the file as UTF-8")
    for mark, name in _OTHER_KINDS:
        if head.startswith(mark):
            raise BadRow(f"is {name}")
    return stream


class _Counted:
    """Packed bytes as ``GzipFile`` asks for them, counted."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.taken += len(data)
        return data


class _Unpacked(io.RawIOBase):
    """Gzip data as it unpacks, up to a bound: a small file must not become an endless one."""

    def __init__(self, packed: io.BufferedReader) -> None:
        super().__init__()
        self._packed = _Counted(packed)
        self._given = 0
        self._gzip = gzip.GzipFile(fileobj=cast(IO[bytes], self._packed), mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            # One step at a time: what came before a damaged place is still given.
            data = self._gzip.read1(len(buffer))
        except EOFError as error:
            raise BadRow("the gzip data ends before its end, so it was cut off; copy or download the file again") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadRow("the gzip data is damaged, or other bytes follow it; pack the file again") from error
        buffer[: len(data)] = data
        self._given += len(data)
        if self._given > max(GZIP_FREE_BYTES, GZIP_RATIO * self._packed.taken):
            raise BadRow(f"the gzip data unpacks to more than {GZIP_RATIO} times its size; unpack it, and name what comes out")
        return len(data)
