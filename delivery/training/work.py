"""How long an optimizer step takes, from the model's shape, the rows' lengths and the machine's matrix rate. Pure.

Training a frozen base costs four floating-point operations per parameter and token, two forward and two backward; scores
and sums of attention cost twelve per number of the query and token attended to (half of them where a row looks back only).
"""

from __future__ import annotations

from math import ceil

from delivery.artifacts import BaseModel, Machine, TokenStats
from delivery.training.memory import Setup, rows_at_once, shape_of
from delivery.training.packing import expected_tokens

SHARE = {"cpu": 0.45, "cuda": 0.35}
"""Of the machine's matrix rate, which training reaches; ``tests/benchmarks/training_matrix_rate.py`` measures it."""
_QLORA_SLOWDOWN = 1.2
"""Dequantizing the base weights in every forward and backward pass: 1.05 on a CPU, more on an accelerator."""
_LAYER_SECONDS = {"cpu": 0.0, "cuda": 1e-3}
"""Starting the kernels of a layer, forward and backward: what a step costs however small it is."""
_DIVIDED = 0.9
"""Share of several devices' rates that is left beside waiting for each other."""


def rate(machine: Machine, method: str) -> float:
    """Floating-point operations per second that training reaches on one device."""
    return SHARE[machine.device] * machine.matrix_flops / (_QLORA_SLOWDOWN if method == "qlora" else 1.0)


def computed_per_row(stats: TokenStats, setup: Setup) -> float:
    """Tokens that a row costs, what it shares with other rows of its micro-batch divided among them."""
    at_once = min(float(setup.batch_size), rows_at_once(stats, setup.micro_batch_tokens))
    return expected_tokens(stats, at_once) / at_once


def row_seconds(base: BaseModel, stats: TokenStats, *, setup: Setup, machine: Machine) -> float:
    """What training on a row of the mean length takes on one device."""
    shape, tokens = shape_of(base), computed_per_row(stats, setup)
    attention = 6.0 * shape.layers * shape.query * stats.tokens / stats.rows
    return (4.0 * base.parameters + attention) * tokens / rate(machine, setup.method)


def step_seconds(base: BaseModel, stats: TokenStats, *, setup: Setup, machine: Machine) -> float:
    """What a step over a whole batch takes on all devices together."""
    rows, devices = min(setup.batch_size, stats.rows), machine.devices
    computing = row_seconds(base, stats, setup=setup, machine=machine) * stats.rows / ceil(stats.rows / rows)
    starting = _LAYER_SECONDS[machine.device] * shape_of(base).layers * accumulation(stats, setup, devices=devices)
    if devices == 1:
        return computing + starting
    # The slowest has the most rows, and no device can have less than one.
    return computing * ceil(rows / devices) / rows / _DIVIDED + starting


def accumulation(stats: TokenStats, setup: Setup, *, devices: int = 1) -> int:
    """Micro-batches of a step on each device, for rows of the mean length."""
    rows = ceil(min(setup.batch_size, stats.rows) / devices)
    return ceil(rows / min(rows, rows_at_once(stats, setup.micro_batch_tokens)))
