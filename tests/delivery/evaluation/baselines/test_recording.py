from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from delivery.artifacts import Answer, Progress, Suite
from delivery.client_config import Prompting
from delivery.errors import ConfigError, EvalIncompleteError
from delivery.evaluation import (
    Asking,
    FakeEndpoint,
    Holdout,
    PackSpec,
    Recording,
    Request,
    contest_of_packs,
    import_pack,
    record_packs,
    use_case_suite,
    zero_shot,
)
from delivery.evaluation.baselines.choosing import contest
from delivery.evaluation.baselines.prompting import Prompt
from delivery.evaluation.endpoints.endpoint import OnAnswer
from tests.delivery.evaluation.cases import answers, classification, config, rows

TEST = classification(["dovish", "hawkish", "neutral", "dovish"])
VALIDATION = use_case_suite(config(), rows(["hawkish", "dovish", "neutral"], prefix="val"))
HELD = Holdout(TEST, VALIDATION)
SPEC = PackSpec(model="m", recorded_on="2026-01-01")
RIGHT = {sample.id: sample.expected for sample in (*TEST.samples, *VALIDATION.samples)}


def shouting(sample: object) -> Request:
    request = zero_shot(sample)  # type: ignore[arg-type]
    loud = tuple(replace(m, content=m.content.upper()) for m in request.messages)
    return Request(request.sample_id, loud)


PROMPTS: dict[Prompting, Prompt] = {"zero_shot": zero_shot, "few_shot": shouting}


class Moody(FakeEndpoint):
    """Right when it is shouted at."""

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        for request in requests:
            self.asked.append(request)
            loud = request.messages[-1].content.isupper()
            on_answer(Answer(request.sample_id, RIGHT[request.sample_id] if loud else "?", seconds=0.25, model="m-2024-01-01"))


def record(folder: Path, endpoint: FakeEndpoint, held: Holdout = HELD, **asking: object) -> Recording:
    how = Asking(folder / "answers.jsonl", 16, **asking)  # type: ignore[arg-type]
    return record_packs(folder, endpoint, prompts=PROMPTS, holdout=held, spec=SPEC, asking=how)


def test_the_strongest_on_validation_rows_is_asked_first_and_all_are_frozen(tmp_path: Path) -> None:
    endpoint, seen = Moody({}), list[Progress]()
    found = record(tmp_path, endpoint, on_progress=seen.append)
    assert [pack.prompting for pack in found.packs] == ["few_shot", "zero_shot"]
    assert found.contest == (3, {"zero_shot": 0.0, "few_shot": 1.0})
    assert found.missing == ""
    asked = [(r.sample_id[:3], r.messages[-1].content.isupper()) for r in endpoint.asked]
    assert asked == [("val", False)] * 3 + [("val", True)] * 3 + [("row", True)] * 4 + [("row", False)] * 4
    assert (seen[-1].done, seen[-1].total) == (14, 14)
    assert set(found.packs[0].outputs) == set(RIGHT)
    text = Path(found.packs[0].path, "pack.yaml").read_text()
    assert "snapshot: m-2024-01-01" in text
    assert "recorded_on: '2026-01-01'" not in text, "the day is that of the answers"


def test_a_test_row_has_no_say_in_the_choice(tmp_path: Path) -> None:
    class WorseOnTest(Moody):
        def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
            for request in requests:
                loud, test = request.messages[-1].content.isupper(), request.sample_id.startswith("row")
                on_answer(Answer(request.sample_id, RIGHT[request.sample_id] if loud != test else "?"))

    found = record(tmp_path, WorseOnTest({}))
    assert [pack.prompting for pack in found.packs] == ["few_shot", "zero_shot"]


def test_without_validation_rows_prompts_stay_in_the_order_given(tmp_path: Path) -> None:
    endpoint = Moody({})
    found = record(tmp_path, endpoint, Holdout(TEST, None))
    assert [pack.prompting for pack in found.packs] == ["zero_shot", "few_shot"]
    assert found.contest == (0, {})
    assert len(endpoint.asked) == 8


def test_too_many_errors_are_no_pack_and_the_rest_is_asked_later(tmp_path: Path) -> None:
    broken = FakeEndpoint({**RIGHT, "row-2": TimeoutError("no answer in time")}, name="fake")
    with pytest.raises(EvalIncompleteError, match=r"1 of 4 rows have no answer \(first row-2\).*no answer in time"):
        record(tmp_path, broken)
    assert not (tmp_path / "baselines").exists()
    healed = FakeEndpoint(RIGHT, name="fake")
    assert len(record(tmp_path, healed).packs) == 2
    assert [r.sample_id for r in healed.asked if not r.messages[-1].content.isupper()] == ["row-2"]


def test_a_few_errors_leave_a_pack_with_gaps(tmp_path: Path) -> None:
    broken = FakeEndpoint({**RIGHT, "row-2": TimeoutError("slow")})
    found = record(tmp_path, broken, max_errored=0.25)
    assert "row-2" not in found.packs[0].outputs


def test_a_pack_of_other_answers_is_not_overwritten(tmp_path: Path) -> None:
    record(tmp_path / "a", Moody({}))
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "baselines").rename(tmp_path / "b" / "baselines")
    with pytest.raises(ConfigError, match="packs do not change"):
        record(tmp_path / "b", FakeEndpoint(RIGHT))


def test_contestants_are_compared_on_what_all_of_them_answered() -> None:
    few = answers(VALIDATION, ["hawkish", None, "?"])
    all_of_it = answers(VALIDATION, ["hawkish", "?", "neutral"])
    assert contest(VALIDATION, {"few": few, "all": all_of_it}) == (2, {"few": 0.5, "all": 1.0})
    assert contest(VALIDATION, {"few": few}) == (0, {})
    assert contest(None, {"few": few, "all": all_of_it}) == (0, {})
    assert contest(VALIDATION, {"a": answers(VALIDATION, [None] * 3), "b": all_of_it}) == (0, {})


def test_answers_to_rows_that_changed_since_choose_nothing(tmp_path: Path) -> None:
    packs = list(record(tmp_path, Moody({})).packs)
    assert contest_of_packs(VALIDATION, packs).n == 3
    edited: Suite = replace(VALIDATION, samples=tuple(replace(s, input_sha256="0" * 64) for s in VALIDATION.samples))
    assert contest_of_packs(edited, packs) == (0, {})
    assert contest_of_packs(None, packs).ranked(["b", "a"]) == ["b", "a"]


def test_imported_rows_may_be_validation_rows_where_there_are_any(tmp_path: Path) -> None:
    source = tmp_path / "answers.jsonl"
    source.write_text("".join(f'{{"id": "{name}", "output": "x"}}\n' for name in RIGHT))
    pack = import_pack(tmp_path, source, spec=SPEC, suite=TEST, validation=VALIDATION)
    assert list(pack.outputs) == list(RIGHT)
