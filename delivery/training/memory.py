"""Peak memory of a training run, predicted from sizes alone. Pure."""

from __future__ import annotations

from bisect import bisect_left
from math import sqrt

from delivery.artifacts import TokenStats
from delivery.training.packing import expected_tokens

PLAIN_ATTENTION_UP_TO = 512
"""Tokens that a query sees. On a CPU attention keeps the scores of up to so many for the backward pass, and computes those of
more again."""
_PROCESS_BYTES = 550_000_000
"""Interpreter and libraries."""
_VOCABULARY = 131_072
"""Assumed, for the logits: a generous one."""


def rows_at_once(stats: TokenStats, micro_batch_tokens: int) -> float:
    """How many rows of the mean length a micro-batch holds beside the tokens that they share."""
    fits = bisect_left(range(1, stats.rows + 1), True, key=lambda rows: expected_tokens(stats, rows) > micro_batch_tokens)
    return max(1.0, float(fits))


def adapter_parameters(parameters: int, rank: int) -> float:
    """About how many parameters LoRA of this rank on every linear layer has.

    Width times depth of decoder models grows with the root of their size; 28 fits SmolLM2-135M and Llama-8B to 10 %.
    """
    return 28.0 * rank * sqrt(parameters)


def peak_bytes(parameters: int, method: str, *, rank: int, width: int, micro_batch_tokens: int, stats: TokenStats) -> int:
    """Peak memory of training: weights, adapter with gradient and AdamW moments, activations, logits of the answers.

    ``width`` is the bytes of a number in the training precision. The activations' constants were fitted to SmolLM2-135M
    (2.6 GB for 1536 tokens in rows of 192), with width times depth again as the root of the model's size.
    """
    weights = parameters * (0.65 if method == "qlora" else width)
    adapter = adapter_parameters(parameters, rank) * 4 * 4
    # Plain attention keeps a matrix of scores per head, so a token costs more in a longer row.
    scores = 0.1 * stats.longest if stats.longest <= PLAIN_ATTENTION_UP_TO else 0.0
    activations = (50.0 + scores) * width * sqrt(parameters) * micro_batch_tokens
    answers = rows_at_once(stats, micro_batch_tokens) * stats.supervised_tokens / stats.rows
    logits = answers * _VOCABULARY * (2 * width + 8)
    return int(_PROCESS_BYTES + weights + adapter + activations + logits)
