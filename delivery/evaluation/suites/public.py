"""Public benchmarks from their owners' own files, by the same code as the suites that ship. Nothing is fetched.

``public_suite("gsm8k", Path("test.jsonl"))`` reads a row such as ``{"question": "...", "answer": "... #### 72"}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from delivery.artifacts import Suite
from delivery.errors import ConfigError
from delivery.evaluation.scoring.choices import LETTERS
from delivery.evaluation.suites.loading import (
    Line,
    Place,
    PublicReader,
    SuiteFile,
    checked_line,
    json_lines,
    read_bytes,
    suite_of_lines,
)
from delivery.evaluation.suites.references import ROLE_PLAY_RUBRIC

Row = Mapping[str, Any]
T = TypeVar("T")

FROZEN_TURNS = (
    "Hello. I am glad to see you. What has your day been like so far?",
    "Tell me something about yourself that not everybody knows.",
    "I am not sure that I can trust you. Why should I?",
    "Somebody told me that you are only a computer program. What do you say to that?",
    "I have to go soon. What do you want us to do now?",
)
"""What the user says in a role play of RPBench, whose files hold personas and scenes but no user's turns."""

PAIR_JUDGE = {"rubric": "The better answer does what the request asks, is right in what it states, and is clear."}
PLAY_JUDGE = {"rubric": "Good role play is in the character's voice and keeps to its description and to the scene."}


class Benchmark(NamedTuple):
    """A public benchmark: what its suite is, and how a row of its file (and its number there) becomes a sample's line."""

    about: SuiteFile
    line: Callable[[Row, int], dict[str, Any]]
    answer: Callable[[Row, int], tuple[str, str]] | None = None
    """From a row of recorded answers to the id or the text of its question, and the answer."""


def public_suite(reader: PublicReader, path: Path, *, answers: Path | None = None) -> Suite:
    """A benchmark's own file as a suite; ``reader`` is a name in ``BENCHMARKS``.

    The file holds JSON lines, a JSON list, or Parquet. ``answers`` is a file of another model's recorded answers in the
    benchmark's own shape, which are to be beaten (AlpacaEval, Arena-Hard); they become ``expected``.

    Raises:
        ConfigError: no such reader, a file cannot be read, or a row is none of this benchmark; names file and row.
    """
    benchmark = BENCHMARKS.get(reader)
    if benchmark is None:
        raise ConfigError(f"public_source: there is no reader {reader!r}; there are: {', '.join(BENCHMARKS)}")
    recorded: dict[str, str] | None = None
    if answers is not None:
        if benchmark.answer is None:
            raise ConfigError(f"{answers}: {reader} takes no file of recorded answers")
        recorded = dict(_converted(benchmark.answer, row, place) for place, row in _rows(answers))
    return suite_of_lines(benchmark.about, _lines(benchmark, path, recorded), where=path)


def _lines(benchmark: Benchmark, path: Path, recorded: dict[str, str] | None) -> Iterator[tuple[Place, Line]]:
    for place, row in _rows(path):
        document = _converted(benchmark.line, row, place)
        if recorded is not None:
            answer = recorded.get(document["id"], recorded.get(document["input"]))
            if answer is None:
                raise ConfigError(f"{place}: {document['id']!r} has no answer in the file of recorded ones")
            document["expected"] = answer
        yield place, checked_line(document, place)


def _converted(convert: Callable[[Row, int], T], row: Any, place: Place) -> T:
    try:
        return convert(row, place.number)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        what = f"there is no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{place}: is no row of this benchmark: {what}") from error


def _rows(path: Path) -> Iterator[tuple[Place, Any]]:
    if path.suffix == ".parquet":
        return _numbered(path, _parquet(path))
    content = read_bytes(path).lstrip()
    if not content.startswith(b"["):
        return json_lines(path)
    try:
        return _numbered(path, orjson.loads(content))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}: is not JSON ({error.msg}, line {error.lineno})") from error


def _numbered(path: Path, rows: Iterable[Any]) -> Iterator[tuple[Place, Any]]:
    return ((Place(path, number), row) for number, row in enumerate(rows, start=1))


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        line = str(error).strip().split("\n", 1)[0]
        raise ConfigError(f"{path}: cannot be read as Parquet ({line})") from error


def _mmlu_pro(row: Row, _: int) -> dict[str, Any]:
    options = list(row["options"])
    while options[-1] == "N/A":
        options.pop()
    return {
        "id": str(row["question_id"] if "question_id" in row else row["id"]),
        "input": row["question"],
        "expected": row["answer"],
        "reference": {"options": options},
        "metadata": {"category": row["category"]},
    }


def _ifeval(row: Row, _: int) -> dict[str, Any]:
    # Some copies of the file give every rule all arguments, empty where they are another's.
    given = [{key: value for key, value in one.items() if value is not None} for one in row["kwargs"]]
    rules = [{"id": kind, "kwargs": kwargs} for kind, kwargs in zip(row["instruction_id_list"], given, strict=True)]
    return {
        "id": str(row["key"]),
        "input": row["prompt"],
        "reference": {"instructions": rules},
        "metadata": {"instructions": str(len(rules))},
    }


def _gsm8k(row: Row, number: int) -> dict[str, Any]:
    _, mark, result = row["answer"].rpartition("####")
    if not mark:
        raise ValueError("answer: has no '####' before its result")
    return {"id": f"gsm8k-{number}", "input": row["question"], "expected": result.strip(), "reference": {"numeric": True}}


def _rpbench_character(row: Row, _: int) -> dict[str, Any]:
    profile = row["npc_profile"]
    about = (row["background"], f"Name: {profile['name_text']}", profile["title"], profile["long_definition_text"])
    return _role_play(row, persona="\n".join(about), scene=[], name=profile["name_text"])


def _rpbench_scene(row: Row, _: int) -> dict[str, Any]:
    profile = row["npc_profile"]
    scene = [row[key] for key in ("background", "plot_recap", "objectives", "progression")]
    persona = [f"{key}: {value}" for key, value in profile.items()]
    return _role_play(row, persona="\n".join([*persona, f"Now: {row['npc_status']}"]), scene=scene, name=profile["name"])


def _role_play(row: Row, *, persona: str, scene: list[str], name: str) -> dict[str, Any]:
    said = "\n".join(sentence.strip() for turn in row["conversation"] for sentence in turn["sentences"])
    return {
        "id": str(row["id"]),
        "reference": {
            "persona": persona,
            "scene": "\n\n".join([*scene, f"What the character has just said or done:\n{said}"]),
            "turns": FROZEN_TURNS,
            "rubric": ROLE_PLAY_RUBRIC,
        },
        "metadata": {"persona": name},
    }


def _alpaca_eval(row: Row, number: int) -> dict[str, Any]:
    document = {"id": f"alpaca-{number}", "input": row["instruction"], "expected": row.get("output", "")}
    return document | {"metadata": {"dataset": row.get("dataset", "alpaca_eval")}}


def _alpaca_eval_answer(row: Row, _: int) -> tuple[str, str]:
    return row["instruction"], row["output"]


def _arena_hard(row: Row, _: int) -> dict[str, Any]:
    turns = [turn["content"] for turn in row["turns"]] if "turns" in row else [row["prompt"]]
    if len(turns) != 1:
        raise ValueError(f"turns: has {len(turns)}; a question is one")
    category = str(row.get("subcategory") or row.get("category") or "arena-hard")
    return {"id": _arena_hard_id(row), "input": turns[0], "metadata": {"category": category}}


def _arena_hard_answer(row: Row, _: int) -> tuple[str, str]:
    said = row["messages"][-1] if "messages" in row else row["choices"][0]["turns"][0]
    content = said["content"]
    return _arena_hard_id(row), content["answer"] if isinstance(content, dict) else content


def _arena_hard_id(row: Row) -> str:
    return str(row["uid"] if "uid" in row else row["question_id"])


def _about(name: str, **changes: Any) -> SuiteFile:
    return SuiteFile.model_validate({"name": name, "kind": "general", "description": name, "licence": "its owner's", **changes})


_LETTER_PROMPT = (
    "Answer the question with one of its options. Think step by step where that helps, and end with a line "
    f"'Answer: X', where X is the letter of the option, from {LETTERS[0]} to {LETTERS[-1]}."
)
_NUMBER_PROMPT = "Solve the problem step by step, and end with a line 'Answer: N', where N is the number alone."
_PLAY_PROMPT = "You play the character described below in the scene described below. Answer in its voice; never leave the role."
_PLAY = {
    "kind": "role_play",
    "scorer": "role_play",
    "slices": ["persona"],
    "cluster_key": "persona",
    "system_prompt": _PLAY_PROMPT,
    "judge": PLAY_JUDGE,
}
_PAIRS = {"kind": "preference", "scorer": "generation", "judge": PAIR_JUDGE}

BENCHMARKS: dict[PublicReader, Benchmark] = {
    "mmlu_pro": Benchmark(
        _about("mmlu_pro", scorer="choice", slices=["category"], system_prompt=_LETTER_PROMPT),
        _mmlu_pro,
    ),
    "ifeval": Benchmark(_about("ifeval", scorer="instructions", slices=["instructions"]), _ifeval),
    "gsm8k": Benchmark(_about("gsm8k", scorer="qa", system_prompt=_NUMBER_PROMPT), _gsm8k),
    "rpbench_character": Benchmark(_about("rpbench_character", **_PLAY), _rpbench_character),
    "rpbench_scene": Benchmark(_about("rpbench_scene", **_PLAY), _rpbench_scene),
    "alpaca_eval": Benchmark(_about("alpaca_eval", slices=["dataset"], **_PAIRS), _alpaca_eval, _alpaca_eval_answer),
    "arena_hard": Benchmark(_about("arena_hard", slices=["category"], **_PAIRS), _arena_hard, _arena_hard_answer),
}
"""What can be read, by name: the rows of each benchmark's published files (Arena-Hard: of both its versions)."""
