"""From data, machine and wishes to a training plan: a pure function, each choice with its reason.

Sources: LoRA on every linear layer, a learning rate about ten times that of full fine-tuning, and small batches follow
Schulman et al., "LoRA Without Regret" (Thinking Machines Lab, 2025); 4-bit base weights follow Dettmers et al., "QLoRA"
(2023). Training a frozen base costs four floating-point operations per parameter and token: two forward, two backward.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import ceil
from typing import Literal

from delivery.artifacts import BaseModel, Machine, TokenStats, TrainingPlan
from delivery.client_config import Training
from delivery.errors import ConfigError
from delivery.training.batches import validation_rows, validation_steps
from delivery.training.memory import peak_bytes, rows_at_once
from delivery.training.outline import extend, seconds_for_answers
from delivery.training.packing import expected_tokens
from delivery.training.recipe import Recipe, choose

START_SECONDS = 15.0
"""Starting the process, importing and loading: paid once per attempt."""

_EXPECTED_SHARE = {"cpu": 0.45, "cuda": 0.35}
"""Share of the machine's matrix rate that training reaches, counted as 4 x parameters x tokens per second."""
_QLORA_SLOWDOWN = 1.2
"""Dequantizing the base weights in every forward and backward pass: 1.05 on a CPU, more on an accelerator."""
_CHECKPOINT_SECONDS = 45.0
_MICRO_BATCH_TOKENS = {"cpu": 1536, "cuda": 8192}
"""Fastest on CPU, where larger ones fall out of the caches; on an accelerator larger ones fill it."""

_USABLE_MEMORY = 0.85
_FEWEST_STEPS = 10
"""With fewer, nothing is learned: a time bound on a slow machine does not go below."""


@dataclass(frozen=True, slots=True)
class _Fit:
    method: Literal["lora", "qlora"]
    micro_batch_tokens: int
    peak_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class _Length:
    steps: int
    asked: int
    seconds: float
    step_seconds: float
    why: tuple[str, ...]


def make_plan(
    training: Training, *, base: BaseModel, stats: TokenStats, machine: Machine, started: bool = False
) -> TrainingPlan:
    """The plan for this data on this machine; what ``training`` pins is kept. ``started``: from a trained adapter.

    ``max_minutes`` bounds the number of steps here and now, never the clock later, so that a run that was interrupted
    ends with the same weights as one that was not. ``predicted_seconds`` is the wall time of the whole training run,
    start and validation included.

    Raises:
        ConfigError: a row is longer than the base model's context, or memory cannot fit.
    """
    if stats.rows < 1 or stats.tokens < 1:
        raise ConfigError("data: there is no training row to plan for; add rows or lower data.splits.test")
    if stats.longest > base.context_length:
        raise ConfigError(
            f"data: the longest row has {stats.longest} tokens, but {base.name} reads at most {base.context_length}; "
            "shorten that row ('delivery data check' names it) or choose a base model with a longer context"
        )
    recipe = choose(training, base, stats, started=started)
    precision: Literal["bf16", "fp32"] = "bf16" if machine.bf16 else "fp32"
    fit = _fit(training, base, stats, machine=machine, recipe=recipe)
    recipe = choose(training, base, stats, method=fit.method, started=started)
    length = _length(training, base, stats, machine=machine, recipe=recipe, fit=fit)
    per_epoch = ceil(stats.rows / recipe.batch_size)
    plan = TrainingPlan(
        method=fit.method,
        rank=recipe.rank,
        alpha=recipe.alpha,
        learning_rate=recipe.learning_rate,
        epochs=round(length.steps / per_epoch, 4),
        batch_size=recipe.batch_size,
        micro_batch_tokens=fit.micro_batch_tokens,
        steps=length.steps,
        warmup_steps=recipe.warmup_steps(length.steps),
        checkpoint_every=min(length.steps, max(1, round(_CHECKPOINT_SECONDS / length.step_seconds))),
        max_length=stats.longest,
        seed=training.seed,
        precision=precision,
        max_new_tokens=ceil(stats.longest_answer * 1.25) + 8,
        stats=stats,
        machine=machine,
        predicted_seconds=round(length.seconds, 1),
        predicted_peak_bytes=fit.peak_bytes,
        why=(
            fit.why,
            *recipe.why,
            *_sharing(stats, fit, recipe),
            f"Micro-batches of up to {fit.micro_batch_tokens} tokens: fast on {machine.device}, and they take the longest row.",
            f"Computing in {precision}: {'this machine multiplies it natively' if machine.bf16 else 'no native bf16 here'}.",
            *length.why,
            f"Answers may take {ceil(stats.longest_answer * 1.25) + 8} tokens: the longest label ({stats.longest_answer}) "
            "and a quarter more.",
        ),
    )
    return extend(plan, training, recipe, step_seconds=length.step_seconds, start_seconds=START_SECONDS, asked=length.asked)


def _fit(training: Training, base: BaseModel, stats: TokenStats, *, machine: Machine, recipe: Recipe) -> _Fit:
    """LoRA before QLoRA, and for each the largest micro-batch that memory takes, down to the longest row alone."""
    usable = _USABLE_MEMORY * machine.memory_bytes
    methods: tuple[Literal["lora", "qlora"], ...] = ("lora", "qlora") if training.method == "auto" else (training.method,)
    longest = max(stats.longest, stats.longest_pair)
    largest = max(_MICRO_BATCH_TOKENS.get(machine.device, 1536), longest)
    sizes = [largest, *(size for size in (largest // 2, largest // 4, largest // 8) if size > longest), longest]
    has = f"{machine.memory_bytes / 2**30:.1f} GiB of {machine.device} memory"
    least = 0
    for method in methods:
        for size in sizes:
            tokens = min(size, stats.shared_prefix + recipe.batch_size * (longest - stats.shared_prefix))
            width = 2 if machine.bf16 else 4
            least = peak_bytes(base.parameters, method, rank=recipe.rank, width=width, micro_batch_tokens=tokens, stats=stats)
            if least > usable:
                continue
            gib = f"about {least / 2**30:.1f} GiB of {has}"
            name = "LoRA" if method == "lora" else "QLoRA"
            how = "as client.yaml asks" if training.method != "auto" else "the base fits as it is"
            why = f"{name}: {how if method == 'lora' or training.method != 'auto' else 'only a 4-bit base fits'}, {gib}."
            return _Fit(method=method, micro_batch_tokens=size, peak_bytes=least, why=why)
    other = "set training.method to auto, or " if training.method == "lora" else ""
    raise ConfigError(
        f"training: {methods[-1]} of {base.name} needs at least {least / 2**30:.1f} GiB for rows of {stats.longest} tokens, "
        f"this machine has {has}; {other}choose a smaller base_model"
    )


def _sharing(stats: TokenStats, fit: _Fit, recipe: Recipe) -> list[str]:
    saved = 1.0 - _computed_per_row(stats, fit, recipe) / (stats.tokens / stats.rows)
    if stats.shared_prefix:
        what = f"All rows open with the same {stats.shared_prefix} tokens"
    elif stats.openings:
        what = f"Rows share {len(stats.openings)} openings, the longest of {stats.openings[0].tokens} tokens"
    else:
        return []
    return [f"{what}: computed once per micro-batch, with the same gradients, which saves {saved:.0%} of the work."]


def _computed_per_row(stats: TokenStats, fit: _Fit, recipe: Recipe) -> float:
    at_once = min(float(recipe.batch_size), rows_at_once(stats, fit.micro_batch_tokens))
    return expected_tokens(stats, at_once) / at_once


def _length(training: Training, base: BaseModel, stats: TokenStats, *, machine: Machine, recipe: Recipe, fit: _Fit) -> _Length:
    rate = (
        _EXPECTED_SHARE.get(machine.device, 0.35) * machine.matrix_flops / (_QLORA_SLOWDOWN if fit.method == "qlora" else 1.0)
    )
    row_seconds = 4.0 * base.parameters * _computed_per_row(stats, fit, recipe) / rate
    per_epoch = ceil(stats.rows / recipe.batch_size)
    step_seconds = row_seconds * stats.rows / per_epoch
    asked = max(1, round(recipe.epochs * per_epoch))

    def seconds(steps: int) -> float:
        # A forward pass is half of what a training row costs. Validation is at most as large as usual splits make it.
        scored = len(validation_steps(steps)) * min(validation_rows(steps, recipe.batch_size), ceil(stats.rows / 7))
        return START_SECONDS + steps * step_seconds + 0.5 * scored * row_seconds

    steps = asked
    bound = seconds_for_answers(training, recipe, stats, start_seconds=START_SECONDS)
    if bound is not None:
        within = bisect_right(range(1, asked + 1), bound, key=seconds)
        steps = min(asked, max(within, _FEWEST_STEPS))
    why = [f"{steps} steps of about {step_seconds:.1f} s at {rate / 1e9:.0f} GFLOP/s, and {START_SECONDS:.0f} s to start."]
    if steps < asked:
        why.append(
            f"Stopped at {steps / per_epoch:.2f} of {recipe.epochs:g} passes for training.max_minutes: "
            f"{training.max_minutes or 0:g}, but at no fewer than {_FEWEST_STEPS} steps; the rate falls to zero over these."
        )
    return _Length(steps=steps, asked=asked, seconds=seconds(steps), step_seconds=step_seconds, why=tuple(why))
