from __future__ import annotations

import csv
import io
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from delivery.artifacts import Example, Message, Splits
from delivery.client_config import UseCase
from delivery.dataset.labeling import ranking
from delivery.dataset.labeling.agreement import agree
from delivery.dataset.labeling.copies import copies_among, nearly_alike
from delivery.dataset.labeling.labels import read_labels
from delivery.dataset.labeling.pool import Unlabeled, read_unlabeled
from delivery.dataset.labeling.queue import Queue, rank_pool, write_queue
from delivery.dataset.labeling.slices import Scored
from delivery.dataset.reading.problems import RowProblems
from delivery.dataset.shingles import folded, shingles
from delivery.errors import ClientDataError
from tests.delivery.dataset.conftest import Write

CLAIM = "car crashed water broken stolen burnt damaged roof window accident lorry fence"
OTHER = "address changed contract question invoice renewal premium discount appointment letter phone account"


def sentence(words: str, seed: int, *, length: int = 8) -> str:
    return " ".join(random.Random(seed).sample(words.split(), length))


def asked(text: str, name: str = "") -> Unlabeled:
    row = Unlabeled(name, (Message("user", text),))
    return row if name else Unlabeled(row.input_key[:16], row.messages)


def answered(text: str, answer: str, name: str = "") -> Example:
    return Example(name or text, (Message("system", "Sort."), Message("user", text)), answer)


def train(count: int = 40) -> tuple[Example, ...]:
    return tuple(answered(sentence((CLAIM, OTHER)[n % 2], n), ("Claim", "Other")[n % 2]) for n in range(count))


def sides(rows: Sequence[Example], test: Sequence[Example] = ()) -> Splits:
    return Splits(train=tuple(rows), validation=(), test=tuple(test))


def texts(queue: Queue) -> list[str]:
    return [one.row.text for one in queue.rows]


def test_what_the_classifier_is_torn_about_comes_before_what_it_knows(triage: UseCase) -> None:
    sure = [asked(sentence((CLAIM, OTHER)[n % 2], 100 + n)) for n in range(60)]
    torn = [asked(sentence(CLAIM, 200 + n, length=5) + " " + sentence(OTHER, 200 + n, length=5)) for n in range(15)]
    queue = rank_pool([*sure, *torn], sides(train()), (), use_case=triage, size=12)
    assert {one.row.id for one in queue.rows} <= {row.id for row in torn}
    assert [one.rank for one in queue.rows] == list(range(1, 13))
    assert queue.rows[0].reason.startswith("unsure: ")
    assert queue.rows[0].suggestion in ("Claim", "Other")
    assert queue.rows[0].probability is not None
    assert 0.5 <= queue.rows[0].probability < 0.75


def test_what_is_near_a_failure_comes_before_what_is_as_unsure(triage: UseCase) -> None:
    weather = "hail storm thunder lightning gale blizzard frost flood snow ice"
    animal = "parrot rabbit hamster horse pony goat ferret turtle snake lizard"
    pool = [asked(sentence((weather, animal)[n % 2], n, length=6), str(n)) for n in range(40)]
    failures = [Scored(f"failed-{n}", sentence(animal, 300 + n, length=6), "Claim", "Other", 0.0) for n in range(5)]
    passed = [Scored(f"passed-{n}", sentence(weather, 300 + n, length=6), "Claim", "Claim", 1.0) for n in range(5)]
    with_failures = rank_pool(pool, sides(()), [*failures, *passed], use_case=triage, size=8)
    without = rank_pool(pool, sides(()), (), use_case=triage, size=8)
    near = [one for one in with_failures.rows if int(one.row.id) % 2]
    assert len(near) > sum(int(one.row.id) % 2 for one in without.rows)
    assert "like failed-" in near[0].reason
    assert not [one for one in with_failures.rows if "passed" in one.reason]


def test_failures_on_test_rows_steer_nothing(triage: UseCase) -> None:
    pool = [asked(sentence(CLAIM + " " + OTHER, n), str(n)) for n in range(60)]
    test = [answered(sentence(OTHER, 900 + n), "Other", f"t{n}") for n in range(4)]
    on_test = [Scored(f"t{n}", "shown otherwise", "Other", "Claim", 0.0) for n in range(2)]
    on_test += [Scored(f"renamed {n}", test[n].messages[1].content, "Other", "Claim", 0.0) for n in (2, 3)]
    steered = rank_pool(pool, sides(train(), test), on_test, use_case=triage, size=10)
    assert steered.rows == rank_pool(pool, sides(train(), test), (), use_case=triage, size=10).rows


def test_what_labeled_rows_stand_for_already_comes_later() -> None:
    labeled = [answered(sentence(CLAIM, n), "whatever") for n in range(20)]
    often = [asked(sentence(CLAIM, n), f"covered {n}") for n in range(30, 60)]
    seldom = [asked(sentence(OTHER, n), f"new {n}") for n in range(30, 40)]
    queue = rank_pool([*often, *seldom], sides(labeled), (), use_case=None, size=1)
    assert queue.rows[0].row.id.startswith("new")


def test_picks_are_spread_over_what_there_is(triage: UseCase) -> None:
    topics = [
        " ".join(f"{letter}{word}" for word in ("alpha", "beta", "gamma", "delta", "sigma", "kappa")) for letter in "bdfhjkmp"
    ]
    often = [asked(sentence(topics[0], n, length=5) + f" {n}") for n in range(60)]
    seldom = [asked(sentence(topic, n, length=5) + f" {n}") for topic in topics[1:] for n in range(6)]
    queue = rank_pool([*often, *seldom], sides(()), (), use_case=None, size=8)
    assert len({text[0] for text in texts(queue)}) == 8


def test_no_row_is_queued_that_is_labeled_already_on_any_side_to_the_letter_or_nearly(triage: UseCase) -> None:
    long = "My neighbour's tree fell onto the roof of our garage during the storm last night"
    labeled = [*train(), answered("what is the new address of your branch office", "Other")]
    held = [answered(long, "Claim", "held")]
    pool = [
        asked("WHAT is the new   address of your branch office"),
        asked(long.upper()),
        asked(long + "!"),
        asked(long.replace("last night", "last nite")),
        asked("a burst pipe in the cellar and water everywhere"),
    ]
    queue = rank_pool(pool, sides(labeled, held), (), use_case=triage, size=5)
    assert texts(queue) == ["a burst pipe in the cellar and water everywhere"]
    assert (queue.pool, queue.known) == (5, 2)


def test_no_two_rows_of_a_queue_are_nearly_alike(triage: UseCase) -> None:
    pool = [asked(f"the lorry hit my fence in front of the house number {n}") for n in range(30)]
    other = [asked(sentence(CLAIM, n)) for n in range(30)]
    queue = rank_pool([*pool, *pool, *other], sides(train()), (), use_case=triage, size=10)
    sets = [shingles(folded(text)) for text in texts(queue)]
    assert len(sets) == 10
    assert not any(nearly_alike(one, two) for place, one in enumerate(sets) for two in sets[:place])


def test_rows_that_were_refused_are_made_up_for(triage: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [sentence(CLAIM, n) for n in range(30)]
    pool = [asked(text + ".") for text in known] + [asked(sentence(OTHER, n)) for n in range(100, 140)]
    queue = rank_pool(pool, sides([answered(text, "Claim") for text in known]), (), use_case=triage, size=20)
    assert len(queue.rows) == 20
    assert not copies_among(texts(queue), known)


def test_an_extraction_is_unsure_of_its_fields_of_few_values_and_suggests_them(extraction: UseCase) -> None:
    def answer(n: int) -> str:
        return orjson.dumps({"amount": n, "kind": ("theft", "fire")[n % 2]}).decode()

    labeled = [answered(sentence((CLAIM, OTHER)[n % 2], n), answer(n)) for n in range(40)]
    sure = [asked(sentence((CLAIM, OTHER)[n % 2], 100 + n)) for n in range(40)]
    torn = [asked(sentence(CLAIM, 200 + n, length=5) + " " + sentence(OTHER, 200 + n, length=5)) for n in range(10)]
    queue = rank_pool([*sure, *torn], sides(labeled), (), use_case=extraction, size=8)
    assert {one.row.id for one in queue.rows} <= {row.id for row in torn}
    assert "unsure of kind: " in queue.rows[0].reason
    assert set(orjson.loads(queue.rows[0].suggestion)) == {"kind"}


def test_without_labels_or_failures_a_queue_covers_the_pool_and_suggests_nothing() -> None:
    qa = UseCase(name="qa", type="qa", system_prompt="Answer.")
    pool = [asked(sentence((CLAIM, OTHER)[n % 2], n)) for n in range(50)]
    queue = rank_pool(pool, sides(()), (), use_case=qa, size=10)
    assert len(queue.rows) == 10
    assert {(one.suggestion, one.probability) for one in queue.rows} == {("", None)}


def test_one_label_alone_leaves_nothing_to_be_unsure_of_but_picks_are_spread(triage: UseCase) -> None:
    labeled = [answered(sentence(CLAIM, n), "Claim") for n in range(10)]
    pool = [asked(sentence((CLAIM, OTHER)[n > 20], n), f"{('claim', 'other')[n > 20]} {n}") for n in range(50, 10, -1)]
    queue = rank_pool(pool, sides(labeled), (), use_case=triage, size=5)
    assert {(one.suggestion, one.probability) for one in queue.rows} == {("Claim", 1.0)}
    assert queue.rows[0].row.id.startswith("other")


@pytest.mark.parametrize("pool", [[], [asked(train()[0].messages[1].content)]])
def test_an_empty_or_fully_labeled_pool_makes_an_empty_queue(pool: list[Unlabeled], triage: UseCase) -> None:
    assert rank_pool(pool, sides(train()), (), use_case=triage, size=5).rows == ()


def test_the_same_seed_gives_the_same_queue(triage: UseCase) -> None:
    pool = [asked(sentence(CLAIM + " " + OTHER, n)) for n in range(120)]
    first, second = (rank_pool(pool, sides(train()), (), use_case=triage, size=20, seed=3) for _ in range(2))
    assert first == second


def test_a_large_pool_is_first_narrowed_to_what_words_alone_are_unsure_of(
    triage: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "CONSIDERED", 40)
    sure = [asked(sentence((CLAIM, OTHER)[n % 2], 100 + n)) for n in range(200)]
    torn = [asked(sentence(CLAIM, 200 + n, length=5) + " " + sentence(OTHER, 200 + n, length=5)) for n in range(15)]
    queue = rank_pool([*sure, *torn], sides(train()), (), use_case=triage, size=10)
    assert {one.row.id for one in queue.rows} <= {row.id for row in torn}


def test_near_copies_are_found_by_the_share_of_letters_in_a_row() -> None:
    known = ["The parcel never came to my house", "short"]
    asked_for = ["the parcel never  came to my house!", "the parcel came to our house today", "Short", "shorts and more"]
    assert copies_among(asked_for, known) == {0, 2}
    assert nearly_alike(shingles(folded("")), shingles(folded(" ")))


def test_a_queue_is_written_for_programs_and_for_spreadsheets(tmp_path: Path, triage: UseCase) -> None:
    formula = "=HYPERLINK(1) " + sentence(CLAIM, 1)
    chat = Unlabeled(
        "chat",
        (Message("user", "Hello\nthere"), Message("assistant", "Yes?"), Message("user", sentence(OTHER, 2))),
        {"channel": "app"},
    )
    queue = rank_pool([asked(formula, "0012"), chat], sides(train()), (), use_case=triage, size=2)
    write_queue(queue, tmp_path / "q.jsonl", tmp_path / "q.csv", "Choose one; ask when torn.")
    lines = {row["id"]: row for row in map(orjson.loads, (tmp_path / "q.jsonl").read_bytes().splitlines())}
    assert lines["0012"]["text"] == formula
    assert lines["chat"]["messages"][1] == {"role": "assistant", "content": "Yes?"}
    assert lines["chat"]["metadata"] == {"channel": "app"}
    assert {"rank", "reason", "suggestion", "probability", "label", "labeler"} <= lines["chat"].keys()
    cells = {
        row["text"]: row
        for row in csv.DictReader(io.StringIO((tmp_path / "q.csv").read_bytes().decode("utf-8-sig"), newline=""))
    }
    assert list(cells[f"'{formula}"]) == ["id", "text", "suggestion", "reason", "label", "labeler", "guideline"]
    assert cells[f"'{formula}"]["id"] == "'0012"
    assert {row["guideline"] for row in cells.values()} == {"Choose one; ask when torn."}
    assert any(text.startswith("user: Hello\nthere\nassistant: Yes?\n") for text in cells)


def test_a_queue_comes_back_as_labeled_rows_of_the_pool(tmp_path: Path, triage: UseCase) -> None:
    pool = [asked(sentence(CLAIM, 500 + n), f"00{n}") for n in range(5)]
    queue = rank_pool(pool, sides(train()), (), use_case=triage, size=5)
    write_queue(queue, tmp_path / "q.jsonl", tmp_path / "q.csv", "=2+2")
    sheet = list(csv.reader(io.StringIO((tmp_path / "q.csv").read_bytes().decode("utf-8-sig"), newline="")))
    for row in sheet[1:4]:
        row[4:6] = "claim", "ann"
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows(sheet)
    (tmp_path / "back.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    found = agree(
        read_labels([str(tmp_path / "back.csv")], triage), read_unlabeled([str(tmp_path / "q.jsonl")]), use_case=triage
    )
    assert {one.id for one in found.examples} == {one.row.id for one in queue.rows[:3]}
    assert {one.messages[1].content for one in found.examples} == {one.row.text for one in queue.rows[:3]}
    assert found.pending == 2


def test_a_pool_may_hold_texts_prompts_and_chats(write: Write) -> None:
    path = write(
        {"id": 3, "text": "one", "channel": "app", "metadata": {"n": 1}},
        {"prompt": "two"},
        {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "three"}]},
    )
    rows = read_unlabeled([path])
    assert [row.text for row in rows] == ["one", "two", "three"]
    assert rows[0].id == "3"
    assert rows[0].metadata == {"channel": "app", "n": "1"}
    assert rows[1].id == rows[1].input_key[:16]
    assert [message.role for message in rows[2].messages] == ["system", "user"]
    assert (rows[2].source, rows[2].line) == (path, 3)
    assert [row.text for row in read_unlabeled([write("id,text", '7,"a, b"', name="pool.csv")])] == ["a, b"]


def test_labeled_rows_may_be_a_pool_and_lose_their_answers(write: Write) -> None:
    path = write(
        {"text": "one", "label": "Claim", "split": "train", "weight": 2},
        {"prompt": "two", "completion": "Other"},
        {"messages": [{"role": "user", "content": "three"}, {"role": "assistant", "content": "Claim"}]},
    )
    rows = read_unlabeled([path])
    assert [row.text for row in rows] == ["one", "two", "three"]
    assert not any(row.metadata for row in rows)


def test_a_row_without_an_id_has_the_name_that_it_has_as_a_labeled_row(write: Write, triage: UseCase) -> None:
    from delivery.dataset import load

    labeled = load([write({"text": " The  Parcel", "label": "claim"})], use_case=triage).examples[0]
    assert read_unlabeled([write({"text": "the parcel"}, name="pool.jsonl")])[0].id == labeled.id


def test_a_row_that_comes_twice_is_read_once(write: Write) -> None:
    assert (
        len(read_unlabeled([write({"text": "one"}, {"text": "ONE"}, {"id": "a", "text": "x"}, {"id": "a", "text": "x"})])) == 2
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"note": "x"}, r"has none of text, prompt or messages, but 'note'"),
        ({"text": "  "}, r"text: is blank"),
        ({"text": 3}, r"text: is a int; write a string"),
        ({"messages": []}, r"messages: has to be a list of messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, r"messages: leaves no user message to answer"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\].content: is missing"),
        ({"messages": [{"role": "robot", "content": "x"}]}, r"messages\[0\].role: 'robot' is not one of"),
        ({"messages": ["x"]}, r"messages\[0\]: is a str"),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]},
            r"messages\[1\].role: a system message may only stand first",
        ),
        ({"text": "x", "id": {}}, r"id: '\{\}' is no id"),
        ({"text": "x", "metadata": []}, r"metadata: is a list"),
        ('{"text": "x"', r"is not valid JSON"),
        ({"id": "a", "text": "other"}, r"id: 'a' is also the id of .*rows.jsonl:1, which says something else"),
    ],
)
def test_a_row_that_cannot_be_queued_is_refused_with_file_and_line(write: Write, row: Any, message: str) -> None:
    with pytest.raises(RowProblems, match=rf"rows.jsonl:2: {message}"):
        read_unlabeled([write({"id": "a", "text": "first"}, row)])


def test_a_pool_without_files_or_rows_is_refused(write: Write) -> None:
    with pytest.raises(ClientDataError, match=r"data\.pool: names no file"):
        read_unlabeled([])
    with pytest.raises(ClientDataError, match="holds no rows"):
        read_unlabeled([write()])


def test_reading_queues_and_labels_loads_nothing_heavy() -> None:
    modules = "agreement, copies, labels, pool, queue, slices, spreadsheet"
    heavy = "{'numpy', 'scipy', 'sklearn'}"
    code = f"import sys; from delivery.dataset.labeling import {modules}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
