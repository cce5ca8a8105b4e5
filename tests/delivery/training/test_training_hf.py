"""The loss that is trained on, against a plain one."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from delivery.artifacts import BaseModel, Splits, TrainingPlan
from delivery.training import checkpoints
from delivery.training.hf import adapter, shared_prefix
from delivery.training.hf.adapter import attach_adapter, save_adapter
from delivery.training.hf.loss import AnswerLoss
from delivery.training.hf.rows import Rows, tokenize, training_rows, validation_rows
from delivery.training.hf.trainer import Run, StepTrainer
from delivery.training.job import TALLY, Tally
from delivery.training.troubles import NotFiniteError
from delivery.weights.hf import load_model, load_tokenizer


def plain_losses(base: BaseModel, plan: TrainingPlan, splits: Splits) -> list[torch.Tensor]:
    """Summed loss of each row's answer, one row at a time, without adapter tricks, padding or masks."""
    model = load_model(Path(base.path), dtype=torch.float32, attention="eager")
    losses = []
    for (row,) in tokenize(load_tokenizer(Path(base.path)), splits.train):
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            log_p = model(input_ids=ids).logits[0].float().log_softmax(-1)
        losses.append(-sum(log_p[i - 1, ids[0, i]] for i in range(row.answer_start, len(row.ids))))
    return losses


def step_rows(base: BaseModel, splits: Splits, groups: list[list[int]], *, packed: bool = True) -> Rows:
    tokenizer = load_tokenizer(Path(base.path))
    return Rows(tokenize(tokenizer, splits.train), steps=[groups], pad=tokenizer.pad_token_id, packed=packed)


def trainer_for(base: BaseModel, plan: TrainingPlan, splits: Splits, folder: Path) -> StepTrainer:
    tokenizer = load_tokenizer(Path(base.path))
    rows = tokenize(tokenizer, splits.train)
    model = attach_adapter(plan, base)
    data = training_rows(model, rows, plan=plan, pad=tokenizer.pad_token_id)
    run = Run(folder=folder, tally=Tally.empty(), watch=lambda _: None, stop=threading.Event())
    return StepTrainer(model, plan, steps=data, validation=None, run=run)


@pytest.mark.parametrize("supported", [True, False])
def test_packed_and_padded_micro_batches_give_the_plain_loss(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain_losses(tiny, plan, splits)
    # A fresh adapter changes nothing, so the base's own losses are the reference.
    monkeypatch.setattr(adapter, "has_plain_attention", lambda _: supported)
    model = attach_adapter(plan, tiny)
    assert model.config._attn_implementation == (shared_prefix.NAME if supported else "sdpa")
    loss = AnswerLoss(model, precision="fp32")
    groups = [[0, 3, 10, 13], [1, 2], [7]]
    for group, batch in zip(groups, step_rows(tiny, splits, groups, packed=supported)[0]["micro_batches"], strict=True):
        assert loss(batch).item() == pytest.approx(sum(expected[n].item() for n in group), abs=1e-5)


def test_weights_count(tiny: BaseModel, plan: TrainingPlan, splits: Splits) -> None:
    expected = plain_losses(tiny, plan, splits)
    weights = [0.0 if n == 3 else 2.5 if n == 10 else 1.0 for n in range(len(splits.train))]
    weighted = tuple(replace(row, weight=weight) for row, weight in zip(splits.train, weights, strict=True))
    item = step_rows(tiny, replace(splits, train=weighted), [[0, 3, 10]])[0]
    loss = AnswerLoss(attach_adapter(plan, tiny), precision="fp32")
    assert loss(item["micro_batches"][0]).item() == pytest.approx((expected[0] + 2.5 * expected[10]).item(), abs=1e-5)
    tokens = int(item["micro_batches"][0]["targets"].numel() / 3)
    assert item["total"] == pytest.approx(tokens * 3.5)


def test_looks_take_no_more_rows_at_once_than_a_training_step(tiny: BaseModel, plan: TrainingPlan, splits: Splits) -> None:
    tokenizer = load_tokenizer(Path(tiny.path))
    few = replace(plan, batch_size=3, micro_batch_tokens=10**6)
    (item,) = validation_rows(attach_adapter(plan, tiny), tokenize(tokenizer, splits.train), plan=few, pad=0)
    ends = [int((batch["targets"] == tokenizer.eos_token_id).sum()) for batch in item["micro_batches"]]
    assert max(ends) == 3
    assert sum(ends) == len(splits.train)


def test_every_answer_token_and_the_end_token_is_learned_and_nothing_else(tiny: BaseModel, splits: Splits) -> None:
    tokenizer = load_tokenizer(Path(tiny.path))
    batch = step_rows(tiny, splits, [[4, 9]])[0]["micro_batches"][0]
    learned = tokenizer.decode(batch["targets"])
    assert learned == " ".join(f"{splits.train[n].answer} </s>" for n in (4, 9))
    assert batch["rows"].tolist() == [4] * 3 + [9] * 3


def test_gradients_do_not_depend_on_how_a_step_is_cut(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path
) -> None:
    gradients = []
    for groups in ([[0, 1, 2, 3, 4, 5]], [[0, 4], [1], [2, 3, 5]]):
        trainer = trainer_for(tiny, plan, splits, tmp_path)
        trainer.training_step(trainer.model, step_rows(tiny, splits, groups)[0])
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]))
    assert gradients[0].norm() > 0
    assert (gradients[0] - gradients[1]).norm() < 2e-6 * gradients[0].norm()


def test_bf16_training_keeps_the_adapter_in_fp32(tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path) -> None:
    trainer = trainer_for(tiny, replace(plan, precision="bf16", steps=3), splits, tmp_path)
    trainer.train()
    kinds = {name.split(".")[-3]: p.dtype for name, p in trainer.model.named_parameters() if "lora" in name}
    assert set(kinds.values()) == {torch.float32}
    assert trainer.model.get_input_embeddings().weight.dtype == torch.bfloat16


def test_4_bit_base_learns(tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path) -> None:
    trainer = trainer_for(tiny, replace(plan, method="qlora", steps=12, learning_rate=0.02), splits, tmp_path)
    trainer.train()
    assert "Linear4bit" in {type(m).__name__ for m in trainer.model.modules()}
    assert trainer.tally.losses[-1] < trainer.tally.losses[0] - 0.2
    save_adapter(trainer.model, tmp_path / "adapter")
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_step_without_a_finite_loss_changes_nothing(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path
) -> None:
    trainer = trainer_for(tiny, plan, splits, tmp_path)
    with torch.no_grad():
        next(p for n, p in trainer.model.named_parameters() if "lora_B" in n).fill_(float("nan"))
    with pytest.raises(NotFiniteError) as caught:
        trainer.train()
    assert (caught.value.step, trainer.tally.losses) == (0, [])


def test_a_step_that_is_left_out_moves_no_weight(tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path) -> None:
    trainer = trainer_for(tiny, replace(plan, steps=4), splits, tmp_path)
    weights: list[torch.Tensor] = []

    def watch(_: Tally) -> None:
        weights.append(torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters() if p.requires_grad]))

    trainer._run = replace(trainer._run, watch=watch, skipped=frozenset({2}))
    trainer.train()
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2]), "not even by the moments of the steps before"
    assert not torch.equal(weights[2], weights[3])
    assert [loss is None for loss in trainer.tally.losses] == [False, False, True, False]


class Killed(Exception):
    pass


@pytest.mark.parametrize(("precision", "left_in"), [("fp32", (0, 4, 7, 9)), ("bf16", (5,))])
def test_left_in_the_middle_of_a_step_it_ends_with_the_same_weights(
    tiny: BaseModel, plan: TrainingPlan, splits: Splits, tmp_path: Path, precision: str, left_in: tuple[int, ...]
) -> None:
    # Dropout on, four and more micro-batches in a step, and six steps in an epoch.
    short = replace(plan, steps=11, warmup_steps=2, checkpoint_every=3, precision=precision, dropout=0.2, micro_batch_tokens=40)

    def run(folder: Path, leave_in: int | None, *, save: bool = False) -> dict[str, bytes] | None:
        trainer = trainer_for(tiny, short, splits, folder)
        beats = 0

        def beat() -> None:
            # In the middle of a step, when dropout has drawn for some of its micro-batches.
            nonlocal beats
            beats = beats + 1 if trainer.state.global_step == leave_in else 0
            if beats == 2:
                raise Killed

        trainer._run = replace(trainer._run, beat=beat)
        left = checkpoints.newest(folder)
        if left is not None:
            trainer.resume_tally(Tally.read(left / TALLY))
        try:
            trainer.train(resume_from_checkpoint=None if left is None else str(left))
        except Killed:
            if save:
                trainer.save_now()
            return None
        assert len(trainer.tally.losses) == short.steps
        return {n: p.detach().numpy().tobytes() for n, p in trainer.model.named_parameters() if p.requires_grad}

    undisturbed = run(tmp_path / "whole", None)
    for step in left_in:
        folder = tmp_path / str(step)
        assert run(folder, step, save=step % 2 == 1) is None
        assert run(folder, None) == undisturbed, f"left in step {step}"
