"""The output layer and the loss as one autograd function that never holds all logits.

A token's loss hangs on its own hidden state alone, so that state's gradient is made beside the loss, a few tokens at a time,
and only scaled in the backward pass. Nothing is multiplied twice; with a frozen output layer nothing else is needed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear, pad

from delivery.training.memory import LOGITS_AT_ONCE
from delivery.training.packing import GRID


def answer_losses(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor) -> torch.Tensor:
    """Each token's negative log-likelihood (nats, in float32), with a gradient for ``hidden`` alone.

    Shapes: hidden (tokens, width), weight (vocabulary, width), bias (vocabulary), targets (tokens).
    """
    tokens = len(targets)
    # See GRID: further tokens whose losses nobody asks for.
    filling = -tokens % GRID
    losses: torch.Tensor = _AnswerLosses.apply(pad(hidden, (0, 0, 0, filling)), weight, bias, pad(targets, (0, filling)))
    return losses[:tokens]


class _AnswerLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        hidden, weight, bias, targets = inputs
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = torch.empty(len(hidden), dtype=wide, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        at_once = max(1, LOGITS_AT_ONCE // len(weight))
        for start in range(0, len(hidden), at_once):
            part = slice(start, start + at_once)
            logits, wanted = linear(hidden[part], weight, bias).to(wide), targets[part, None]
            total = logits.logsumexp(-1, keepdim=True)
            losses[part] = (total - logits.gather(1, wanted))[:, 0]
            if gradient is not None:
                shares = logits.sub_(total).exp_()
                shares.scatter_add_(1, wanted, torch.full_like(total, -1.0))
                gradient[part] = shares.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * gradients[0][:, None]).to(gradient.dtype), None, None, None
