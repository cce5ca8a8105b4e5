"""What is chosen where client.yaml leaves it open, and that what it pins is kept."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from delivery.artifacts import BaseModel, TokenStats
from delivery.client_config import Preference, Sweep, Training
from delivery.training.recipe import choose, dpo, lora, qlora, rslora, warm

BASE = BaseModel(name="base", path="", source="", sha256="", licence="", parameters=134_515_008, context_length=8192)
STATS = TokenStats(rows=720, tokens=720 * 190, supervised_tokens=720 * 40, longest=260, longest_answer=48)


def test_the_rank_grows_where_the_answers_hold_more_than_the_adapter() -> None:
    ranks = [lora(BASE, replace(STATS, supervised_tokens=tokens)).rank for tokens in (1_000, 5_000_000, 30_000_000, 10**10)]
    assert ranks == [16, 16, 64, 256]
    assert all(recipe.alpha == 32 for recipe in (lora(BASE, STATS), lora(BASE, replace(STATS, supervised_tokens=10**8))))


def test_larger_models_and_fewer_rows_change_rate_passes_and_batch() -> None:
    rates = [lora(replace(BASE, parameters=int(n)), STATS).learning_rate for n in (1.3e8, 1.7e9, 8e9, 7e10)]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == 4
    epochs = [lora(BASE, replace(STATS, rows=rows)).epochs for rows in (100, 500, 10_003, 200_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert (lora(BASE, replace(STATS, rows=100)).batch_size, lora(BASE, STATS).batch_size) == (8, 16)


def test_a_4_bit_base_changes_nothing_else() -> None:
    assert replace(qlora(BASE, STATS), method="lora") == lora(BASE, STATS)
    assert choose(Training(), BASE, STATS, method="qlora").method == "qlora"


def test_the_rank_stabilized_update_is_as_strong_at_the_usual_rank() -> None:
    plain, stable = lora(BASE, STATS), rslora(lora(BASE, STATS))
    assert stable.alpha / sqrt(stable.rank) == plain.alpha / plain.rank
    assert choose(Training(rslora=True), BASE, STATS).rslora
    assert choose(Training(rslora=True, alpha=24), BASE, STATS).alpha == 24


def test_a_started_run_is_shorter_and_gentler() -> None:
    cold, started = lora(BASE, STATS), warm(lora(BASE, STATS))
    assert (started.epochs, started.learning_rate) == (cold.epochs / 2, cold.learning_rate / 2)
    assert started.warmup_steps(200) > cold.warmup_steps(200)
    assert choose(Training(), BASE, STATS, started=True) == started


def test_what_is_pinned_is_kept_and_said() -> None:
    wish = Training(rank=8, alpha=64, targets=("q_proj", "mlp"), dropout=0.1, learning_rate=3e-4, epochs=1.5, batch_size=4)
    recipe = choose(wish, BASE, STATS, started=True)
    for key in ("rank", "alpha", "targets", "dropout", "learning_rate", "epochs", "batch_size"):
        assert getattr(recipe, key) == getattr(wish, key)
        assert "as client.yaml asks" in recipe.reasons[key]
    assert "q_proj, mlp" in recipe.reasons["targets"]


def test_a_sweep_is_planned_for_its_largest_rank() -> None:
    assert choose(Training(sweep=Sweep(rank=(8, 64, 32))), BASE, STATS).rank == 64


def test_pairs_are_learned_slower_than_answers() -> None:
    answers = choose(Training(), BASE, STATS)
    pairs = dpo(Training(), answers, 300)
    assert 0 < pairs.learning_rate < answers.learning_rate / 10
    assert pairs.beta == 0.1
    assert dpo(Training(), answers, 5000).epochs < pairs.epochs
    pinned = dpo(Training(preference=Preference(beta=0.3, epochs=2, learning_rate=1e-5)), answers, 300)
    assert (pinned.beta, pinned.epochs, pinned.learning_rate) == (0.3, 2, 1e-5)
    assert pinned.pinned == ("beta", "epochs", "learning_rate")
