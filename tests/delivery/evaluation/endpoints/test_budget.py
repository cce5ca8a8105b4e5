from __future__ import annotations

import random
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import BaseModel, Message
from delivery.errors import IntegrityError
from delivery.evaluation import Budget, TokenPrice
from delivery.evaluation.endpoints.budget import tokens_at_most

PRICE = TokenPrice(Decimal("2.50"), Decimal("10"))


def budget(folder: Path, limit: str = "1") -> Budget:
    return Budget(folder / "budget.jsonl", limit_usd=Decimal(limit), price=PRICE)


def test_prices_are_exact() -> None:
    assert PRICE.usd(1, 0) == Decimal("0.0000025")
    assert TokenPrice(Decimal("0.15"), Decimal("0.60")).usd(333_333, 7) == Decimal("0.05000415")


def test_what_is_reserved_is_gone_until_it_is_settled(tmp_path: Path) -> None:
    purse = budget(tmp_path)
    held = purse.reserve("a", Decimal("0.7"))
    assert held is not None
    assert purse.reserve("b", Decimal("0.3000001")) is None
    assert purse.reserve("b", Decimal("0.3")) is not None
    purse.settle(held, Decimal("0.1"))
    assert purse.spending == (Decimal("0.1"), Decimal("0.3"))
    assert purse.reserve("c", Decimal("0.6")) is not None
    assert purse.reserve("d", Decimal("0.0000001")) is None


def test_calls_of_a_killed_process_are_spent(tmp_path: Path) -> None:
    budget(tmp_path).reserve("a", Decimal("0.9"))
    again = budget(tmp_path)
    assert again.spending.total == Decimal("0.9")
    assert again.reserve("b", Decimal("0.2")) is None
    assert budget(tmp_path, "2").reserve("b", Decimal("0.2")) is not None


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_an_entry_that_a_kill_has_torn_is_a_call_that_never_went_out(tmp_path: Path, cut: int) -> None:
    first = budget(tmp_path)
    first.reserve("a", Decimal("0.5"))
    first.reserve("b", Decimal("0.4"))
    path = tmp_path / "budget.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = budget(tmp_path)
    assert again.spending.total == Decimal("0.5")
    assert again.reserve("c", Decimal("0.5")) is not None
    assert budget(tmp_path).spending.total == Decimal(1)


@pytest.mark.parametrize(
    "line", [b"junk\n", b'{"id":"a","key":"k","usd":"-1"}\n', b'{"id":"a","key":"k","usd":"NaN"}\n', b"[]\n"]
)
def test_a_journal_that_does_not_say_what_was_spent_is_refused(tmp_path: Path, line: bytes) -> None:
    budget(tmp_path).reserve("a", Decimal("0.5"))
    with (tmp_path / "budget.jsonl").open("ab") as stream:
        stream.write(line)
    with pytest.raises(IntegrityError, match=r"budget\.jsonl: holds a line that is no entry"):
        budget(tmp_path).reserve("b", Decimal("0.1"))


def test_callers_in_many_threads_and_objects_never_pass_it_together(tmp_path: Path) -> None:
    over: list[Decimal] = []

    def call(seed: int) -> None:
        purse, chance = budget(tmp_path, "0.25"), random.Random(seed)
        for _ in range(30):
            held = purse.reserve("k", Decimal(chance.randint(1, 300)).scaleb(-4))
            if held is not None:
                purse.settle(held, held.usd * chance.randint(0, 4) / 4)
            if (total := purse.spending.total) > purse.limit_usd:
                over.append(total)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not over
    spent = budget(tmp_path, "0.25").spending
    assert Decimal("0.2") < spent.total <= Decimal("0.25")
    assert spent.reserved == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["system", "user"]), st.text(max_size=60)), min_size=1, max_size=3))
def test_no_byte_level_tokenizer_counts_more_than_the_bound(turns: list[tuple[str, str]]) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    # A vocabulary of single bytes is the worst that there can be: nothing is ever merged.
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    worst = Tokenizer(models.BPE(vocab=letters, merges=[]))
    worst.pre_tokenizer, worst.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    counted = sum(len(worst.encode(content).ids) for _, content in turns)
    assert counted <= tokens_at_most([Message(role, content) for role, content in turns])


@pytest.mark.slow
def test_a_whole_prompt_of_the_base_model_stays_below_the_bound(smollm2: BaseModel) -> None:
    from delivery.weights import hf

    tokenizer = hf.load_tokenizer(Path(smollm2.path))
    for text in ("", "hello", "Überweisung 你好 🙂" * 9, "<|im_start|>" * 5, "\n\n\n"):
        messages = (Message("system", "Be brief."), Message("user", text))
        assert len(hf.render(tokenizer, messages).ids) <= tokens_at_most(messages)
