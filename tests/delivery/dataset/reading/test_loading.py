from __future__ import annotations

import codecs
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from delivery.artifacts import Message
from delivery.client_config import UseCase
from delivery.dataset import RowProblems, load, source_sha256
from delivery.dataset.reading.sources import MAX_LINE_BYTES
from delivery.dataset.reading.stores import shown
from delivery.errors import ClientDataError, ConfigError
from tests.delivery.dataset.conftest import Write


def chat(*turns: tuple[str, str], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **fields}


def row(text: str = "It burned.", label: str = "claim", **fields: Any) -> dict[str, Any]:
    return {"text": text, "label": label, **fields}


def extracting(**schema: Any) -> UseCase:
    wanted = {"properties": {"a": {}}, **schema}
    return UseCase(name="x", type="extraction", system_prompt="x", schema=wanted, parse="json")


def refused(*paths: str, use_case: UseCase | None = None) -> RowProblems:
    with pytest.raises(RowProblems) as caught:
        load(paths, use_case=use_case)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


class TestChat:
    def test_last_assistant_message_is_the_answer(self, write: Write) -> None:
        path = write(chat(("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", " Bye! "), id=7, weight=0.5))
        dataset = load([path])
        (example,) = dataset.examples
        assert dataset.format == "chat-jsonl"
        assert example.messages == (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye"))
        assert (example.id, example.answer, example.weight, example.line) == ("7", " Bye! ", 0.5, 1)

    def test_prompt_of_the_use_case_stands_first_unless_the_row_has_its_own(self, write: Write, extraction: UseCase) -> None:
        answer = ("assistant", '{"amount": 3}')
        path = write(chat(("user", "a"), answer), chat(("system", "Mine."), ("user", "b"), answer))
        first, second = load([path], use_case=extraction).examples
        assert first.messages == (Message("system", "Extract."), Message("user", "a"))
        assert second.messages[0] == Message("system", "Mine.")

    def test_metadata_and_further_fields_become_strings(self, write: Write) -> None:
        turns = (("user", "a"), ("assistant", "b"))
        path = write(chat(*turns, metadata={"n": 3, "ok": True, "none": None, "deep": {"x": [1]}}, customer="c-1"))
        assert load([path]).examples[0].metadata == {"n": "3", "ok": "true", "deep": '{"x":[1]}', "customer": "c-1"}

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            ({"messages": []}, "messages: has to be a list"),
            ({"messages": "hi"}, "messages: has to be a list"),
            ({"messages": [1]}, "messages[0]: is a int"),
            ({"messages": [{"role": "user", "content": {"a": 1}}]}, "messages[0].content: is a dict"),
            (chat(("user", "a")), "messages[0]: is the user's; the last message has to be the assistant's"),
            (chat(("assistant", "a")), "messages[0]: answers no user message"),
            (chat(("system", "a"), ("assistant", "a")), "messages[1]: answers no user message"),
            (chat(("tool", "a"), ("assistant", "b")), "messages[0].role: 'tool' is not one of"),
            (chat(("user", "a"), ("system", "s"), ("user", "a"), ("assistant", "b")), "messages[1].role: a system message"),
            (chat(("user", " \t"), ("assistant", "b")), "messages[0].content: is blank"),
            (chat(("user", "a"), ("assistant", "\u200b")), "messages[1].content: is blank"),
            ({"messages": [{"role": "user", "content": "a", "tool_calls": []}]}, "messages[0]: unknown key 'tool_calls'"),
            (chat(("user", "a"), ("assistant", "b"), tools=[{}]), "tools[0].function.name: is missing"),
            (chat(("user", "a"), ("assistant", "b"), extra=[{}]), "'extra': unknown key with nested values"),
        ],
    )
    def test_what_is_wrong_is_named(self, write: Write, bad: dict[str, Any], says: str) -> None:
        path = write(chat(("user", "a"), ("assistant", "b")), bad, chat(("user", "c"), ("assistant", "d")))
        assert str(refused(path)).startswith(f"{path}:2: {says}")


class TestTextLabel:
    def test_becomes_a_chat_with_the_canonical_label(self, write: Write, triage: UseCase) -> None:
        (example,) = load([write(row(label=" cLAIM ", id="r1", split="test", area="home"))], use_case=triage).examples
        assert example.messages == (Message("system", "Sort the message."), Message("user", "It burned."))
        assert (example.id, example.answer, example.split, example.metadata) == ("r1", "Claim", "test", {"area": "home"})

    def test_without_use_case_nothing_is_added(self, write: Write) -> None:
        (example,) = load([write(row(label=3))]).examples  # type: ignore[arg-type]
        assert (example.messages, example.answer) == ((Message("user", "It burned."),), "3")

    def test_unknown_label_is_refused_with_the_nearest(self, write: Write, triage: UseCase) -> None:
        problem = refused(write(row(), row(text="b", label="Clam")), use_case=triage)
        assert ":2: label: 'Clam' is no label of the use case (did you mean 'Claim'?); correct it" in str(problem)

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            ({"text": "a"}, "label: is missing"),
            (row(label=""), "label: is blank"),
            (row(label=True), "label: is a bool"),  # type: ignore[arg-type]
            (row(text=None), "text: is missing"),  # type: ignore[arg-type]
            (row(text=["a"]), "text: is a list"),  # type: ignore[arg-type]
            (row(id=""), "id: '' is no id"),
            (row(id="a\nb"), "id: 'a\\nb' is no id"),
            (row(id=[1]), "id: '[1]' is no id"),
            (row(split="dev"), "split: 'dev' is not one of train, validation, test"),
            (row(split=["train"]), "split:"),
            (row(weight=-1), "weight: '-1' is no finite number"),
            (row(weight=True), "weight:"),
            (row(weight="inf"), "weight: 'inf' is no finite number"),
            (row(metadata=[1]), "metadata: is a list"),
            (chat(("user", "a"), ("assistant", "b")), "is a chat row in a text-label file"),
            ('{"text": "a", "label": "claim", "label": "other"}', "'label': is given twice"),
            ('{"text": "a", "label": "claim"', "is not valid JSON"),
            ('{"text": "a", "label": NaN}', "is not valid JSON"),
            ("[1, 2]", "is a JSON list; write one JSON object a line"),
            (b'{"text": "\xff", "label": "claim"}', "is not UTF-8 (byte 0xff at position 11)"),
            ('{"text": "\\ud800", "label": "claim"}', "is not valid JSON"),
        ],
    )
    def test_what_is_wrong_is_named(self, write: Write, bad: Any, says: str) -> None:
        path = write(row("first"), "", bad, row("last"))
        problem = refused(path)
        assert str(problem).startswith(f"{path}:3: {says}")
        assert problem.total == 1


class TestCsv:
    def test_physical_lines_survive_quotes_and_newlines(self, write: Write, triage: UseCase) -> None:
        text = 'ID,Text,Label,split\r\n1,"two\nlines, ""quoted""",claim,train\r\n\r\n,plain,other,\r\n4,bad,none,\r\n'
        path = write(text, name="rows.csv")
        assert str(refused(path, use_case=triage)).startswith(f"{path}:6: label: 'none' is no label")
        first, second, _ = load([path]).examples
        assert (first.messages[-1].content, first.line, first.split) == ('two\nlines, "quoted"', 2, "train")
        assert (second.line, second.split, second.id) == (5, None, second.input_key[:16])

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("text,label\na,b\nno comma\nc,d", "3: has 1 columns where the header has 2"),
            ('text,label\na,b\nc,"d\ne,f', "3: is not valid CSV"),
            ('text,label\na,b\n"c"x,d', "3: is not valid CSV"),
            ("text,label\na,b\n,c", "3: text: is missing or empty"),
            ("text,label,Text\na,b,c", "1: the header names a column twice"),
            ("text;label\na;b\nc;d", "2: the format is not recognised from the keys 'text;label'"),
            (b"text,label\na,b\n\xff,d", "3: is not UTF-8"),
        ],
    )
    def test_what_is_wrong_is_named(self, write: Write, text: Any, says: str) -> None:
        path = write(text, name="rows.csv")
        assert str(refused(path)).startswith(f"{path}:{says}")

    def test_a_very_large_field_is_a_problem_of_its_row(self, write: Write) -> None:
        path = write("text,label", "a,b", f"{'x' * 200_000},b", name="rows.csv")
        assert str(refused(path)).startswith(f"{path}:3: is not valid CSV (field larger than")


class TestExtraction:
    def test_the_answer_keeps_its_own_text(self, write: Write, extraction: UseCase) -> None:
        answer = '{ "kind" : "fire",\n "amount": 1e2 }'
        assert load([write(chat(("user", "a"), ("assistant", answer)))], use_case=extraction).examples[0].answer == answer

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            ("none", "the answer is not valid JSON"),
            ('{"amount": 1, "amount": 2}', "the answer 'amount' is given twice"),
            ('{"amount": "1"}', "does not fit use_case.schema at amount"),
            ("{}", "does not fit use_case.schema at the answer"),
            ('{"amount": 1, "kind": "water"}', "does not fit use_case.schema at kind"),
            ("[" * 1000 + "]" * 1000, "the answer is nested too deeply"),
            ("[" * 2000, "the answer is not valid JSON"),
        ],
    )
    def test_an_answer_outside_the_schema_is_refused(self, write: Write, extraction: UseCase, answer: str, says: str) -> None:
        path = write(chat(("user", "a"), ("assistant", answer)))
        assert str(refused(path, use_case=extraction)).startswith(f"{path}:1: messages[1].content: {says}")

    def test_a_wrong_schema_is_a_configuration_error(self, write: Write) -> None:
        with pytest.raises(ConfigError, match=r"use_case\.schema"):
            load([write(chat(("user", "a"), ("assistant", "{}")))], use_case=extracting(type="nothing"))

    def test_a_schema_is_never_fetched(self, write: Write, httpserver: HTTPServer) -> None:
        httpserver.expect_request("/s.json").respond_with_json({})
        with pytest.raises(ConfigError, match=r"use_case\.schema"):
            load(
                [write(chat(("user", "a"), ("assistant", "{}")))],
                use_case=extracting(**{"$ref": httpserver.url_for("/s.json")}),
            )
        assert not httpserver.log


class TestIds:
    def test_same_id_with_other_content_names_both_lines(self, write: Write) -> None:
        path = write(row("a", id="x"), row("b", id="y"), row("c", id="x"))
        assert str(refused(path)) == (
            f"{path}:3: id: 'x' is also the id of {path}:1, which says something else; give each row its own"
        )

    def test_a_row_said_twice_is_read_once(self, write: Write) -> None:
        once, twice = write(row("a", id="x"), row("b"), name="1"), write(row("a", id="x"), row("b"), row("b"), name="2")
        assert load([once, twice]).fingerprint == load([once]).fingerprint
        assert len(load([once, twice]).examples) == 2

    def test_unnamed_rows_of_one_input_stay_apart(self, write: Write) -> None:
        examples = load([write(row("A b"), row("a  B"), row("a b", label="other"), row("a b", label="other"))]).examples
        key = examples[0].input_key[:16]
        assert [e.id[:16] for e in examples] == [key] * 3
        assert len({e.id for e in examples}) == 3

    def test_fingerprint_is_of_content_not_of_order(self, write: Write) -> None:
        rows = [row("a"), row("A"), row("b", id="b"), row("c", split="test")]
        there, back = write(*rows, name="1"), write(*reversed(rows), name="2")
        assert load([there]).fingerprint == load([back]).fingerprint
        assert load([there]).fingerprint != load([write(*rows[:3], name="3")]).fingerprint
        changed = write(*rows[:3], row("c", split="train"), name="4")
        assert load([there]).fingerprint != load([changed]).fingerprint


class TestFiles:
    def test_several_files_of_different_formats(self, write: Write) -> None:
        paths = [write(row("a"), name="1"), write("text,label", "b,c", name="2"), write(row("d"), name="3")]
        dataset = load(paths)
        assert dataset.format == "text-label-jsonl + text-label-csv"
        assert [(e.source, e.line) for e in dataset.examples] == [(paths[0], 1), (paths[1], 2), (paths[2], 1)]

    def test_problems_of_all_files_are_counted_and_twenty_kept(self, write: Write) -> None:
        paths = [write(*(row(split="x") for _ in range(15)), name=str(n)) for n in range(3)]
        problem = refused(*paths)
        assert str(problem).endswith("(and 44 more)")
        assert (len(problem.problems), problem.problems[15][: len(paths[1]) + 3]) == (20, f"{paths[1]}:1:")

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-le"])
    def test_utf16_is_refused_with_the_remedy(self, write: Write, encoding: str) -> None:
        problem = refused(write('{"text": "a", "label": "b"}'.encode(encoding)))
        assert "save the file as UTF-8" in str(problem)
        assert problem.total == 1

    def test_a_byte_order_mark_is_allowed(self, write: Write) -> None:
        assert load([write(codecs.BOM_UTF8 + orjson.dumps(row("a")))]).examples[0].messages[0].content == "a"
        csv = write(codecs.BOM_UTF8 + b"text,label\na,b", name="b.csv")
        assert load([csv]).format == "text-label-csv"

    def test_a_json_array_is_refused(self, write: Write) -> None:
        assert "write one JSON object a line" in str(refused(write("", "[", orjson.dumps(row()), "]")))

    def test_a_nul_and_an_endless_line_are_refused(self, write: Write) -> None:
        path = write(row("a"), b'{"text": "\0"}', row("b"))
        assert str(refused(path)).startswith(f"{path}:2: holds a NUL byte")
        long = write(row("a"), b"x" * (MAX_LINE_BYTES + 1), name="long")
        assert str(refused(long)).startswith(f"{long}:2: is longer than 16 MiB")

    @pytest.mark.parametrize("content", [b"", b"\n \n", b"text,label\n", codecs.BOM_UTF8])
    def test_no_rows(self, tmp_path: Path, write: Write, content: bytes) -> None:
        path = tmp_path / "empty"
        path.write_bytes(content)
        with pytest.raises(ClientDataError, match="holds no rows"):
            load([write(row()), str(path)])

    def test_missing_folder_and_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(ClientDataError, match="there is no such file"):
            load([str(tmp_path / "none")])
        with pytest.raises(ClientDataError, match="is a folder"):
            load([str(tmp_path)])
        with pytest.raises(ClientDataError, match="no regular file"):
            load(["/dev/null"])
        with pytest.raises(ClientDataError, match="cannot be read"):
            load(["a\0b"])
        with pytest.raises(ClientDataError, match="names no file"):
            load([])

    def test_urls(self, tmp_path: Path, write: Write) -> None:
        with fsspec.open("memory://labels/rows.jsonl", "wb") as stream:
            stream.write(orjson.dumps(row("a")))
        assert load(["memory://labels/rows.jsonl"]).examples[0].source == "memory://labels/rows.jsonl"
        assert len(load([f"file://{write(row('a'))}"]).examples) == 1
        for path, says in (
            ("memory://labels/none", "there is no such file"),
            (f"file://{tmp_path}", "is a folder"),
            ("nothing://user:secret@host/x?sig=secret", "cannot be read"),
        ):
            with pytest.raises(ClientDataError, match=says) as caught:
                load([path])
            assert "secret" not in str(caught.value)

    def test_hash_of_a_source_is_of_its_bytes(self, tmp_path: Path, write: Write) -> None:
        path = write(row("a"))
        expected = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert source_sha256(path) == source_sha256(f"file://{path}") == expected
        with pytest.raises(ClientDataError, match="there is no such file"):
            source_sha256(str(tmp_path / "none"))

    def test_credentials_never_show(self) -> None:
        assert shown("https://user:pw@host/rows.jsonl?X-Signature=abc") == "https://host/rows.jsonl"
        assert shown("/a/b?c") == "/a/b?c"


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["messages", "text", "label", "id", "split", "weight", "metadata", "role", "content", "other"])
turn = st.dictionaries(st.sampled_from(["role", "content", "name"]), st.sampled_from(["user", "assistant", "x"]) | junk)
garbage = (
    st.dictionaries(fields, junk | st.lists(turn, max_size=3)).map(orjson.dumps)
    | st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode(errors="replace"))
    | st.sampled_from([b"{" * 5000, b'{"a":' * 2000, b'{"a": %s, "a": 1}' % (b"9" * 5000), b"text,label", b'"', b"a,b"])
    | st.binary(max_size=10).map(lambda noise: orjson.dumps(row()).replace(b"b", noise, 1))
)


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(garbage, max_size=5))
def test_no_garbage_gives_anything_but_a_refusal_in_one_line(lines: list[bytes]) -> None:
    use_case = UseCase(name="t", type="classification", system_prompt="Sort.", labels=("claim", "other"))
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(b"\n".join(lines))
        file.flush()
        for wanted in (use_case, None):
            message = refusal(file.name, wanted)
            assert message is None or (message.startswith(file.name) and len(message.splitlines()) == 1)


def refusal(path: str, use_case: UseCase | None) -> str | None:
    try:
        load([path], use_case=use_case)
    except ClientDataError as error:
        return str(error)
    return None
