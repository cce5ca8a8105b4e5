from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from delivery.artifacts import Message, Progress
from delivery.errors import RetryableError
from delivery.evaluation import FakeEndpoint, Request, collect
from delivery.evaluation.endpoints.endpoint import OnAnswer


def requests(n: int) -> list[Request]:
    return [Request(f"r-{i}", (Message("user", f"question {i}"),)) for i in range(n)]


def script(n: int) -> dict[str, str]:
    return {f"r-{i}": f"answer {i} ü\n" for i in range(n)}


class Dying(FakeEndpoint):
    """Answers a few requests, then is gone, as after a kill."""

    def __init__(self, script: dict[str, str], *, after: int) -> None:
        super().__init__(script)
        self.after = after

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        super().answer(requests[: self.after], max_new_tokens=max_new_tokens, on_answer=on_answer)
        raise RetryableError("gone")


def test_answers_come_in_the_order_of_requests_and_are_reused(tmp_path: Path) -> None:
    first, again = FakeEndpoint(script(5)), FakeEndpoint({})
    seen: list[Progress] = []
    path = tmp_path / "deep" / "answers.jsonl"
    given = collect(first, requests(5)[::-1], path=path, max_new_tokens=9, on_progress=seen.append)
    assert [a.sample_id for a in given] == [f"r-{i}" for i in range(4, -1, -1)]
    assert [p.done for p in seen] == [0, 1, 2, 3, 4, 5]
    assert collect(again, requests(5)[::-1], path=path, max_new_tokens=9) == given
    assert again.asked == []


def test_a_killed_evaluation_asks_only_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with pytest.raises(RetryableError):
        collect(Dying(script(6), after=4), requests(6), path=path, max_new_tokens=9)
    resumed = FakeEndpoint(script(6))
    given = collect(resumed, requests(6), path=path, max_new_tokens=9)
    assert [r.sample_id for r in resumed.asked] == ["r-4", "r-5"]
    assert given == collect(FakeEndpoint(script(6)), requests(6), path=tmp_path / "undisturbed", max_new_tokens=9)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_cut_off_and_asked_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "answers.jsonl"
    whole = collect(FakeEndpoint(script(3)), requests(3), path=path, max_new_tokens=9)
    path.write_bytes(path.read_bytes()[:-cut])
    resumed = FakeEndpoint(script(3))
    assert collect(resumed, requests(3), path=path, max_new_tokens=9) == whole
    assert [r.sample_id for r in resumed.asked] == ["r-2"]
    assert len(path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize(
    "junk", [b"\0" * 4096 + b"\n", b"not json\n", b'{"key": "x"}\n', b"[1]\n", b'{"key":[],"answer":{}}\n']
)
def test_a_damaged_line_costs_no_other_answer(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    whole = collect(FakeEndpoint(script(2)), requests(2), path=path, max_new_tokens=9)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + junk + second)
    resumed = FakeEndpoint(script(2))
    assert collect(resumed, requests(2), path=path, max_new_tokens=9) == whole
    assert resumed.asked == []


def test_another_question_choice_length_or_endpoint_is_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    collect(FakeEndpoint(script(1)), requests(1), path=path, max_new_tokens=9)
    reworded = [Request("r-0", (Message("user", "something else"),))]
    for endpoint, asked, length in (
        (FakeEndpoint(script(1), name="other"), requests(1), 9),
        (FakeEndpoint(script(1)), requests(1), 1),
        (FakeEndpoint(script(1)), reworded, 9),
        (FakeEndpoint(script(1)), [replace(requests(1)[0], choices=("yes", "no"))], 9),
        (FakeEndpoint(script(1)), [replace(requests(1)[0], choices=("yes", "no"), choosing="likelihood")], 9),
    ):
        collect(endpoint, asked, path=path, max_new_tokens=length)
        assert len(endpoint.asked) == 1


def test_errors_are_returned_but_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    broken = FakeEndpoint({"r-0": "fine", "r-1": TimeoutError("too slow")})
    given = collect(broken, requests(2), path=path, max_new_tokens=9)
    assert [(a.output, a.error) for a in given] == [("fine", None), (None, "too slow")]
    healed = FakeEndpoint(script(2))
    assert [a.output for a in collect(healed, requests(2), path=path, max_new_tokens=9)] == ["fine", "answer 1 ü\n"]
    assert [r.sample_id for r in healed.asked] == ["r-1"]


def test_an_endpoint_that_skips_a_request_leaves_an_error(tmp_path: Path) -> None:
    class Skipping(FakeEndpoint):
        def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
            super().answer(requests[1:], max_new_tokens=max_new_tokens, on_answer=on_answer)

    given = collect(Skipping(script(2)), requests(2), path=tmp_path / "a", max_new_tokens=9)
    assert given[0].error == "the endpoint gave no answer"


def test_one_sample_cannot_be_asked_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two requests"):
        collect(FakeEndpoint({}), requests(1) * 2, path=tmp_path / "a", max_new_tokens=9)
