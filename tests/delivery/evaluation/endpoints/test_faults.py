"""What goes wrong on the way to a paid API: nothing is lost, nothing is paid twice, the budget holds."""

from __future__ import annotations

import multiprocessing
import random
import time
from decimal import Decimal
from pathlib import Path

import pytest

from delivery.errors import BudgetReached, ConfigError
from delivery.evaluation import Budget, collect
from delivery.evaluation.endpoints.openai import Calls, OpenAIEndpoint
from delivery.evaluation.endpoints.store import read_answers
from tests.delivery.evaluation.endpoints.faults import (
    FAULTS,
    PRICE,
    TOKENS,
    FaultServer,
    answer_to,
    ask_all,
    mixed,
    questions,
    right,
)

UNPAID = ("429", "500")


def spent(folder: Path) -> Decimal:
    return Budget(folder / "budget.jsonl", limit_usd=Decimal(100), price=PRICE).spending.total


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_that_goes_wrong_is_made_again_and_once(tmp_path: Path, fault: str) -> None:
    asked = questions(30)
    wrong = {r.messages[-1].content for r in asked[5::5]}
    seen: set[str] = set()

    def plan(_: int, question: str) -> str | None:
        first = question in wrong and question not in seen
        seen.add(question)
        return fault if first else None

    with FaultServer(plan) as server:
        answers = ask_all(server.url, 30, tmp_path, concurrency=1, timeout=0.5)
    assert right(asked, answers)
    assert set(server.answered.values()) == {1}
    again = {question for question, times in server.charged_for.items() if times > 1}
    assert again == (set() if fault in UNPAID else wrong)
    assert spent(tmp_path) == server.charged_usd if fault in UNPAID else spent(tmp_path) > server.charged_usd
    assert len(read_answers(tmp_path / "answers.jsonl")) == 30


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_that_always_goes_wrong_is_an_error_of_its_sample_and_is_not_stored(tmp_path: Path, fault: str) -> None:
    asked = questions(6)
    with FaultServer(lambda _, question: fault if question == asked[4].messages[-1].content else None) as server:
        calls = Calls(concurrency=1, retries=1, timeout_seconds=0.3, first_wait_seconds=0.001)
        endpoint = OpenAIEndpoint(server.url, model="gpt-4o", api_key="sk-very-secret", calls=calls)
        answers = collect(endpoint, asked, path=tmp_path / "a", max_new_tokens=TOKENS)
    assert [a.output is None for a in answers] == [False, False, False, False, True, False]
    assert answers[4].error
    assert "secret" not in answers[4].error
    assert len(read_answers(tmp_path / "a")) == 5


def test_three_of_ten_calls_go_wrong_and_nothing_is_lost_or_paid_twice(tmp_path: Path) -> None:
    with FaultServer(mixed(0.3, seed=11)) as server:
        answers = ask_all(server.url, 400, tmp_path)
        assert right(questions(400), answers)
        assert set(server.answered.values()) == {1}
        assert server.calls > 520
        assert server.charged_usd <= spent(tmp_path)
        before = server.calls
        assert ask_all(server.url, 400, tmp_path) == answers
    assert server.calls == before


def test_a_budget_is_never_passed_and_what_is_missing_is_said(tmp_path: Path) -> None:
    limit = Decimal("0.05")
    without_id = tuple(fault for fault in FAULTS if fault != "id")
    with FaultServer(mixed(0.3, seed=5, faults=without_id), seconds=0.002) as server:
        with pytest.raises(
            BudgetReached, match=r"of the budget of \$0\.05 .* of 250 answers are missing \(ids r-\d+, r-"
        ) as raised:
            ask_all(server.url, 250, tmp_path, limit_usd=limit)
        assert server.charged_usd <= spent(tmp_path) <= limit
        kept = len(read_answers(tmp_path / "answers.jsonl"))
        assert f"{250 - kept} of 250 answers" in str(raised.value)
        assert kept == sum(server.answered.values()) > 20
        assert right(questions(250), ask_all(server.url, 250, tmp_path, limit_usd=Decimal(1)))
    assert set(server.answered.values()) == {1}


def test_without_faults_a_budget_of_the_exact_bill_and_one_worst_call_is_enough(tmp_path: Path) -> None:
    with FaultServer(lambda *_: None) as server:
        ask_all(server.url, 40, tmp_path / "first")
        bill = server.charged_usd
        worst = max(Budget(tmp_path / "b", limit_usd=bill, price=PRICE).worst(r.messages, TOKENS) for r in questions(40))
        ask_all(server.url, 40, tmp_path / "second", limit_usd=bill + worst)
        assert spent(tmp_path / "second") == bill
        with pytest.raises(BudgetReached):
            ask_all(server.url, 40, tmp_path / "third", limit_usd=bill - Decimal("0.00001"))
    assert server.charged_usd <= 3 * bill


def test_killed_at_twenty_moments_it_ends_with_the_same_table(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.delivery.evaluation.endpoints.faults"])
    chance = random.Random(3)
    n, folder, kills = 400, tmp_path / "killed", 0
    folder.mkdir()
    with FaultServer(mixed(0.1, seed=3, faults=("429", "500", "half", "json")), seconds=0.02) as server:
        while kills < 20:
            child = processes.Process(target=ask_all, args=(server.url, n, folder), kwargs={"concurrency": 4})
            begun = server.calls
            child.start()
            while server.calls == begun and child.is_alive():
                time.sleep(0.002)
            child.join(chance.uniform(0, 0.12))
            assert child.exitcode is None, "it ended before it was killed"
            child.kill()
            child.join()
            kills += 1
        answers = ask_all(server.url, n, folder, concurrency=4)
    table = [(r.sample_id, answer_to(q := r.messages[-1].content), *FaultServer.tokens(q)) for r in questions(n)]
    assert [(a.sample_id, a.output, a.prompt_tokens, a.completion_tokens) for a in answers] == table
    # Only what was on the wire when the process died was asked again.
    lost = sum(times - 1 for times in server.answered.values())
    assert lost <= 4 * kills
    assert server.charged_usd <= spent(folder)


def test_an_endpoint_that_charges_more_than_a_prompt_can_have_is_left(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "b", limit_usd=Decimal(1), price=PRICE, bound=lambda _: 1)
    with FaultServer(lambda *_: None) as server:
        endpoint = OpenAIEndpoint(server.url, model="gpt-4o", calls=Calls(concurrency=1), budget=budget)
        with pytest.raises(ConfigError, match="keeps to no budget"):
            collect(endpoint, questions(9), path=tmp_path / "a", max_new_tokens=1)
    assert server.calls == 1
    assert budget.spending.total == server.charged_usd


def test_another_model_that_answers_every_time_ends_the_run(tmp_path: Path) -> None:
    with FaultServer(lambda *_: "model") as server:
        calls = Calls(concurrency=1, retries=0, first_wait_seconds=0.001)
        endpoint = OpenAIEndpoint(server.url, model="gpt-4o", calls=calls)
        with pytest.raises(ConfigError, match="'gpt-4o-mini' answered instead of 'gpt-4o'"):
            collect(endpoint, questions(9), path=tmp_path / "a", max_new_tokens=TOKENS)
    assert server.calls == 2


def test_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    with FaultServer(mixed(0.3, seed=2, after=0, faults=("429", "500"))) as server:
        ask_all(server.url, 40, tmp_path)
        url = server.url.replace("//", "//user:very-secret@")
        assert "secret" not in OpenAIEndpoint(url + "?token=very-secret", model="gpt-4o").name
    assert all("very-secret" in headers["authorization"] for headers in server.headers)
    assert len({headers["idempotency-key"] for headers in server.headers}) == 40
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes()
