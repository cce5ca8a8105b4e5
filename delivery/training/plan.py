"""From data, machine and wishes to a training plan: a pure function, each choice with its reason.

Sources: LoRA on every linear layer, a learning rate about ten times that of full fine-tuning, and small batches follow
Schulman et al., "LoRA Without Regret" (Thinking Machines Lab, 2025); 4-bit base weights follow Dettmers et al., "QLoRA"
(2023).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from delivery.artifacts import BaseModel, Learned, Machine, TokenStats, TrainingPlan
from delivery.client_config import Training
from delivery.errors import ConfigError, DoesNotFit
from delivery.training.batches import validation_steps
from delivery.training.history import Like, Past, learn
from delivery.training.memory import Memory, Setup, predict
from delivery.training.outline import extend, seconds_for_answers
from delivery.training.recipe import Recipe, choose
from delivery.training.stopping import plan_looks
from delivery.training.work import accumulation, computed_per_row, rate, row_seconds, step_seconds

START_SECONDS = 15.0
"""Starting the process, importing and loading: paid once per attempt."""

_CHECKPOINT_SECONDS = 45.0
_MICRO_BATCH_TOKENS = {"cpu": 1536, "cuda": 8192}
"""Fastest on CPU, where larger ones fall out of the caches; on an accelerator larger ones fill it."""

_USABLE_MEMORY = 0.85
_FEWEST_STEPS = 10
"""With fewer, nothing is learned: a time bound on a slow machine does not go below."""


@dataclass(frozen=True, slots=True)
class _Fit:
    setup: Setup
    learned: Learned
    peak_bytes: int
    why: tuple[str, ...]

    @property
    def method(self) -> Literal["lora", "qlora"]:
        return "qlora" if self.setup.method == "qlora" else "lora"

    @property
    def micro_batch_tokens(self) -> int:
        return self.setup.micro_batch_tokens


@dataclass(frozen=True, slots=True)
class _Length:
    steps: int
    asked: int
    seconds: float
    step_seconds: float
    why: tuple[str, ...]


def make_plan(
    training: Training,
    *,
    base: BaseModel,
    stats: TokenStats,
    machine: Machine,
    started: bool = False,
    history: Sequence[Past] = (),
) -> TrainingPlan:
    """The plan for this data on this machine; what ``training`` pins is kept.

    ``started``: from a trained adapter. ``history`` corrects what is predicted.

    ``max_minutes`` bounds the number of steps here and now, never the clock later, so that a run that was interrupted
    ends with the same weights as one that was not. ``predicted_seconds`` is the wall time of the whole training run,
    start and validation included.

    Raises:
        ConfigError: a row is longer than the base model's context.
        DoesNotFit: not even the smallest micro-batch fits into memory; says what would.
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
    fit = _fit(training, base, stats, machine=machine, recipe=recipe, history=history)
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
        predicted_step_seconds=length.step_seconds,
        learned=fit.learned,
        why=(
            *fit.why,
            *recipe.why,
            *_sharing(stats, fit),
            f"Micro-batches of up to {fit.micro_batch_tokens} tokens: fast on {machine.device}, and they take the longest row.",
            f"Computing in {precision}: {'this machine multiplies it natively' if machine.bf16 else 'no native bf16 here'}.",
            *length.why,
            f"Answers may take {ceil(stats.longest_answer * 1.25) + 8} tokens: the longest label ({stats.longest_answer}) "
            "and a quarter more.",
        ),
    )
    return extend(plan, training, recipe, step_seconds=length.step_seconds, start_seconds=START_SECONDS, asked=length.asked)


def accumulation_of(plan: TrainingPlan) -> int:
    """Micro-batches whose gradients make one step, on each device, for rows of the mean length."""
    return accumulation(plan.stats, Setup.of(plan), devices=plan.machine.devices)


def _fit(
    training: Training, base: BaseModel, stats: TokenStats, *, machine: Machine, recipe: Recipe, history: Sequence[Past]
) -> _Fit:
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
            setup = _setup(method, recipe, machine, micro_batch_tokens=size)
            learned = learn(history, Like(machine.device, machine.threads, base.sha256, method, setup.precision))
            memory = predict(base, stats, setup)
            least = round(memory.needed * learned.memory)
            if least > usable:
                continue
            name = "LoRA" if method == "lora" else "QLoRA"
            how = "as client.yaml asks" if training.method != "auto" else "the base fits as it is"
            how = how if method == "lora" or training.method != "auto" else "only a 4-bit base fits"
            why = f"{name}: {how}, about {least / 2**30:.1f} GiB of {has}: {_parts(memory)}."
            peak = round(memory.total * learned.memory)
            return _Fit(setup=setup, learned=learned, peak_bytes=peak, why=(why, *_from_before(learned)))
    raise DoesNotFit(
        f"training: {methods[-1]} of {base.name} needs at least {least / 2**30:.1f} GiB for rows of {stats.longest} tokens, "
        f"this machine has {has}; {_what_would_fit(training, base, stats, machine=machine, recipe=recipe)}"
    )


def _setup(method: str, recipe: Recipe, machine: Machine, *, micro_batch_tokens: int) -> Setup:
    return Setup(
        method=method,
        rank=recipe.rank,
        precision="bf16" if machine.bf16 else "fp32",
        batch_size=recipe.batch_size,
        micro_batch_tokens=micro_batch_tokens,
        device=machine.device,
        targets=recipe.targets,
    )


def _parts(memory: Memory) -> str:
    named = {name: size for name, size in memory._asdict().items() if size >= 2**20}
    return ", ".join(f"{name} {size / 2**30:.2f}" for name, size in named.items())


def _from_before(learned: Learned) -> tuple[str, ...]:
    if not learned.runs:
        return ()
    runs = f"{learned.runs} earlier training run{'s' if learned.runs > 1 else ''}"
    return (f"Corrected by {runs} here: time by {learned.seconds:.2f}, memory by {learned.memory:.2f}.",)


def _what_would_fit(training: Training, base: BaseModel, stats: TokenStats, *, machine: Machine, recipe: Recipe) -> str:
    """The ways out that really are ones, by the same prediction."""
    usable = _USABLE_MEMORY * machine.memory_bytes
    small = replace(_setup("qlora", recipe, machine, micro_batch_tokens=stats.longest), batch_size=1)
    ways = []
    if training.method == "lora" and predict(base, stats, small).needed <= usable:
        ways.append("set training.method to auto (QLoRA fits)")
    half = replace(stats, longest=stats.longest // 2, bands=tuple(b for b in stats.bands if b.tokens <= stats.longest // 2))
    if stats.bands and half.bands and predict(base, half, replace(small, micro_batch_tokens=half.longest)).needed <= usable:
        ways.append(f"leave out rows of more than {half.longest} tokens")
    ways.append(f"give it a machine with {predict(base, stats, small).needed / _USABLE_MEMORY / 2**30:.0f} GiB or more")
    return ", ".join(ways) + ", or choose a smaller base_model"


def _sharing(stats: TokenStats, fit: _Fit) -> list[str]:
    saved = 1.0 - computed_per_row(stats, fit.setup) / (stats.tokens / stats.rows)
    if stats.shared_prefix:
        what = f"All rows open with the same {stats.shared_prefix} tokens"
    elif stats.openings:
        what = f"Rows share {len(stats.openings)} openings, the longest of {stats.openings[0].tokens} tokens"
    else:
        return []
    return [f"{what}: computed once per micro-batch, with the same gradients, which saves {saved:.0%} of the work."]


def _length(training: Training, base: BaseModel, stats: TokenStats, *, machine: Machine, recipe: Recipe, fit: _Fit) -> _Length:
    speed = rate(machine, fit.method) / fit.learned.seconds
    one_row = row_seconds(base, stats, setup=fit.setup, machine=machine) * fit.learned.seconds
    one_step = step_seconds(base, stats, setup=fit.setup, machine=machine) * fit.learned.seconds
    per_epoch = ceil(stats.rows / recipe.batch_size)
    asked = max(1, round(recipe.epochs * per_epoch))

    def seconds(steps: int) -> float:
        looks = plan_looks(training.early_stopping, rows=stats.validation_rows, steps=steps, batch_size=recipe.batch_size)
        scored = looks.rows * (ceil(steps / looks.every) if looks.every else len(validation_steps(steps)))
        # A forward pass is half of what a training row costs.
        return START_SECONDS + steps * one_step + 0.5 * scored * one_row

    steps = asked
    bound = seconds_for_answers(training, recipe, stats, start_seconds=START_SECONDS)
    if bound is not None:
        within = bisect_right(range(1, asked + 1), bound, key=seconds)
        # The looks of a few steps more may be fewer.
        within = next((fewer for fewer in range(within, 0, -1) if seconds(fewer) <= bound), 0)
        steps = min(asked, max(within, _FEWEST_STEPS))
    devices = f" on {machine.devices} devices" if machine.devices > 1 else ""
    why = [
        f"{steps} steps of about {one_step:.2g} s at {speed / 1e9:.0f} GFLOP/s{devices}, and {START_SECONDS:.0f} s to start."
    ]
    if steps < asked:
        why.append(
            f"Stopped at {steps / per_epoch:.2f} of {recipe.epochs:g} passes for training.max_minutes: "
            f"{training.max_minutes or 0:g}, but at no fewer than {_FEWEST_STEPS} steps; the rate falls to zero over these."
        )
    return _Length(steps=steps, asked=asked, seconds=seconds(steps), step_seconds=one_step, why=tuple(why))
