from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from delivery.artifacts import Example, Message
from delivery.client_config import UseCase
from delivery.dataset.labeling.spreadsheet import read_table
from delivery.dataset.quality import outoffold, suspects
from delivery.dataset.quality.outoffold import Target, out_of_fold
from delivery.dataset.quality.suspects import COLUMNS, Suspects, find_suspects, write_review

TOPICS = {
    "card": ["card", "arrive", "post", "delivery", "envelope", "wait", "track", "plastic", "letterbox", "dispatched"],
    "loan": ["loan", "rate", "borrow", "mortgage", "interest", "repay", "term", "monthly", "lender", "early"],
    "fraud": ["stolen", "unknown", "payment", "thief", "police", "block", "suspicious", "recognise", "hacked", "dispute"],
}
FILLER = ["please", "can", "you", "tell", "me", "what", "to", "do", "about", "my", "account", "today", "thanks", "and", "hello"]


def example(number: int, text: str, answer: str) -> Example:
    turns = (Message("system", "Sort card, loan and fraud."), Message("user", text))
    return Example(id=f"r{number}", messages=turns, answer=answer, source="/data/rows.jsonl", line=number + 1)


def said(topic: str, rng: random.Random) -> str:
    words = rng.sample(TOPICS[topic], 3) + rng.sample(FILLER, 6)
    rng.shuffle(words)
    return " ".join(words)


def made(rows: int, seed: int = 0) -> list[Example]:
    rng = random.Random(seed)
    topics = [rng.choice(list(TOPICS)) for _ in range(rows)]
    return [example(number, said(topic, rng), topic) for number, topic in enumerate(topics)]


def planted(rows: Sequence[Example], seed: int, share: float = 0.05) -> tuple[list[Example], set[str]]:
    """A copy in which this share of the labels is another one, each as likely; and the ids of those rows."""
    rng = random.Random(seed)
    labels = sorted({row.answer for row in rows})
    wrong = set(rng.sample(range(len(rows)), round(len(rows) * share)))
    changed = [
        replace(row, answer=rng.choice([label for label in labels if label != row.answer])) if number in wrong else row
        for number, row in enumerate(rows)
    ]
    return changed, {rows[number].id for number in wrong}


def precision(found: Suspects, wrong: set[str]) -> float:
    return sum(suspect.id in wrong for suspect in found.ranked[: len(wrong)]) / len(wrong)


def real(folder: Path) -> list[Example]:
    rows = [orjson.loads(line) for line in (folder / "train.jsonl").read_bytes().splitlines()]
    return [replace(example(number, row["text"], row["label"]), id=row["id"]) for number, row in enumerate(rows)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_errors_in_banking77_stand_at_the_top(shared_data: Path, seed: int) -> None:
    rows, wrong = planted(real(shared_data / "banking77"), seed)
    found = find_suspects(rows, None)
    assert precision(found, wrong) >= 0.85
    assert 0.8 * len(wrong) <= found.check.count <= 1.5 * len(wrong)


def test_planted_errors_in_fomc_are_found_though_its_labels_are_hard_to_tell(shared_data: Path) -> None:
    clean = real(shared_data / "fomc")
    trials = [planted(clean, seed) for seed in range(3)]
    found = [find_suspects(rows, None) for rows, _ in trials]
    reached = [precision(one, wrong) for one, (_, wrong) in zip(found, trials, strict=True)]
    assert sum(reached) / 3 >= 0.18  # chance is 0.05
    assert "many of these will be right" in found[0].check.detail


def test_wrong_labels_are_found_counted_and_named() -> None:
    rows, wrong = planted(made(400), seed=1)
    found = find_suspects(rows, None)
    assert precision(found, wrong) >= 0.95
    assert (found.check.name, found.check.status) == ("suspect_labels", "warn")
    assert 0.7 * len(wrong) <= found.check.count <= 1.3 * len(wrong)
    first = found.ranked[0]
    row = next(one for one in rows if one.id == first.id)
    assert (first.place, first.field, first.given) == (f"rows.jsonl:{row.line}", "label", row.answer)
    assert found.check.examples[0].startswith(f"rows.jsonl:{row.line} (id {row.id}): labeled '{row.answer}', reads like ")
    margins = [suspect.margin for suspect in found.ranked]
    assert margins == sorted(margins)
    assert -1 <= margins[0] < margins[-1] < 0


def test_right_labels_are_left_alone() -> None:
    check = find_suspects(made(400), None).check
    assert (check.status, check.count) == ("ok", 0)
    assert "agrees with 100% of 400 labels" in check.detail


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows, _ = planted(made(200), seed=2)
    shuffled = random.Random(3).sample(rows, len(rows))
    assert find_suspects(rows, None) == find_suspects(shuffled, None)


def test_a_copy_does_not_vouch_for_its_label() -> None:
    """Five copies of one text with the same wrong label: in different folds they would confirm each other."""
    odd = [example(900 + n, "stolen hacked police thief suspicious zebra", "loan") for n in range(5)]
    rows = [*made(300), *odd]
    top = {suspect.id for suspect in find_suspects(rows, None).ranked[:5]}
    assert top == {row.id for row in odd}
    labels = sorted(TOPICS)
    target = Target(np.array([labels.index(row.answer) for row in rows]), len(labels))
    texts = [row.asked for row in rows]
    (apart,) = out_of_fold(texts, [row.id for row in rows], [target])
    (together,) = out_of_fold(texts, [row.input_key for row in rows], [target])
    assert (apart.probabilities[-5:, 2] > 2 * together.probabilities[-5:, 2]).all()


def test_fields_of_an_extraction_are_judged_each_for_itself() -> None:
    rng = random.Random(4)
    plain = made(400, seed=4)
    rows = [
        replace(
            row,
            messages=(Message("user", f"{row.asked} {'urgent now' if number % 2 else 'no hurry'}"),),
            answer=orjson.dumps(
                {"topic": row.answer, "when": {"urgent": bool(number % 2)}, "amount": rng.randrange(10**6), "unit": "EUR"}
            ).decode(),
        )
        for number, row in enumerate(plain)
    ]
    clean = orjson.loads(rows[7].answer)
    rows[7] = replace(rows[7], answer=orjson.dumps(clean | {"when": {"urgent": False}}).decode())
    found = find_suspects(rows, None)
    first = found.ranked[0]
    assert (first.id, first.field, first.given, first.predicted) == ("r7", "when.urgent", "false", "true")
    assert "of 800 labels (fields topic, when.urgent)" in found.check.detail
    assert found.check.examples[0].endswith("when.urgent is 'false', reads like 'true'")


def test_labels_about_which_the_texts_say_nothing_are_not_judged() -> None:
    rng = random.Random(5)
    rows = [replace(row, answer=rng.choice("ab")) for row in made(300)]
    found = find_suspects(rows, None)
    assert (found.check.status, found.check.count, found.ranked) == ("ok", 0, ())
    assert "do not tell one label from another" in found.check.detail


def test_a_label_of_few_rows_is_not_judged() -> None:
    rows = [*made(200), *(example(500 + n, "stolen hacked police", "new") for n in range(4))]
    assert not any("new" in (one.given, one.predicted) for one in find_suspects(rows, None).ranked)
    rows.append(example(504, "stolen hacked police", "new"))
    assert any("new" in (one.given, one.predicted) for one in find_suspects(rows, None).ranked)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [(made(49), None), (made(200), "qa"), ([replace(row, answer=row.asked) for row in made(200)], None)],
    ids=["too few rows", "answers are texts", "answers are all different"],
)
def test_what_has_no_labels_to_learn_from_is_not_measured(rows: list[Example], kind: str | None) -> None:
    use_case = UseCase(name="u", type=kind, system_prompt="Answer.") if kind else None  # type: ignore[arg-type]
    found = find_suspects(rows, use_case)
    assert (found.check.status, found.check.count, found.ranked) == ("ok", 0, ())
    assert found.check.detail.startswith("not measured: ")


def test_rows_and_characters_that_were_not_read_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "MAX_ROWS", 150)
    monkeypatch.setattr(outoffold, "CHARACTERS", 0)
    monkeypatch.setattr(outoffold, "MIN_CHARACTERS", 60)
    rows, _ = planted(made(200), seed=6)
    found = find_suspects(rows, None)
    assert "of 150 labels; 50 rows beyond 150, chosen by hash, were not judged; " in found.check.detail
    assert found.check.detail.endswith(" texts were read up to character 60")
    assert find_suspects(rows[::-1], None) == found


def test_many_rows_are_judged_although_ridge_regression_learns_from_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outoffold, "RIDGE_ROWS", 60)
    rows, wrong = planted(made(400), seed=7)
    assert precision(find_suspects(rows, None), wrong) >= 0.95


def test_the_review_list_opens_in_a_spreadsheet_and_runs_nothing(tmp_path: Path) -> None:
    rows, _ = planted(made(200), seed=8)
    bad = next(iter(find_suspects(rows, None).ranked)).id
    formula = '=HYPERLINK("http://x.example","pay")\nsecond, line'
    rows = [replace(row, messages=(Message("user", f"{formula} {row.asked}"),)) if row.id == bad else row for row in rows]
    found = find_suspects(rows, None)
    path = tmp_path / "review.csv"
    write_review(found.ranked, rows, path)
    with path.open(newline="", encoding="utf-8-sig") as stream:
        cells = list(csv.DictReader(stream))
    assert tuple(cells[0]) == COLUMNS
    assert [cell["id"] for cell in cells] == [suspect.id for suspect in found.ranked]
    row = next(cell for cell in cells if cell["id"] == bad)
    assert row["text"].startswith(f"'{formula}")
    assert (row["file"], row["line"], row["field"]) == ("rows.jsonl", str(int(bad[1:]) + 1), "label")
    assert -1 <= float(row["margin"]) < 0
    assert [path.name for path in tmp_path.iterdir()] == ["review.csv"]
    back = [one.content for one in read_table(str(path), COLUMNS, needed=("id", "text"))]
    assert next(one["text"] for one in back if isinstance(one, dict) and one["id"] == bad).startswith(formula)
