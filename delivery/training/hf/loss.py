"""The loss on the answers' tokens alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting

from delivery.errors import ConfigError
from delivery.training.hf.head import answer_losses
from delivery.training.hf.rows import MicroBatch, shares
from delivery.training.hf.shared_prefix import views_of


class AnswerLoss:
    """Sum over a micro-batch's answer tokens of their weighted negative log-likelihood (nats, in float32)."""

    def __init__(self, model: Any, *, precision: str) -> None:
        head = model.get_output_embeddings()
        if head is None:
            raise ConfigError("base_model: this architecture has no output layer to learn answers through; use another base")
        head.register_forward_pre_hook(self._keep_answers)
        self._model = model
        self._packs = shares(model)
        self._bf16 = precision == "bf16"
        self._positions = self._targets = torch.empty(0, dtype=torch.long)
        # The architectures that share prefixes do nothing to the logits afterwards.
        self._fused = self._packs and type(head) is torch.nn.Linear and not head.weight.requires_grad
        if self._fused:
            head.forward = partial(self._losses, head)

    def _losses(self, head: Any, hidden: torch.Tensor) -> torch.Tensor:
        """In place of logits."""
        return answer_losses(hidden.to(head.weight.dtype), head.weight, head.bias, self._targets)

    def _keep_answers(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (inputs[0].flatten(0, -2).index_select(0, self._positions),)

    def __call__(self, batch: MicroBatch) -> torch.Tensor:
        """A scalar with gradient; ``batch`` is one that ``Rows`` made."""
        return torch.dot(self.by_token(batch), batch["weights"])

    def by_token(self, batch: MicroBatch) -> torch.Tensor:
        """The negative log-likelihood of every answer token, row after row, unweighted."""
        self._positions, self._targets = batch["positions"], batch["targets"]
        ids = batch["input_ids"]
        inputs: dict[str, Any] = {"input_ids": ids}
        if self._packs:
            inputs |= {"position_ids": batch["position_ids"], "layout": views_of(batch["layout"], ids.device)}
        # Autocast already gives the adapter bfloat16 inputs; peft would copy each to float32 and back.
        with disable_input_dtype_casting(self._model, self._bf16), torch.autocast(ids.device.type, torch.bfloat16, self._bf16):
            out = self._model(**inputs, use_cache=False).logits
        return out.float() if self._fused else torch.nn.functional.cross_entropy(out.float(), self._targets, reduction="none")
