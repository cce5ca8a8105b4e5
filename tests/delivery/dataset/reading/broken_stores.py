"""Broken files, made by hand, of the other formats and containers, and things that are no files of rows at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.delivery.dataset.reading.broken_files import GOOD, MIB, Broken, holding, packed, rows, text_file

PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}
SHARE = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
ALPACA = {"instruction": "a", "output": "b"}
OPENAI_PAIR = {
    "input": {"messages": [{"role": "user", "content": "a"}]},
    "preferred_output": [{"role": "assistant", "content": "b"}],
    "non_preferred_output": [{"role": "assistant", "content": "c"}],
}


def after(name: str, good: dict[str, Any], wrong: dict[str, Any], says: str) -> Broken:
    return Broken(name, holding(rows(good, {**good, **wrong})), says, 2)


FORMATS = [
    after("text a list", {"text": "a", "label": "b"}, {"text": ["a"]}, "text: is a list"),
    after("label true", {"text": "a", "label": "b"}, {"label": True}, "label: is a bool"),
    after("completion missing", {"prompt": "a", "completion": "b"}, {"completion": None}, "completion: is missing"),
    after("rated completion", {"prompt": "a", "completion": "b"}, {"label": False}, "label: is a rating of the completion"),
    after("prompt of no message", {"prompt": "a", "completion": "b"}, {"prompt": []}, "prompt: has to be a list"),
    after("both answers the same", PAIR, {"chosen": "c"}, "rejected: is the same as chosen"),
    after("rejected blank", PAIR, {"rejected": " "}, "rejected: is blank"),
    after("side with another prompt", PAIR, {"chosen": SHARE["conversations"]}, "chosen[0].role:"),
    after("input a string", OPENAI_PAIR, {"input": "a"}, "input: is a str"),
    after("input without messages", OPENAI_PAIR, {"input": {}}, "input.messages: has to be a list"),
    after("unknown key of input", OPENAI_PAIR, {"input": {"messages": [], "n": 1}}, "input: unknown key 'n'"),
    after("preferred by the user", OPENAI_PAIR, {"preferred_output": OPENAI_PAIR["input"]["messages"]}, "[0]: is the user's"),
    after("unknown speaker", SHARE, {"conversations": [{"from": "bot", "value": "b"}]}, "[0].from: 'bot' is not one of human"),
    after("nobody speaks", SHARE, {"conversations": []}, "conversations: has to be a list"),
    after(
        "call that is no JSON",
        SHARE,
        {"conversations": [SHARE["conversations"][0], {"from": "function_call", "value": "f(1)"}]},
        "conversations[1].value: is not valid JSON",
    ),
    after("history of single texts", ALPACA, {"history": ["a"]}, "history[0]: is no [instruction, output] pair"),
    after("output a list", ALPACA, {"output": ["a", "b"]}, "output: is a list"),
]

CSV = [
    text_file("quote without end", b'text,label\na,b\nc,"d\ne,f\n', "is not valid CSV", 3),
    text_file("stray quote", b'text,label\na,b\n"c"x,d\n', "check the quotes of the row that begins here", 3),
    text_file("a column too many", b"text,label\na,b\nc,d,e\n", "has 3 columns where the header has 2", 3),
    text_file("a column too few", b"text,label\na,b\nc\n", "has 1 columns where the header has 2", 3),
    text_file("column named twice", b"text,label,TEXT\na,b,c\n", "the header names a column twice"),
    text_file("columns without a name", b"text,label,,\na,b,,\n", "the header has columns without a name"),
    text_file("semicolons", b"text;label\na;b\n", "Columns of a CSV are separated by commas", 2),
    text_file("tabs", b"text\tlabel\na\tb\n", "Columns of a CSV are separated by commas", 2),
    text_file("no header", b"where is it,delivery\nit broke,claim\n", "the format is not recognised", 2),
    text_file("CR line ends", b"text,label\ra,b\rc,d\r", "line ends of CR alone"),
    text_file("latin-1", "text,label\na,b\nGröße,c\n".encode("latin-1"), "is not UTF-8", 3),
    text_file("a field of 200,000 characters", b"text,label\na,b\n" + b"x" * 200_000 + b",b\n", "field larger than", 3),
    text_file(
        "a row without end",
        [b"text,label\na,b\n", *([b'"\na",' * 100_000] * 40)],
        "or 1,000,000 commas; look for a quote",
        None,
    ),
    text_file("5,000 columns", b",".join(b"c%d" % n for n in range(5000)) + b"\n", "the header has 5,000 columns"),
    text_file("ten million columns", b"ab," * 5_000_000 + b"\n", "has more than 16 MiB or 1,000,000 commas", 1),
    text_file("cell empty", b"text,label\na,b\n,c\n", "text: is missing or empty", 3),
    text_file("metadata a string", b"text,label,metadata\na,b,c\n", "metadata: is a str", 2),
    text_file("web page", b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n", "the format is not recognised", 2),
    text_file("header alone", b"text,label\n", "holds no rows", None),
]

OTHER_KINDS = [
    text_file("a million blank lines", b"\n" * 1_000_001 + GOOD, "ends 1,000,000 blank lines; take them out", 1_000_001),
    text_file("empty", b"", "holds no rows", None),
    text_file("blank lines", b"\n \n\t\r\n" * 1000, "holds no rows", None),
    text_file("mark alone", b"\xef\xbb\xbf", "holds no rows", None),
    text_file("workbook", b"PK\x03\x04\x14\x00" + bytes(100), "is a ZIP archive or an Excel workbook; export its table as CSV"),
    text_file("parquet", b"PAR1" + bytes(100), "is a Parquet file; export it as JSON lines"),
    text_file("noise", bytes(range(1, 256)) * 100, "is not UTF-8", 2),
    text_file("gzip cut off", packed(rows(*[GOOD] * 1000))[:-20], "the gzip data ends before its end", None),
    text_file("gzip header alone", packed(b"")[:10], "the gzip data ends before its end"),
    text_file("gzip of nothing", packed(b""), "holds no rows", None),
    text_file("gzip with noise behind", packed(rows(GOOD)) + b"\nmore", "other bytes follow it", 2),
    text_file("gzip with a wrong checksum", packed(rows(GOOD))[:-8] + bytes(8), "the gzip data is damaged", 2),
    text_file("gzip damaged inside", packed(rows(GOOD))[:10] + b"\xff" * 40, "the gzip data is damaged"),
    text_file("gzip in gzip", packed(packed(rows(GOOD))), "is gzip data that holds gzip data"),
    text_file("gzip of latin-1", packed(rows(GOOD) + b"\xff\n"), "is not UTF-8", 2),
    text_file("gzip bomb of blank lines", packed(b"\n" * MIB, 200), "ends 1,000,000 blank lines", 1_000_001),
    text_file("gzip bomb of one line", packed(b"x" * 64 * MIB, 20), "unpacks to more than 200 times its size"),
    text_file(
        "gzip bomb of one row",
        packed(rows(GOOD[:-2] + b" " * 9000 + GOOD[-2:]) * 200, 100),
        "unpacks to more than 200 times its size",
        None,
    ),
]


def special(name: str, make: Callable[[Path], Any], says: str) -> Broken:
    def build(folder: Path) -> str:
        path = folder / "rows.jsonl"
        make(path)
        return str(path)

    return Broken(name, build, says)


def at(name: str, path: str, says: str) -> Broken:
    return Broken(name, lambda folder: path.replace("{folder}", str(folder)), says)


def _listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        where = os.getcwd()
        os.chdir(path.parent)  # The path itself may be longer than a socket's may be.
        server.bind(path.name)
        os.chdir(where)


NO_FILES = [
    at("missing", "{folder}/none", "there is no such file"),
    at("path through a file", "/etc/hostname/rows.jsonl", "cannot be read (Not a directory)"),
    at("name too long", "{folder}/" + "x" * 5000, "cannot be read (File name too long)"),
    at("NUL in the path", "{folder}/a\0b", "cannot be read"),
    at("endless device", "/dev/zero", "is no regular file"),
    at("empty device", "/dev/null", "is no regular file"),
    at("endless device by URL", "file:///dev/zero", "is no regular file"),
    at("unknown protocol", "nothing://host/rows.jsonl", "cannot be read"),
    special("folder", Path.mkdir, "is a folder"),
    special("pipe", os.mkfifo, "is no regular file"),
    special("socket", _listening, "is no regular file"),
    special("link to itself", lambda path: path.symlink_to(path), "cannot be read (Too many levels of symbolic links)"),
    special("link to nothing", lambda path: path.symlink_to(path.parent / "none"), "there is no such file"),
    special("link to a folder", lambda path: path.symlink_to(path.parent), "is a folder"),
    special("link to a device", lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    Broken("line end in the name", holding(b"x\ny", "a\nb\u202e"), "the format is not recognised"),
]
