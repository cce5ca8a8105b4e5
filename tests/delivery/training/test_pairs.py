"""Pairs: their loss beside the formula and beside TRL's, and a run that is killed and goes on."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from delivery.artifacts import Adapter, BaseModel, Example, PairPlan, Splits, TrainingPlan
from delivery.client_config import Preference, Training
from delivery.errors import IntegrityError
from delivery.training import count_tokens, course, launcher, machine, make_plan
from delivery.training.hf.adapter import attach_adapter
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.pairs import PairLoss, all_pairs, measure
from delivery.training.hf.rows import tokenize
from delivery.training.job import Job
from delivery.training.pairs import as_rows, pair_run, pairs_of
from delivery.weights.hf import load_model, load_tokenizer
from tests.delivery.training.here import run_here, train_here
from tests.delivery.training.tiny_rows import TINY_MACHINE, tiny_splits

PAIRS = PairPlan(
    beta=0.5, learning_rate=0.01, epochs=3, batch_size=8, steps=12, warmup_steps=1, pairs=40, predicted_seconds=1.0
)


def with_pairs() -> Splits:
    """Every sixth training row has no rejected answer."""

    def pair(row: Example, place: int) -> Example:
        return (
            row if place % 6 == 5 else replace(row, rejected=f"w{20 + place % 7} w{30 + place % 3} w31", weight=1.0 + place % 2)
        )

    splits = tiny_splits()
    train, validation = (tuple(pair(row, n) for n, row in enumerate(rows)) for rows in (splits.train, splits.validation))
    return replace(splits, train=train, validation=validation)


@pytest.fixture(scope="module")
def pairs() -> Splits:
    return with_pairs()


@pytest.fixture(autouse=True)
def no_matrix_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "matrix_rate", lambda *_, **__: 1e10)


@pytest.fixture(scope="module")
def answers(tiny: BaseModel, plan: TrainingPlan, pairs: Splits, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """The adapter that learned the preferred answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "matrix_rate", lambda *_, **__: 1e10)
        made = run_here(
            Job(plan=replace(plan, steps=10, learning_rate=0.01), base=tiny, train=pairs.train, validation=pairs.validation),
            tmp_path_factory.mktemp("answers"),
        )
    assert made is not None
    return made


def log_p(model: Any, base: BaseModel, examples: tuple[Example, ...]) -> torch.Tensor:
    """log p of every answer, a row at a time, without adapter tricks, padding or masks."""
    found = []
    for (row,) in tokenize(load_tokenizer(Path(base.path)), examples):
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            steps = model(input_ids=ids).logits[0].float().log_softmax(-1)
        found.append(sum(float(steps[i - 1, ids[0, i]]) for i in range(row.answer_start, len(row.ids))))
    return torch.tensor(found)


def moved(model: Any) -> dict[str, torch.Tensor]:
    """Move the adapter away from where it started, and give its weights."""
    draw = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_" in name and ".ref." not in name:
            parameter.data += torch.randn(parameter.shape, generator=draw) * 0.03
    return dict(get_peft_model_state_dict(model))


def test_the_loss_is_the_formulas(tiny: BaseModel, plan: TrainingPlan, pairs: Splits, answers: Adapter) -> None:
    examples = pairs_of(pairs).train[:9]
    started = Path(answers.artifact.path)
    reference = log_p(load_model(Path(tiny.path), adapter=started, dtype=torch.float32), tiny, as_rows(examples))
    model = attach_adapter(plan, tiny, started)
    tokenizer = load_tokenizer(Path(tiny.path))
    rows = all_pairs(model, tokenizer, examples, plan=replace(plan, micro_batch_tokens=200), pad=tokenizer.pad_token_id)
    loss = PairLoss(AnswerLoss(model, precision="fp32"), beta=0.5)
    rows.reference = measure(rows, loss.margins)
    torch.testing.assert_close(rows.reference, reference[::2] - reference[1::2], rtol=1e-4, atol=1e-4)

    item = rows[0]
    assert len(item["micro_batches"]) > 1
    weights = torch.tensor([one.weight for one in examples])
    at_start = sum(float(loss(batch).detach()) for batch in item["micro_batches"])
    assert at_start == pytest.approx(log(2) * float(weights.sum()), rel=1e-5)
    assert item["total"] == pytest.approx(float(weights.sum()))

    moved(model)
    now = measure(rows, loss.margins)
    expected = float((weights * torch.nn.functional.softplus(-0.5 * (now - rows.reference))).sum())
    assert sum(float(loss(batch).detach()) for batch in rows[0]["micro_batches"]) == pytest.approx(expected, rel=1e-4)
    assert abs(expected - at_start) > 0.01


def test_the_loss_and_gradients_are_those_of_trl(
    tiny: BaseModel, plan: TrainingPlan, pairs: Splits, answers: Adapter, tmp_path: Path
) -> None:
    trl = pytest.importorskip("trl", reason="trl is not installed: 'pip install trl datasets' compares with it")
    datasets = pytest.importorskip("datasets")
    examples = tuple(replace(one, weight=1.0) for one in pairs_of(pairs).train[:6])
    tokenizer, started = load_tokenizer(Path(tiny.path)), Path(answers.artifact.path)

    ours = attach_adapter(plan, tiny, started)
    rows = all_pairs(ours, tokenizer, examples, plan=plan, pad=tokenizer.pad_token_id)
    loss = PairLoss(AnswerLoss(ours, precision="fp32"), beta=0.5)
    rows.reference = measure(rows, loss.margins)
    weights = moved(ours)
    item = rows[0]
    total = sum(loss(batch) for batch in item["micro_batches"]) / item["total"]
    total.backward()

    theirs = attach_adapter(replace(plan, dropout=1e-12), tiny, started)
    theirs.set_adapter("default")
    theirs.get_base_model().set_attn_implementation("sdpa")
    chats = datasets.Dataset.from_list(
        [
            {
                "prompt": [{"role": m.role, "content": m.content} for m in one.messages],
                "chosen": [{"role": "assistant", "content": one.answer}],
                "rejected": [{"role": "assistant", "content": one.rejected}],
            }
            for one in examples
        ]
    )
    trainer = trl.DPOTrainer(
        model=theirs,
        args=trl.DPOConfig(
            output_dir=str(tmp_path), beta=0.5, per_device_train_batch_size=6, use_cpu=True, bf16=False, report_to="none",
            gradient_checkpointing=False, max_length=None,
        ),
        train_dataset=chats,
        processing_class=tokenizer,
    )  # fmt: skip
    theirs.load_state_dict({name.replace(".weight", ".default.weight"): w for name, w in weights.items()}, strict=False)
    peer = trainer.compute_loss(theirs.train(), next(iter(trainer.get_train_dataloader())))
    peer.backward()
    assert float(total.detach()) == pytest.approx(float(peer.detach()), rel=1e-4)
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    whole = torch.cat([g.flatten() for g in gradients.values()])
    apart = torch.cat([(p.grad - gradients[n]).flatten() for n, p in ours.named_parameters() if p.grad is not None])
    assert whole.norm() > 0
    assert apart.norm() < 1e-3 * whole.norm()


def test_preferring_grows_and_a_killed_run_ends_with_the_same_weights(
    tiny: BaseModel, plan: TrainingPlan, pairs: Splits, answers: Adapter, tmp_path: Path
) -> None:
    run = replace(pair_run(replace(plan, pairs=PAIRS)), checkpoint_every=3)
    only = pairs_of(pairs)
    job = Job(plan=run, base=tiny, train=only.train, validation=only.validation, start=answers.artifact)
    whole = run_here(job, tmp_path / "whole")
    assert whole is not None
    found = whole.record.pairs
    assert found is not None
    assert found.losses[0].loss == pytest.approx(log(2), rel=1e-3)
    assert found.losses[-1].loss < 0.5
    assert (found.steps, found.pairs, found.measured_on, found.held_out) == (12, 40, len(only.validation), True)
    assert found.margin > 0.2
    assert found.accuracy > 0.7
    for step in (1, 7, 11):
        folder = tmp_path / str(step)
        assert run_here(job, folder, kill_after=step) is None
        again = run_here(job, folder)
        assert again is not None
        assert again.artifact.files == whole.artifact.files, f"killed after step {step}"
        assert again.record.pairs is not None
        assert (again.record.pairs.margin, again.record.pairs.losses) == (found.margin, found.losses)


def test_answers_come_first_and_then_the_pairs(
    tiny: BaseModel, plan: TrainingPlan, pairs: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "train", train_here)
    both = replace(plan, steps=4, learning_rate=0.01, pairs=replace(PAIRS, steps=4))
    made = course.train(both, base=tiny, splits=pairs, workdir=tmp_path, on_progress=lambda _: None, start=None)
    assert made.record.steps == 4
    assert made.record.pairs is not None
    assert made.record.pairs.steps == 4
    assert "the preferred answer" in made.record.notes[-1]
    first, second = (
        load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "adapter", Path(made.artifact.path))
    )
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_an_adapter_of_another_form_is_no_start(tiny: BaseModel, plan: TrainingPlan, answers: Adapter) -> None:
    for other in (replace(plan, rank=8), replace(plan, targets=("mlp",))):
        with pytest.raises(IntegrityError, match="cannot be started from"):
            attach_adapter(other, tiny, Path(answers.artifact.path))


def test_pairs_are_planned_where_there_are_any(tiny: BaseModel, pairs: Splits) -> None:
    stats = count_tokens(tiny, pairs)
    assert stats.pairs == 40
    assert stats.longest_pair % 2 == 0
    planned = make_plan(Training(batch_size=8), base=tiny, stats=stats, machine=TINY_MACHINE)
    assert planned.pairs is not None
    assert (planned.pairs.pairs, planned.pairs.steps) == (40, 15)
    assert planned.micro_batch_tokens >= stats.longest_pair
    assert any("over 40 pairs by DPO" in sentence for sentence in planned.why)
    left = Training(preference=Preference(epochs=0))
    assert make_plan(left, base=tiny, stats=stats, machine=TINY_MACHINE).pairs is None
    assert make_plan(Training(), base=tiny, stats=count_tokens(tiny, tiny_splits()), machine=TINY_MACHINE).pairs is None
