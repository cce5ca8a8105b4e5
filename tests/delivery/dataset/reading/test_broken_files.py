"""Files made to break a reader: one clear line each, never a trace, never a hang, never memory past a bound."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import orjson
import pytest

from delivery.dataset import load, read, source_sha256
from delivery.dataset.reading import taking
from delivery.dataset.reading.problems import BrokenFile
from delivery.dataset.reading.sources import read_lines
from delivery.dataset.reading.stores import shown
from delivery.errors import ClientDataError
from tests.delivery.dataset.reading import broken_files, broken_stores
from tests.delivery.dataset.reading.broken_files import GOOD, MIB, Broken, ask, chat, holding, rows

BROKEN = [
    *broken_files.ENCODINGS,
    *broken_files.JSON,
    *broken_files.ROWS,
    *broken_stores.FORMATS,
    *broken_stores.CSV,
    *broken_stores.OTHER_KINDS,
    *broken_stores.NO_FILES,
]
GOOD_TURNS = (("user", "a"), ("assistant", "b"))
MEMORY_BOUND_MIB = 256
"""What reading any file may take beside the rows that it keeps and the process itself."""

pytestmark = pytest.mark.timeout(60)


def said_of(path: str) -> str:
    """The first thing that reading says; an error of any other kind than the client's fails the test by itself."""
    try:
        reading = read([path])
    except ClientDataError as error:
        return str(error)
    assert reading.total == len(reading.problems) or len(reading.problems) == 20
    with pytest.raises(ClientDataError):
        load([path])
    return reading.problems[0]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_says_what_is_wrong_where_and_what_to_do(tmp_path: Path, broken: Broken) -> None:
    path = broken.build(tmp_path)
    said = said_of(path)
    place = shown(path) if broken.line is None else f"{shown(path)}:{broken.line}: "
    assert said.startswith(place)
    assert broken.says in said
    assert said.isprintable()
    assert len(said) < len(place) + 600
    _, what_to_do = said[len(place) :].split(";", 1)
    assert what_to_do.strip()


def test_there_are_enough_of_them() -> None:
    assert len(BROKEN) >= 60
    assert len({(broken.name, broken.says) for broken in BROKEN}) == len(BROKEN)


def test_good_rows_around_a_wrong_one_are_kept(tmp_path: Path) -> None:
    for broken in (*broken_files.ROWS, *broken_files.JSON):
        if broken.line != 3:
            continue
        reading = read([broken.build(tmp_path)])
        assert (len(reading.dataset.examples), reading.total) == (1, 1), broken.name
        assert reading.dataset.repeated, broken.name


WORST = [
    "a line of 50 MiB",
    "a line of a million objects",
    "a line of a million keys",
    "a line of 900,000 equal keys",
    "ten million characters",
    "four million characters that grow eighteenfold",
    "id of 10 MB",
    "digits without end",
    "a row without end",
    "ten million columns",
    "a field of 200,000 characters",
    "gzip bomb of blank lines",
    "gzip bomb of one line",
    "gzip bomb of one row",
]
MEASURE = """
import os, sys
from delivery.dataset import read
from delivery.errors import ClientDataError
def peak():  # Not ru_maxrss, which a process has from its parent.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
def measure(path):
    read([sys.argv[1]])
    before = peak()
    try:
        reading = read([path])
        assert reading.total or reading.dataset.examples
    except ClientDataError:
        pass
    return peak() - before
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            print(measure(line[:-1]), flush=True)
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(0)
    if status := os.waitpid(child, 0)[1]:
        print("ended with", status, flush=True)
"""
"""Each file is read by a process of its own, forked from one that has imported the reader and read nothing large."""
HEAVY = [
    Broken(
        "many rows of other layouts",
        holding(rows(GOOD) + b"".join(rows(ask(**{f"{n}{'k' * 10**6}": {}})) for n in range(300))),
        "",
    ),
    Broken(
        "many rows of other system messages",
        holding(rows(GOOD) + b"".join(rows(chat(("system", f"{n}{'s' * 600_000}"), *GOOD_TURNS)) for n in range(300))),
        "",
    ),
    Broken("the most objects", holding(orjson.dumps(ask(metadata={"a": [{"": 0}] * 499_000}))), ""),
    Broken("the most fields", holding(orjson.dumps(ask(metadata={str(n): n for n in range(1000)}))), ""),
    Broken("the most characters", holding(orjson.dumps(ask("\ufdfa" * 499_000))), ""),
    Broken(
        "a row of 1,000 columns",
        holding(
            b",".join(b"text" * (not n) or b"label" * (n == 1) or b"c%d" % n for n in range(1000))
            + b"\n"
            + b",".join([b"x" * 9000] * 1000)
        ),
        "",
    ),
]
"""Within every limit, or wrong in a way that could be kept by mistake."""


@pytest.fixture(scope="module")
def peak_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """MiB that reading a file takes at most, or what went wrong."""
    good = tmp_path_factory.mktemp("good") / "good"
    good.write_bytes(rows(GOOD))
    command = [sys.executable, "-c", MEASURE, str(good)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, said = process.stdin, process.stdout

        def peak(path: str) -> str:
            asked.write(f"{path}\n")
            return said.readline()

        yield peak


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("name", [*WORST, *(heavy.name for heavy in HEAVY)])
def test_memory_stays_within_the_bound(tmp_path: Path, peak_of: Callable[[str], str], name: str) -> None:
    (broken,) = [broken for broken in (*BROKEN, *HEAVY) if broken.name == name]
    assert int(peak_of(broken.build(tmp_path))) < MEMORY_BOUND_MIB


LONG = rows(*[GOOD] * 3000)
assert len(LONG) > 4 * (1 << 16)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, len(LONG) // 2),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(LONG * 2),
        lambda path: path.write_bytes(LONG.replace(b"way", b"map")),
    ],
    ids=["shortened", "emptied", "grown", "written over"],
)
def test_a_file_that_changes_while_it_is_read_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LONG)
    os.utime(path, (1, 1))

    def lines_of_a_changing_file(name: str) -> Iterator[bytes]:
        lines = read_lines(name)
        yield next(lines)
        change(path)  # type: ignore[operator]
        yield from lines

    monkeypatch.setattr(taking, "read_lines", lines_of_a_changing_file)
    (problem,) = read([str(path)]).problems
    assert "the file was changed while it was read; wait until it is written" in problem
    assert problem.removeprefix(f"{path}:").partition(":")[0].isdigit()


def test_a_file_that_never_stops_growing_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LONG)
    lines = []

    def follow() -> None:
        with path.open("ab") as more:
            for line in read_lines(str(path)):
                lines.append(line)
                more.write(line * 2)
                more.flush()

    with pytest.raises(BrokenFile, match="changed while it was read"):
        follow()
    assert b"".join(lines) == LONG


def test_a_file_that_changes_while_it_is_hashed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LONG)
    digest = hashlib.file_digest

    def slowly(stream: BinaryIO, name: str) -> object:
        stream.read(1)
        os.truncate(path, 100_000)
        return digest(stream, name)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", slowly)
    with pytest.raises(ClientDataError, match=r"rows\.jsonl: the file was changed while it was read; wait"):
        source_sha256(str(path))


def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LONG)
    path.chmod(0)
    if os.geteuid() != 0:
        assert "cannot be read (Permission denied); check the path and the permissions" in said_of(str(path))
        return
    # Root may read everything, so somebody else tries.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    program = "import os, sys\nfrom delivery.dataset import read\nos.setuid(65534)\nread(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert "cannot be read (Permission denied); check the path and the permissions" in done.stderr


def test_a_name_that_is_no_utf8_reaches_no_example(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"rows\xff.jsonl")
    Path(os.fsdecode(path)).write_bytes(rows(GOOD))
    (example,) = read([os.fsdecode(path)]).dataset.examples
    assert example.source == f"{tmp_path}/rows\\udcff.jsonl"
    example.source.encode()


def test_a_wrong_file_of_many_rows_is_read_to_its_end_at_once(tmp_path: Path, triage: object) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,label\n" + b"".join(b"a%d,wrong%d\n" % (n, n) for n in range(20_000)))
    reading = read([str(path)], use_case=triage)  # type: ignore[arg-type]
    assert (reading.total, len(reading.problems)) == (20_000, 20)
    huge = tmp_path / "huge.csv"
    huge.write_bytes(rows(b"text,label", *[b"a," + b"claim " * 20_000] * 3))
    assert read([str(huge)], use_case=triage).total == 3  # type: ignore[arg-type]


def test_gzip_of_rows_that_are_alike_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(broken_files.packed(b"".join(rows({"text": f"row {n}", "label": "a"}) for n in range(50_000))))
    assert path.stat().st_size < MIB
    assert len(load([str(path)]).examples) == 50_000
