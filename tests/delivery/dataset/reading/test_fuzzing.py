"""Bytes and rows that nobody thought of: examples, or problems that name file and line, and nothing else."""

from __future__ import annotations

import gzip
import re
import tempfile
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.client_config import UseCase
from delivery.dataset import Reading, read
from delivery.errors import ClientDataError
from tests.delivery.dataset.reading.test_formats import EVERY, TOOL, WEATHER, assistant, calling, user

pytestmark = pytest.mark.timeout(300)

USE_CASES = (
    None,
    UseCase(name="t", type="classification", system_prompt="Sort.", labels=("b", "other")),
    UseCase(name="t", type="extraction", system_prompt="Find.", schema={"properties": {"a": {"type": "number"}}}, parse="json"),
)
WITH_TOOLS: list[dict[str, Any]] = [
    {
        "messages": [user(), calling(id="a"), {"role": "tool", "tool_call_id": "a", "content": "x"}, assistant()],
        "tools": [TOOL],
    },
    {
        "conversations": [
            {"from": "human", "value": "a"},
            {"from": "function_call", "value": '{"name":"f"}'},
            {"from": "observation", "value": "x"},
            {"from": "gpt", "value": "b"},
        ],
        "tools": orjson.dumps([WEATHER]).decode(),
        "system": "s",
    },
    {"instruction": "a", "input": "b", "output": '{"a": 1}', "history": [["a", "b"]], "id": 1, "metadata": {"k": 1}},
    {"prompt": [user()], "completion": [assistant([{"type": "text", "text": "b"}], weight=0)], "split": "test", "weight": 2},
]
VALID = [
    *(
        b"\n".join(row.encode() if isinstance(row, str) else orjson.dumps(row) for row in rows) + b"\n"
        for rows in EVERY.values()
    ),
    *(orjson.dumps(row) + b"\n" for row in WITH_TOOLS),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["", "\0", "\u200b", "\u202e", "user", "tool", "gpt", "{}", "[", "nan", "9" * 300])
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "name", "id"]), inner),
    max_leaves=5,
)
places = st.lists(st.integers(0, 30), min_size=1, max_size=4)


def put(value: Any, path: list[int], new: Any) -> Any:
    """A copy of ``value`` with ``new`` at some place inside."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    keys = sorted(value) if isinstance(value, dict) else range(len(value))
    key = keys[path[0] % len(keys)]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if path[0] % 7 == 6:
        del copy[key]
    else:
        copy[key] = put(value[key], path[1:], new)
    return copy


@st.composite
def cut_and_pasted(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(VALID)) * draw(st.integers(1, 3)))
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(0, 5))
        pieces = st.binary(max_size=4) | st.sampled_from(
            [
                b'"',
                b"\\",
                b"\r",
                b"\n",
                b",",
                b"{",
                b"}",
                b"[",
                b"\xff",
                b"\xef\xbb\xbf",
                b"\\ud800",
                b"\\u0000",
                b"1e999",
                b"NaN",
                b'"a":',
            ]
        )
        data[at : at + size] = draw(pieces)
    whole = bytes(data)
    if draw(st.booleans()):
        return whole
    packed = bytearray(gzip.compress(whole, mtime=0))
    if draw(st.booleans()):
        packed[draw(st.integers(0, len(packed) - 1))] ^= draw(st.integers(1, 255))
    return bytes(packed[: draw(st.integers(len(packed) - 3, len(packed)))])


altered = st.builds(
    lambda first, path, new, others: b"\n".join([orjson.dumps(put(first, path, new)), *map(orjson.dumps, others)]),
    st.sampled_from([rows[0] for rows in EVERY.values() if isinstance(rows[0], dict)] + WITH_TOOLS),
    places,
    junk,
    st.lists(st.sampled_from(WITH_TOOLS), max_size=1),
)


def check(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        for use_case in USE_CASES:
            reading = read_or_nothing(file.name, use_case)
            if reading is None:
                continue
            assert reading.total >= len(reading.problems)
            assert bool(reading.total) or bool(reading.dataset.examples)
            for problem in reading.problems:
                assert re.match(rf"{re.escape(file.name)}:[1-9]\d*: .", problem)
                assert problem.isprintable()
                assert ";" in problem
            orjson.dumps(reading.dataset)
            for example in reading.dataset.examples:
                assert {message.role for message in example.messages} <= {"system", "user", "assistant"}
                assert "\0" not in "".join([example.answer, example.rejected, *(m.content for m in example.messages)])
                assert example.answer != example.rejected


def read_or_nothing(path: str, use_case: UseCase | None) -> Reading | None:
    """None where there are no rows, which is the one thing that is said of a regular file as a whole."""
    try:
        return read([path], use_case=use_case)
    except ClientDataError as error:
        if str(error) != f"{path}: holds no rows; give labeled rows":
            raise
    return None


@settings(max_examples=400, deadline=None)
@given(data=st.binary(max_size=80) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(data: bytes) -> None:
    check(data)


@settings(max_examples=600, deadline=None)
@given(data=cut_and_pasted())
def test_valid_files_with_bytes_changed(data: bytes) -> None:
    check(data)


@settings(max_examples=600, deadline=None)
@given(data=altered)
def test_valid_rows_with_values_changed(data: bytes) -> None:
    check(data)
