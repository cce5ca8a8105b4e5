"""Broken files, made by hand: one ``Broken`` each, built into a folder when a test needs it.

Rows stand between good ones, so that a reader has to name the right line.
"""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

GOOD = b'{"messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "On its way."}]}'
LABELED = b'{"text": "Where is it?", "label": "delivery"}'
MIB = 1 << 20


class Broken(NamedTuple):
    """``build`` makes it and gives its path; a message has to name ``line`` (None: the whole file) and say ``says``."""

    name: str
    build: Callable[[Path], str]
    says: str
    line: int | None = None


def rows(*lines: bytes | dict[str, Any], end: bytes = b"\n") -> bytes:
    return b"".join((line if isinstance(line, bytes) else orjson.dumps(line)) + end for line in lines)


def chat(*turns: Any, **fields: Any) -> dict[str, Any]:
    pairs = [{"role": t[0], "content": t[1]} if isinstance(t, tuple) else t for t in turns]
    return {"messages": pairs, **fields}


def ask(content: Any = "Where is it?", answer: Any = "On its way.", **fields: Any) -> dict[str, Any]:
    return chat(("user", content), ("assistant", answer), **fields)


def holding(content: bytes | Iterable[bytes], name: str = "rows") -> Callable[[Path], str]:
    def build(folder: Path) -> str:
        path = folder / name
        with path.open("wb") as stream:
            stream.writelines([content] if isinstance(content, bytes) else content)
        return str(path)

    return build


def second(name: str, row: bytes | dict[str, Any], says: str) -> Broken:
    """A wrong row after a good one and a blank line, before a good one."""
    return Broken(name, holding(rows(GOOD, b"", row, GOOD)), says, 3)


def text_file(name: str, content: bytes | Iterable[bytes], says: str, line: int | None = 1) -> Broken:
    return Broken(name, holding(content), says, line)


def packed(content: bytes, times: int = 1) -> bytes:
    block = gzip.compress(content, 9, mtime=0)
    return block * times


SURROGATES = "half a character is left of a pair"

ENCODINGS = [
    text_file("utf-16-le with mark", codecs.BOM_UTF16_LE + LABELED.decode().encode("utf-16-le"), "is UTF-16 text"),
    text_file("utf-16-be with mark", codecs.BOM_UTF16_BE + LABELED.decode().encode("utf-16-be"), "is UTF-16 text"),
    text_file("utf-32-le with mark", codecs.BOM_UTF32_LE + LABELED.decode().encode("utf-32-le"), "is UTF-32 text"),
    text_file("utf-32-be with mark", codecs.BOM_UTF32_BE + LABELED.decode().encode("utf-32-be"), "is UTF-32 text"),
    text_file("utf-16 without mark", LABELED.decode().encode("utf-16-le"), "holds a NUL byte"),
    text_file("ebcdic", LABELED.decode().encode("cp500"), "is not UTF-8"),
    second("latin-1", '{"text": "Größe", "label": "a"}'.encode("latin-1"), "is not UTF-8 (byte 0xf6 at position 13)"),
    second("nul byte", b'{"text": "\0", "label": "a"}', "holds a NUL byte"),
    text_file("cut in a character", rows(GOOD) + '{"text": "é'.encode()[:-1], "is not UTF-8", 2),
    second("overlong form", b'{"text": "\xc0\x80", "label": "a"}', "is not UTF-8 (byte 0xc0"),
    second("surrogate bytes", orjson.dumps(ask("x")).replace(b'"x"', b'"\xed\xa0\x80"'), "is not UTF-8 (byte 0xed"),
    second("mark in the middle", codecs.BOM_UTF8 + GOOD, "is not valid JSON"),
    text_file("two marks", codecs.BOM_UTF8 * 2 + rows(GOOD, GOOD), "the format is not recognised", 2),
    second("latin-1 after a good csv line", b"\xe9", "is not UTF-8"),
]

JSON = [
    text_file("cut off", rows(GOOD) + GOOD[:40], "the line ends in the middle; write each row on one line", 2),
    second("comma after the row", GOOD + b",", "end rows without a comma"),
    text_file("array", b"[" + GOOD + b",\n" + GOOD + b"]", "write one JSON object a line"),
    text_file("array of indented objects", b"\n[\n  {\n", "write one JSON object a line", 2),
    text_file("indented object", orjson.dumps(ask(), option=orjson.OPT_INDENT_2), "write one JSON object a line"),
    second("python, not JSON", repr(ask()).encode(), "it is written as Python, with single quotes"),
    second("NaN", b'{"text": "a", "label": NaN}', "NaN and Infinity are no JSON"),
    second("-Infinity", GOOD[:-1] + b', "weight": -Infinity}', "NaN and Infinity are no JSON"),
    second("1e400", GOOD[:-1] + b', "weight": 1e400}', "write numbers that a double holds"),
    second("first surrogate alone", orjson.dumps(ask("x")).replace(b'"x"', rb'"\ud83d"'), SURROGATES),
    second("second surrogate alone", orjson.dumps(ask("x")).replace(b'"x"', rb'"\ude00"'), SURROGATES),
    second("surrogates in the wrong order", orjson.dumps(ask("x")).replace(b'"x"', rb'"\ude00\ud83d"'), SURROGATES),
    second("surrogate in a key", GOOD[:-1] + rb', "\ud800": 1}', SURROGATES),
    second("surrogate in metadata", GOOD[:-1] + rb', "metadata": {"a": "\udfff"}}', SURROGATES),
    second("line end inside a text", b'{"messages": [{"role": "user", "content": "a\tb"}]}', "write line ends and tabs"),
    second("unknown escape", GOOD.replace(b"Where", rb"C:\path"), "write a backslash inside a text as"),
    second("key twice", GOOD[:-1] + b', "id": 1, "id": 2}', "'id': is given twice in one object"),
    second("key twice, once escaped", GOOD[:-1] + rb', "id": 1, "\u0069d": 2}', "'id': is given twice in one object"),
    second("key twice, spaced", GOOD[:-1] + b', "id" : 1, "id"\t: 2}', "'id': is given twice in one object"),
    second("role twice", GOOD.replace(b'"role": "user"', b'"role": "user", "role": "user"'), "'role': is given twice"),
    second(
        "key twice beside quoted colons",
        rb'{"messages": [{"role": "user", "role": "user", "content": "\":\\"}, {"role": "assistant", "content": "b"}]}',
        "'role': is given twice",
    ),
    second("nested 10,000 lists deep", GOOD[:-1] + b', "metadata": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "make it flatter"),
    second(
        "nested 10,000 objects deep",
        GOOD[:-1] + b', "metadata": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        "make it flatter",
    ),
    second("nested 10,000 deep, never closed", GOOD[:-1] + b', "metadata": ' + b"[" * 10_000, "make it flatter"),
    second("nested 600 deep", GOOD[:-1] + b', "metadata": {"a": ' + b"[" * 600 + b"]" * 600 + b"}}", "is nested too deeply"),
    second("id nested 1,000 deep", GOOD[:-1] + b', "id": ' + b"[" * 1000 + b"]" * 1000 + b"}", "is no id"),
    second("comment", b"// rows of March", "is not valid JSON"),
    second("two objects on a line", GOOD + GOOD, "is not valid JSON"),
    second("a string", b'"text"', "is a JSON str; write one JSON object a line"),
    second("a number", b"17", "is a JSON int"),
    second("null", b"null", "is a JSON NoneType"),
    text_file("CR line ends", rows(GOOD, GOOD, end=b"\r"), "line ends of CR alone; save the file with LF"),
    second("digits without end", GOOD[:-1] + b', "id": ' + b"9" * 100_000 + b"}", "write numbers that a double holds"),
    second("blank id", ask(id="\u2028"), "is no id"),
    text_file("a line of 50 MiB", [rows(GOOD), *([b"x" * MIB] * 50)], "is longer than 16 MiB; write one row a line", 2),
    text_file("blanks of 50 MiB", [rows(GOOD), *([b" " * MIB] * 50)], "is longer than 16 MiB", 2),
    text_file(
        "a line of a million objects",
        [rows(GOOD), b'{"a":[', b'{"":0},' * (2 * MIB), b"0]}"],
        "may hold more than 1,000,000",
        2,
    ),
    text_file("a line of a million keys", [rows(GOOD), b"{", b'"a":0,' * (2 * MIB), b'"a":0}'], "may hold more than", 2),
    text_file(
        "a line of 900,000 equal keys", [rows(GOOD), b"{", b'"a":0,' * 900_000, b'"a":0}'], "'a': is given twice in one", 2
    ),
    text_file("ten million characters", [rows(GOOD), rows(ask("x" * 10_000_000))], "more than 500,000 characters of text", 2),
    text_file(
        "four million characters that grow eighteenfold",
        [rows(GOOD), rows(ask("\ufdfa" * 4_000_000))],
        "more than 500,000 characters",
        2,
    ),
]

ROWS = [
    second("messages null", {"messages": None}, "messages: has to be a list"),
    second("messages an object", {"messages": {"role": "user"}}, "messages: has to be a list"),
    second("no messages", {"messages": []}, "messages: has to be a list"),
    second("a message that is a string", chat("hi"), "messages[0]: is a str"),
    second("no role", chat({"content": "a"}), "messages[0].role: 'None' is not one of system, user, assistant"),
    second("role in capitals", chat(("User", "a"), ("assistant", "b")), "messages[0].role: 'User' is not one of"),
    second("role a list", chat((["user"], "a"), ("assistant", "b")), "messages[0].role:"),
    second("content missing", chat({"role": "user"}, ("assistant", "b")), "messages[0].content: is missing or empty"),
    second("content null", ask(None), "messages[0].content: is missing or empty"),
    second("content empty", ask(""), "messages[0].content: is blank"),
    second("content a number", ask(7), "messages[0].content: is a int; write a string"),
    second("content an image", ask([{"type": "image_url", "image_url": {"url": "x"}}]), "[0].content[0]: is a part of kind"),
    second("content of empty parts", ask([]), "messages[0].content: is blank"),
    second("part without text", ask([{"type": "text"}]), "messages[0].content[0].text: is missing"),
    second("only zero-width", ask("\u200b\u200d\ufeff"), "messages[0].content: is blank"),
    second("only bidi marks", ask("\u202e\u2066\u2069"), "messages[0].content: is blank"),
    second("only control characters", ask("\x01\x02\x1b"), "messages[0].content: is blank"),
    second("NUL in a text", ask("a\0b"), "messages[0].content: holds a NUL character"),
    second("NUL in metadata", ask(metadata={"a": "\0"}), "metadata.a: holds a NUL character"),
    second("last message the user's", chat(("user", "a")), "messages[0]: is the user's; the last message has to be"),
    second("nobody asked", chat(("assistant", "a")), "messages[0]: answers no user message"),
    second("two answers", chat(("user", "a"), ("assistant", "b"), ("assistant", "c")), "messages[2]: answers no user message"),
    second(
        "system in the middle", chat(("user", "a"), ("system", "s"), ("user", "c"), ("assistant", "d")), "may only stand first"
    ),
    second("result without a call", chat(("user", "a"), ("tool", "b"), ("assistant", "c")), "may only follow a call"),
    second("unknown key in a message", ask() | chat({"role": "user", "content": "a", "name": "x"}), "unknown key 'name'"),
    second("message weight", chat(("user", "a"), {"role": "assistant", "content": "b", "weight": "x"}), "messages[1].weight:"),
    second("tools a string", ask(tools="none"), "tools: is not valid JSON"),
    second("tool without a name", ask(tools=[{"type": "function", "function": {}}]), "tools[0].function.name: is missing"),
    second("tool of another kind", ask(tools=[{"type": "web_search"}]), "tools[0].type: 'web_search' is no kind of tool"),
    second("another format", LABELED, "is a text-label row in a chat file"),
    second("two formats in one row", ask(text="a", label="b"), "has the keys of chat and text-label"),
    text_file("two formats in the first row", rows(ask(prompt="a", completion="b")), "are those of chat and prompt-completion"),
    text_file("unknown keys", rows({"question": "a", "answer": "b"}), "the format is not recognised from the keys"),
    second("id true", ask(id=True), "id: 'True' is no id"),
    second("id a fraction", ask(id=1.5), "id: '1.5' is no id"),
    second("id of 30 digits", GOOD[:-1] + b', "id": 123456789012345678901234567890}', "id: '1.2345678901234568e+29' is no id"),
    second("id an object", ask(id={"a": 1}), "id: \"{'a': 1}\" is no id"),
    second("id of 10 MB", ask(id="7" * 10_000_000), "is no id; give up to 200 printable characters"),
    second("id with a line end", ask(id="a\nb"), "id: 'a\\nb' is no id"),
    second("id that reads backwards", ask(id="a\u202eb"), "id: 'a\\u202eb' is no id"),
    Broken("id given twice", holding(rows(ask(id=1), ask("other", id=1))), "id: '1' is also the id of", 2),
    second("unknown split", ask(split="Train"), "split: 'Train' is not one of train, validation, test"),
    second("weight nan", ask(weight="nan"), "weight: 'nan' is no finite number"),
    second("weight infinite", ask(weight="1e999"), "weight: '1e999' is no finite number"),
    second("weight negative", ask(weight=-0.1), "weight: '-0.1' is no finite number"),
    second("weight a list", ask(weight=[1]), "weight: '[1]' is no finite number"),
    second("metadata a list", ask(metadata=[1]), "metadata: is a list"),
    second("key of a million characters", ask(**{"k" * 10**6: {}}), "kkk…': unknown key with nested values"),
    second("metadata key of a million characters", ask(metadata={"k" * 10**6: "\0"}), "kkk…': holds a NUL character"),
    second(
        "message key of a million characters", chat({**ask()["messages"][0], "k" * 10**6: 1}), "messages[0]: unknown key 'kkk"
    ),
    second(
        "weights whose product is infinite",
        chat(("user", "a"), {"role": "assistant", "content": "b", "weight": 1e300}, weight=1e300),
        "weight: 'inf' is no finite number",
    ),
    second("1,001 metadata fields", ask(metadata={str(n): n for n in range(1001)}), "metadata: the row has more than 1,000"),
    second("nested field beside the messages", ask(other={"a": 1}), "'other': unknown key with nested values"),
    second("number that loses digits", GOOD[:-1] + b', "account": 98765432109876543210987}', "too long to keep exactly"),
]
