from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from delivery.artifacts import Example, Message
from delivery.client_config import UseCase
from delivery.dataset import load, read
from tests.delivery.dataset.conftest import Write

WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOL = {"type": "function", "function": WEATHER}
CALL = '<tool_call>\n{"arguments":{"city":"Jena","day":1},"name":"weather"}\n</tool_call>'


def user(content: Any = "How is it in Jena?") -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = "Fine.", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def calling(arguments: Any = '{"day": 1, "city": "Jena"}', **fields: Any) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": "weather", "arguments": arguments}, **fields}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def only(write: Write, *rows: Any, use_case: UseCase | None = None, name: str = "rows") -> Example:
    (example,) = load([write(*rows, name=name)], use_case=use_case).examples
    return example


def wrong(write: Write, *rows: Any) -> str:
    path = write(*rows)
    (problem,) = read([path]).problems
    return problem.removeprefix(f"{path}:1: ")


class TestTools:
    def test_a_call_is_the_answer_as_text_with_sorted_keys(self, write: Write) -> None:
        given = only(write, {"messages": [user(), calling(id="c1")], "tools": [TOOL]})
        assert given.answer == CALL
        assert given.messages[1] == Message("user", "How is it in Jena?")
        assert given.metadata == {}

    @pytest.mark.parametrize(
        "arguments", ['{"city":"Jena","day":1}', {"day": 1, "city": "Jena"}, ' {\n"day": 1, "city": "\\u004aena"} ']
    )
    def test_equal_calls_are_equal_answers(self, write: Write, arguments: Any) -> None:
        assert only(write, {"messages": [user(), calling(arguments)]}).answer == CALL

    def test_tools_end_the_system_message_whoever_wrote_it(self, write: Write, extraction: UseCase) -> None:
        turns = [user(), assistant('{"amount": 1}')]
        own = {"role": "system", "content": "Mine."}
        block = only(write, {"messages": turns, "tools": [TOOL]}).messages[0]
        assert block.role == "system"
        parameters = '{"properties":{"city":{"type":"string"}},"type":"object"}'
        definition = f'{{"function":{{"name":"weather","parameters":{parameters}}},"type":"function"}}'
        assert f"<tools>\n{definition}\n</tools>" in block.content
        for messages, use_case, said in (
            (turns, extraction, "Extract."),
            ([own, *turns], extraction, "Mine."),
            ([own, *turns], None, "Mine."),
        ):
            given = only(write, {"messages": messages, "tools": [TOOL]}, use_case=use_case)
            assert given.messages == (Message("system", f"{said}\n\n{block.content}"), Message("user", "How is it in Jena?"))

    @pytest.mark.parametrize("tools", [[WEATHER], orjson.dumps([TOOL]).decode(), [{"function": WEATHER}]])
    def test_definitions_are_the_same_however_they_are_written(self, write: Write, tools: Any) -> None:
        expected = only(write, {"messages": [user(), assistant()], "tools": [TOOL]})
        assert only(write, {"messages": [user(), assistant()], "tools": tools}).messages == expected.messages
        assert only(write, {"messages": [user(), assistant()], "functions": [WEATHER]}).messages == expected.messages

    @pytest.mark.parametrize("tools", [None, [], ""])
    def test_no_tools_add_nothing(self, write: Write, tools: Any) -> None:
        given = only(write, {"messages": [user(), assistant()], "tools": tools, "parallel_tool_calls": False})
        assert (len(given.messages), given.metadata) == (1, {})

    def test_results_become_one_user_turn(self, write: Write) -> None:
        both = calling(id="a")
        both["tool_calls"].append({**both["tool_calls"][0], "id": "b"})
        turns = [
            user(),
            both,
            {"role": "tool", "tool_call_id": "a", "content": "12 °C"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            assistant("Mild."),
        ]
        given = only(write, {"messages": turns})
        assert given.messages[1:] == (
            Message("assistant", f"{CALL}\n{CALL}"),
            Message("user", "<tool_response>\n12 °C\n</tool_response>\n<tool_response>\n\n</tool_response>"),
        )
        assert given.answer == "Mild."

    def test_text_beside_a_call_stands_before_it(self, write: Write) -> None:
        assert only(write, {"messages": [user(), {**calling(), "content": "One moment."}]}).answer == f"One moment.\n{CALL}"
        assert only(write, {"messages": [user(), {**calling(), "content": " "}]}).answer == CALL

    def test_the_older_form_of_a_call(self, write: Write) -> None:
        older = {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "weather", "arguments": '{"day":1,"city":"Jena"}'},
        }
        turns = [user(), older, {"role": "function", "name": "weather", "content": "mild"}, older]
        given = only(write, {"messages": turns})
        assert [m.role for m in given.messages] == ["user", "assistant", "user"]
        assert given.messages[1].content == given.answer == CALL

    @pytest.mark.parametrize(
        ("turn", "says"),
        [
            (calling("{"), "messages[1].tool_calls[0].function.arguments: is not valid JSON"),
            (calling("[1]"), "messages[1].tool_calls[0].function.arguments: is a list; write a JSON object"),
            (calling('{"a": 1, "a": 2}'), "messages[1].tool_calls[0].function.arguments: 'a' is given twice"),
            (calling('{"a": 98765432109876543210987}'), "messages[1].tool_calls[0].function.arguments: '9.87"),
            (calling(function=None), "messages[1].tool_calls[0].function: is a NoneType"),
            (calling(function={"arguments": "{}"}), "messages[1].tool_calls[0].function.name: is missing"),
            (assistant(tool_calls="f()"), "messages[1].tool_calls: is a str; write a list of calls"),
            (assistant(tool_calls=["f()"]), "messages[1].tool_calls[0]: is a str; write an object"),
            (assistant(None, tool_calls=[]), "messages[1].content: is missing or empty"),
        ],
    )
    def test_what_is_wrong_with_a_call_is_named(self, write: Write, turn: dict[str, Any], says: str) -> None:
        assert wrong(write, {"messages": [user(), turn]}).startswith(says)

    @pytest.mark.parametrize("ids", [("b",), ("a", "a"), ("a", None)])
    def test_a_result_out_of_place_is_refused(self, write: Write, ids: tuple[str | None, ...]) -> None:
        results = [{"role": "tool", "tool_call_id": own, "content": "x"} for own in ids]
        said = wrong(write, {"messages": [user(), calling(id="a"), *results, assistant()]})
        assert "answers none of the calls made just before" in said
        assert "put each result in its call's place" in said

    @pytest.mark.parametrize(
        ("tools", "says"),
        [
            ({"a": 1}, "tools: is a dict; write a list of tools"),
            (["weather"], "tools[0]: is a str"),
            ([{"function": "weather"}], "tools[0].function: is a str"),
            ("[", "tools: is not valid JSON"),
        ],
    )
    def test_what_is_wrong_with_tools_is_named(self, write: Write, tools: Any, says: str) -> None:
        assert wrong(write, {"messages": [user(), assistant()], "tools": tools}).startswith(says)


class TestChat:
    @pytest.mark.parametrize(("last", "row", "expected"), [(0, None, 0.0), (1, None, 1.0), (None, 3, 3.0), (0.5, 3, 1.5)])
    def test_weight_of_the_answer_multiplies_the_rows(self, write: Write, last: Any, row: Any, expected: float) -> None:
        turns = [user(), assistant(weight=0), user(), assistant(weight=last)]
        assert only(write, {"messages": turns, "weight": row}).weight == expected

    @pytest.mark.parametrize(
        ("earlier", "last", "row", "expected"),
        [
            (None, 1, None, [0.0, 1.0]),
            (0, 1, 2, [0.0, 2.0]),
            (1, None, None, [1.0, 1.0]),
            (0.5, 3, 2, [1.0, 6.0]),
            (1, 0, 2, [2, 0]),
        ],
    )
    def test_an_earlier_turn_is_learned_where_it_has_a_weight(
        self, write: Write, earlier: Any, last: Any, row: Any, expected: list[float]
    ) -> None:
        turns = [user(), assistant(weight=earlier), user(), assistant(weight=last)]
        given = only(write, {"messages": turns, "weight": row})
        assert [given.messages[1].weight, given.weight] == expected
        assert given.messages[0].weight == given.messages[2].weight == 0.0

    def test_a_weight_that_is_not_given_changes_no_hash(self, write: Write) -> None:
        turns = [user(), assistant("Fine."), user(), assistant("Good.")]
        silent = [user(), assistant("Fine.", weight=0), user(), assistant("Good.", weight=1)]
        spoken = [user(), assistant("Fine.", weight=1), user(), assistant("Good.")]
        plain, same, other = (load([write({"messages": one})]) for one in (turns, silent, spoken))
        assert plain.fingerprint == same.fingerprint == "0d7ee8461f37b4e80e02a1fd4d61bea54c92a50a7bb7791440ca62911e107112"
        assert other.fingerprint != plain.fingerprint
        assert other.examples[0].input_key == plain.examples[0].input_key
        assert other.examples[0].input_sha256 == plain.examples[0].input_sha256

    def test_text_parts_are_joined(self, write: Write) -> None:
        parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        given = only(write, {"messages": [user(parts), assistant(parts)]})
        assert (given.messages[0].content, given.answer) == ("one\ntwo", "one\ntwo")

    def test_a_developers_message_is_the_systems(self, write: Write) -> None:
        given = only(write, {"messages": [{"role": "developer", "content": "Be kind."}, user(), assistant()]})
        assert given.messages[0] == Message("system", "Be kind.")

    def test_system_messages_and_empty_metadata_are_shared_by_rows(self, write: Write) -> None:
        system = {"role": "system", "content": "Be kind."}
        first, second = load([write(*({"messages": [system, user(), assistant(str(n))]} for n in range(2)))]).examples
        assert first.messages[0] is second.messages[0]
        assert first.metadata is second.metadata


class TestShareGpt:
    def test_speakers_become_roles(self, write: Write) -> None:
        said = [("system", "Be kind."), ("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "Goodbye")]
        path = write({"conversations": [{"from": who, "value": what} for who, what in said], "id": "c1", "lang": "en"})
        dataset = load([path])
        assert dataset.format == "sharegpt-jsonl"
        (given,) = dataset.examples
        assert [(m.role, m.content) for m in given.messages] == [
            ("system", "Be kind."),
            ("user", "Hi"),
            ("assistant", "Hello"),
            ("user", "Bye"),
        ]
        assert (given.answer, given.id, given.metadata) == ("Goodbye", "c1", {"lang": "en"})

    @pytest.mark.parametrize(
        "call",
        [
            {"arguments": {"city": "Jena", "day": 1}, "name": "weather"},
            [{"name": "weather", "arguments": '{"day":1,"city":"Jena"}'}],
        ],
    )
    def test_tools(self, write: Write, call: Any) -> None:
        said = [("human", "Hi"), ("function_call", orjson.dumps(call).decode()), ("observation", "mild"), ("gpt", "Mild.")]
        turns = [{"from": who, "value": what} for who, what in said]
        given = only(write, {"conversations": turns, "tools": orjson.dumps([WEATHER]).decode(), "system": "Be kind."})
        assert given.messages[0].content.startswith("Be kind.\n\nThese functions can be called:\n<tools>")
        assert given.messages[2:] == (Message("assistant", CALL), Message("user", "<tool_response>\nmild\n</tool_response>"))
        assert only(write, {"conversations": turns[:2]}).answer == CALL

    def test_chats_own_turns_are_read_under_this_key(self, write: Write) -> None:
        assert only(write, {"conversations": [user(), calling()]}).answer == CALL

    def test_two_system_messages_are_refused(self, write: Write) -> None:
        turns = [{"from": who, "value": "x"} for who in ("system", "human", "gpt")]
        assert wrong(write, {"conversations": turns, "system": "Be kind."}).startswith("system: stands beside")


class TestAlpaca:
    def test_instruction_and_input_are_one_turn(self, write: Write, extraction: UseCase) -> None:
        row = {"instruction": "Add.", "input": "1, 2", "output": "3", "system": "Count.", "history": [["Hi", "Hello"]]}
        dataset = load([write(row)])
        assert dataset.format == "alpaca-jsonl"
        (given,) = dataset.examples
        assert given.messages == (
            Message("system", "Count."),
            Message("user", "Hi"),
            Message("assistant", "Hello"),
            Message("user", "Add.\n\n1, 2"),
        )
        assert (given.answer, given.metadata) == ("3", {})

    @pytest.mark.parametrize("nothing", [None, "", " \n"])
    def test_an_empty_input_adds_nothing(self, write: Write, nothing: Any) -> None:
        row = {"instruction": "Add.", "input": nothing, "output": "3", "history": []}
        assert only(write, row).messages == (Message("user", "Add."),)

    def test_csv(self, write: Write) -> None:
        dataset = load([write("instruction,input,output,split", 'Add.,"1, 2",3,test', name="a.csv")])
        (given,) = dataset.examples
        assert (dataset.format, given.messages[0].content, given.split) == ("alpaca-csv", "Add.\n\n1, 2", "test")


class TestPromptCompletion:
    def test_strings(self, write: Write) -> None:
        dataset = load([write({"prompt": "Q: ", "completion": " A\n", "id": 3, "split": "test", "weight": 2, "topic": "x"})])
        (given,) = dataset.examples
        assert dataset.format == "prompt-completion-jsonl"
        assert given.messages == (Message("user", "Q: "),)
        assert (given.answer, given.id, given.split, given.weight, given.metadata) == (" A\n", "3", "test", 2.0, {"topic": "x"})

    def test_messages(self, write: Write) -> None:
        prompt = [{"role": "system", "content": "Be kind."}, user("Hi"), assistant("Hello"), user("Bye")]
        given = only(write, {"prompt": prompt, "completion": [assistant("Goodbye", weight=0)]})
        assert ([m.role for m in given.messages], given.answer) == (["system", "user", "assistant", "user"], "Goodbye")
        assert given.weight == 0.0

    def test_csv(self, write: Write) -> None:
        dataset = load([write("prompt,completion,id", '"Why?\nTell me.",So.,7', name="a.csv")])
        (given,) = dataset.examples
        assert (dataset.format, given.messages[0].content, given.id) == ("prompt-completion-csv", "Why?\nTell me.", "7")

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ({"prompt": [assistant()], "completion": "b"}, "prompt[0]: is the assistant's; the prompt has to end with"),
            ({"prompt": "a", "completion": [user()]}, "completion[0]: is the user's; give one message"),
            ({"prompt": "a", "completion": {"a": 1}}, "completion: is a dict; write a string"),
        ],
    )
    def test_what_is_wrong_is_named(self, write: Write, row: dict[str, Any], says: str) -> None:
        assert wrong(write, row).startswith(says)


class TestPreference:
    def test_openais_shape(self, write: Write, triage: UseCase) -> None:
        row = {
            "input": {"messages": [user("Hi")], "tools": [TOOL], "parallel_tool_calls": True},
            "preferred_output": [assistant("Claim")],
            "non_preferred_output": [calling()],
            "id": "p1",
        }
        dataset = load([write(row)], use_case=triage)
        (given,) = dataset.examples
        assert dataset.format == "openai-preference-jsonl"
        assert (given.answer, given.rejected, given.id, given.messages[-1]) == ("Claim", CALL, "p1", Message("user", "Hi"))
        assert given.messages[0].content.startswith("Sort the message.\n\nThese functions")

    @pytest.mark.parametrize(
        "row",
        [
            {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"},
            {"prompt": [user("Hi")], "chosen": [assistant("Hello")], "rejected": [assistant("Go away")]},
            {"prompt": "Hi", "chosen": [user("Hi"), assistant("Hello")], "rejected": [user("Hi"), assistant("Go away")]},
        ],
    )
    def test_trls_shapes(self, write: Write, row: dict[str, Any]) -> None:
        dataset = load([write(row)])
        (given,) = dataset.examples
        assert dataset.format == "preference-jsonl"
        assert (given.messages, given.answer, given.rejected) == ((Message("user", "Hi"),), "Hello", "Go away")

    def test_a_side_with_another_prompt_is_refused(self, write: Write) -> None:
        row = {"prompt": "Hi", "chosen": "Hello", "rejected": [user("Hey"), assistant("Go away")]}
        assert wrong(write, row).startswith("rejected: has messages that differ from the prompt's")

    def test_the_rejected_answer_is_part_of_the_fingerprint(self, write: Write) -> None:
        first, second, same = (
            load([write({"prompt": "Hi", "chosen": "Hello", "rejected": rejected}, name=name)]).fingerprint
            for name, rejected in (("1", "Go away"), ("2", "What?"), ("3", "Go away"))
        )
        assert first == same != second


EVERY = {
    "chat-jsonl": [{"messages": [user("a"), assistant("b")]}],
    "text-label-jsonl": [{"text": "a", "label": "b"}],
    "text-label-csv": ["text,label", "a,b"],
    "prompt-completion-jsonl": [{"prompt": "a", "completion": "b"}],
    "prompt-completion-csv": ["prompt,completion", "a,b"],
    "sharegpt-jsonl": [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}],
    "alpaca-jsonl": [{"instruction": "a", "output": "b"}],
    "alpaca-csv": ["instruction,output", "a,b"],
    "openai-preference-jsonl": [
        {"input": {"messages": [user("a")]}, "preferred_output": [assistant("b")], "non_preferred_output": [assistant("c")]}
    ],
    "preference-jsonl": [{"prompt": "a", "chosen": "b", "rejected": "c"}],
    "preference-csv": ["prompt,chosen,rejected", "a,b,c"],
}


@pytest.mark.parametrize("shape", EVERY)
def test_every_format_plain_and_packed_is_recognised_by_its_content(write: Write, shape: str) -> None:
    plain = write(*EVERY[shape], name="plain")
    packed = f"{plain}.other"
    Path(packed).write_bytes(gzip.compress(Path(plain).read_bytes()))
    named_otherwise = write(*EVERY[shape], name="plain.parquet.gz")
    for path in (plain, packed, named_otherwise):
        dataset = load([path])
        (given,) = dataset.examples
        assert dataset.format == shape
        assert (given.messages, given.answer) == ((Message("user", "a"),), "b")
        assert given.key == given.input_key
    assert load([plain]).fingerprint == load([packed]).fingerprint


@pytest.mark.parametrize("shape", EVERY)
def test_every_format_takes_id_and_split(write: Write, shape: str) -> None:
    first, *others = EVERY[shape]
    rows = [f"{first},id,split", f"{others[0]},7,test"] if isinstance(first, str) else [{**first, "id": 7, "split": "test"}]
    given = only(write, *rows)
    assert (given.id, given.split, given.metadata) == ("7", "test", {})


def test_a_file_of_several_gzip_members_is_one_file(tmp_path: Path) -> None:
    members = b"".join(gzip.compress(orjson.dumps({"text": str(n), "label": "x"}) + b"\n") for n in range(3))
    (tmp_path / "rows.gz").write_bytes(members + bytes(512))
    assert len(load([str(tmp_path / "rows.gz")]).examples) == 3


def test_fingerprints_of_earlier_versions_hold(write: Write) -> None:
    """Stored results are addressed by them."""
    rows = [
        {"messages": [user("Ärger"), assistant("ja")], "weight": 0.5, "metadata": {"b": 1, "a": "x"}},
        {"messages": [{"role": "system", "content": "s"}, user("b"), assistant("c")], "id": 7, "split": "test"},
    ]
    assert load([write(*rows)]).fingerprint == "2cc2b10e346eb3ef1804171e640099edd7a17680c7118f04ae38f0a26cde0940"
