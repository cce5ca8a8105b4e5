"""Benchmarks' own files: small ones of their published shapes, written for these tests, and the real ones where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from delivery.artifacts import Answer, SystemResult
from delivery.errors import ConfigError
from delivery.evaluation import System, public_suite, score, summarise
from delivery.evaluation.suites.public import BENCHMARKS, FROZEN_TURNS

MMLU_PRO = {
    "question_id": 7,
    "question": "Which is a prime?",
    "options": ["4", "7", "9", "N/A", "N/A"],
    "answer": "B",
    "answer_index": 1,
    "cot_content": "",
    "category": "math",
    "src": "x",
}
IFEVAL = {
    "key": 1,
    "prompt": "Write about rain without commas.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{"num_words": None, "relation": None}, {"num_words": 3, "relation": "at least"}],
}
GSM8K = {"question": "Ida has 600 nuts and gets 480. How many?", "answer": "600 + 480 = <<600+480=1080>>1080\n#### 1,080"}
CHARACTER = {
    "id": 3,
    "background": "You play a character.",
    "npc_profile": {"name_text": "Ana", "title": "a smith", "long_definition_text": "Ana forges bells.", "id": 9},
    "conversation": [{"from": "npc", "sentences": ["Well met."]}],
}
SCENE = {
    "id": 4,
    "npc_profile": {"name": "Bo", "age": "30"},
    "background": "A harbour.",
    "plot_recap": "The ship is late.",
    "objectives": "Wait.",
    "progression": "Ends when the ship comes.",
    "npc_status": "Cold.",
    "conversation": [{"from": "npc", "sentences": ["Any news?"], "is_chat_finished": False}],
}
ALPACA = {"dataset": "helpful_base", "instruction": "Name a colour.", "output": "Blue.", "generator": "m"}
ARENA_QUESTION = {"question_id": "q1", "category": "arena", "cluster": "c", "turns": [{"content": "Sort a list."}]}
ARENA_ANSWER = {"question_id": "q1", "model_id": "m", "choices": [{"index": 0, "turns": [{"content": "sorted(x)"}]}]}
ARENA_2_QUESTION = {"uid": "q2", "category": "hard_prompt", "subcategory": "coding", "prompt": "Reverse a list."}
ARENA_2_ANSWER = {
    "uid": "q2",
    "messages": [{"role": "user", "content": "Reverse a list."}, {"role": "assistant", "content": {"answer": "x[::-1]"}}],
}


def file(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(orjson.dumps(list(rows)) if path.suffix == ".json" else b"\n".join(map(orjson.dumps, rows)))
    return path


def scored(reader: Any, path: Path, outputs: dict[str, str]) -> SystemResult:
    suite = public_suite(reader, path)
    answers = [Answer(sample, output) for sample, output in outputs.items()]
    return summarise(suite, score(suite, answers), system=System("baseline", "m"))


def test_a_choice_drops_the_options_that_fill_up_the_row(tmp_path: Path) -> None:
    (sample,) = public_suite("mmlu_pro", file(tmp_path, MMLU_PRO)).samples
    assert sample.messages[-1].content == "Which is a prime?\nA. 4\nB. 7\nC. 9"
    assert (sample.id, sample.expected, sample.slices) == ("7", "B", {"category": "math"})


def test_rows_may_come_as_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([MMLU_PRO, {**MMLU_PRO, "question_id": 8}]), tmp_path / "test.parquet")
    assert (
        public_suite("mmlu_pro", tmp_path / "test.parquet").sha256
        == public_suite("mmlu_pro", file(tmp_path, MMLU_PRO, {**MMLU_PRO, "question_id": 8})).sha256
    )
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigError, match=r"torn\.parquet: cannot be read as Parquet"):
        public_suite("mmlu_pro", tmp_path / "torn.parquet")


def test_rules_come_without_the_arguments_of_others(tmp_path: Path) -> None:
    found = scored("ifeval", file(tmp_path, IFEVAL), {"1": "Rain falls, again"})
    assert (found.metrics["accuracy"].value, found.metrics["instruction_accuracy"].value) == (0.0, 0.5)


def test_a_problem_expects_the_number_after_its_mark(tmp_path: Path) -> None:
    assert scored("gsm8k", file(tmp_path, GSM8K), {"gsm8k-1": "It is 1080."}).metrics["accuracy"].value == 1.0


def test_personas_and_scenes_are_played_with_frozen_turns(tmp_path: Path) -> None:
    (ana,) = public_suite("rpbench_character", file(tmp_path, CHARACTER)).samples
    assert "Ana forges bells." in ana.reference["persona"]
    assert "Well met." in ana.reference["scene"]
    assert tuple(ana.reference["turns"]) == FROZEN_TURNS
    (bo,) = public_suite("rpbench_scene", file(tmp_path, SCENE)).samples
    assert (bo.cluster, bo.slices) == ("Bo", {"persona": "Bo"})
    assert "Cold." in bo.reference["persona"]
    assert all(text in bo.reference["scene"] for text in ("A harbour.", "The ship is late.", "Any news?"))


def test_pairs_take_the_recorded_answers_that_are_to_be_beaten(tmp_path: Path) -> None:
    alpaca = file(tmp_path, ALPACA, name="alpaca.json")
    assert public_suite("alpaca_eval", alpaca).samples[0].expected == "Blue."
    others = file(tmp_path, {**ALPACA, "output": "Green."}, name="other.json")
    suite = public_suite("alpaca_eval", alpaca, answers=others)
    assert (suite.samples[0].expected, suite.primary_metric, suite.kind) == ("Green.", "win_rate", "preference")
    questions = file(tmp_path, ARENA_QUESTION, ARENA_2_QUESTION)
    answers = file(tmp_path, ARENA_ANSWER, ARENA_2_ANSWER, name="answers.jsonl")
    arena = public_suite("arena_hard", questions, answers=answers)
    assert [sample.expected for sample in arena.samples] == ["sorted(x)", "x[::-1]"]
    assert [sample.slices["category"] for sample in arena.samples] == ["arena", "coding"]
    with pytest.raises(ConfigError, match=r"rows\.jsonl:2: 'q2' has no answer"):
        public_suite("arena_hard", questions, answers=file(tmp_path, ARENA_ANSWER, name="one.jsonl"))
    with pytest.raises(ConfigError, match="takes no file of recorded answers"):
        public_suite("gsm8k", file(tmp_path, GSM8K), answers=answers)


@pytest.mark.parametrize(
    ("reader", "row", "says"),
    [
        ("mmlu_pro", {"question": "x"}, "rows.jsonl:1: is no row of this benchmark: there is no 'options'"),
        ("mmlu_pro", {**MMLU_PRO, "answer": "E"}, "rows.jsonl:1: expected: 'E' is no letter from A to C"),
        ("ifeval", {**IFEVAL, "kwargs": [{}]}, "rows.jsonl:1: is no row of this benchmark: zip"),
        ("ifeval", {**IFEVAL, "instruction_id_list": ["a:b", "c:d"]}, "'a:b' is no kind of instruction"),
        ("gsm8k", {**GSM8K, "answer": "12"}, "has no '####'"),
        ("gsm8k", {**GSM8K, "answer": "#### many"}, "expected: 'many' is no number"),
        ("gsm8k", ["a list"], "rows.jsonl:1: is no row of this benchmark"),
        ("arena_hard", {**ARENA_QUESTION, "turns": []}, "turns: has 0"),
        ("rpbench_scene", CHARACTER, "there is no 'plot_recap'"),
    ],
)
def test_a_row_of_something_else_is_named(tmp_path: Path, reader: Any, row: Any, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        public_suite(reader, file(tmp_path, row))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_reader_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no reader 'glue'; there are: {', '.join(BENCHMARKS)}"):
        public_suite("glue", tmp_path / "x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"x\.jsonl: cannot be read"):
        public_suite("gsm8k", tmp_path / "x.jsonl")
    (tmp_path / "x.json").write_text("[{]")
    with pytest.raises(ConfigError, match=r"x\.json: is not JSON"):
        public_suite("alpaca_eval", tmp_path / "x.json")


def test_ifeval_gives_gpt_4_what_the_original_scorer_gave(shared_data: Path) -> None:
    lines = (shared_data / "ifeval" / "outputs.gpt-4.jsonl").read_bytes().splitlines()
    said = {row["prompt"]: row["response"] for row in map(orjson.loads, lines)}
    suite = public_suite("ifeval", shared_data / "ifeval" / "prompts.jsonl")
    answers = [Answer(sample.id, said[sample.messages[-1].content]) for sample in suite.samples]
    metrics = summarise(suite, score(suite, answers), system=System("baseline", "gpt-4")).metrics
    published = {
        "accuracy": 77.22,
        "instruction_accuracy": 83.77,
        "loose_accuracy": 79.63,
        "loose_instruction_accuracy": 85.58,
    }
    assert {name: 100 * metrics[name].value for name in published} == pytest.approx(published, abs=0.4)


def test_mmlu_pro_gives_gpt_4o_what_its_file_says(shared_data: Path) -> None:
    path = shared_data / "mmlu_pro" / "sample.jsonl"
    said = {row["id"]: f"The answer is ({row['gpt4o_pred']})." for row in map(orjson.loads, path.read_bytes().splitlines())}
    found = scored("mmlu_pro", path, said)
    assert 100 * found.metrics["accuracy"].value == pytest.approx(72.57, abs=0.005)
    assert found.metrics["invalid_rate"].value == pytest.approx(62 / 1400)


def test_rpbench_reads_whole(shared_data: Path) -> None:
    for reader, name in (("rpbench_character", "character"), ("rpbench_scene", "scene")):
        suite = public_suite(reader, shared_data / "rpbench" / f"{name}.jsonl")  # type: ignore[arg-type]
        assert len({sample.input_sha256 for sample in suite.samples}) == 80
