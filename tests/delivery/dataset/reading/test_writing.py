from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Example, Message, input_key_of
from delivery.dataset import from_chat_row, load, to_chat_row
from delivery.dataset.reading.fields import is_visible
from delivery.errors import ClientDataError

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30).filter(is_visible)
names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
weights = st.sampled_from([0.0, 0.0, 1.0, 0.1])
turns = st.lists(
    st.builds(Message, st.just("user"), texts) | st.builds(Message, st.just("assistant"), texts, weights), max_size=3
)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    system = draw(st.none() | st.builds(Message, st.just("system"), texts))
    messages = (*([system] if system else []), *draw(turns), Message("user", draw(texts)))
    answer, rejected = draw(texts), draw(st.just("") | texts)
    return Example(
        id=draw(names),
        messages=messages,
        answer=answer,
        split=draw(st.sampled_from([None, "train", "validation", "test"])),
        weight=draw(st.just(1.0) | st.floats(0, 1e9)),
        metadata=draw(st.dictionaries(names, values, max_size=3)),
        source="somewhere",
        line=3,
        rejected="" if rejected == answer else rejected,
        key=input_key_of(messages),
    )


@settings(max_examples=300, deadline=None)
@given(example=examples())
def test_what_is_written_is_read_back(example: Example) -> None:
    row = orjson.dumps(to_chat_row(example))
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n" + row)
        file.flush()
        (back,) = load([file.name]).examples
    assert back == replace(example, source=file.name, line=2)
    assert from_chat_row(orjson.loads(row), source="somewhere", line=3) == example


def test_rows_are_as_short_as_what_they_say() -> None:
    plain = Example("a", (Message("user", "Hi"),), "Hello")
    assert to_chat_row(plain) == {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "id": "a",
    }
    assert to_chat_row(replace(plain, rejected="Go away", id="")) == {
        "input": {"messages": [{"role": "user", "content": "Hi"}]},
        "preferred_output": [{"role": "assistant", "content": "Hello"}],
        "non_preferred_output": [{"role": "assistant", "content": "Go away"}],
    }


def test_the_key_from_before_redaction_survives_in_our_own_store_alone(tmp_path: Any) -> None:
    before = input_key_of((Message("user", "I am Ann"),))
    redacted = Example("a", (Message("user", "I am <NAME>"),), "Hello", key=before)
    row = orjson.dumps(to_chat_row(redacted))
    assert from_chat_row(orjson.loads(row)) == redacted
    path = tmp_path / "rows.jsonl"
    path.write_bytes(row)
    (believed,) = load([str(path)]).examples
    assert believed.key == input_key_of(redacted.messages) != before
    assert believed.metadata == {}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "a", "label": "b"}, "store:4: is neither a chat row nor a preference pair; store it again"),
        ({"messages": [{"role": "user", "content": "a"}]}, "store:4: messages[0]: is the user's"),
        ({"messages": []}, "store:4: messages: has to be a list"),
    ],
)
def test_a_row_that_was_not_written_here_is_named(row: dict[str, Any], says: str) -> None:
    with pytest.raises(ClientDataError) as caught:
        from_chat_row(row, source="store", line=4)
    assert str(caught.value).startswith(says)
