"""The loss on the answers' tokens alone."""

from __future__ import annotations

from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting

from delivery.errors import ConfigError
from delivery.training.hf.rows import MicroBatch, shares


class AnswerLoss:
    """Sum over a micro-batch's answer tokens of their weighted negative log-likelihood (nats, in float32)."""

    def __init__(self, model: Any, *, precision: str) -> None:
        head = model.get_output_embeddings()
        if head is None:
            raise ConfigError("base_model: this architecture has no output layer to learn answers through; use another base")
        head.register_forward_pre_hook(self._keep_answers)
        self._model = model
        self._shared = shares(model)
        self._bf16 = precision == "bf16"
        self._positions = torch.empty(0, dtype=torch.long)

    def _keep_answers(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (inputs[0].flatten(0, -2).index_select(0, self._positions),)

    def __call__(self, batch: MicroBatch) -> torch.Tensor:
        """A scalar with gradient; ``batch`` is one that ``Rows`` made."""
        return torch.dot(self.by_token(batch), batch["weights"])

    def by_token(self, batch: MicroBatch) -> torch.Tensor:
        """The negative log-likelihood of every answer token, row after row, unweighted."""
        self._positions = batch["positions"]
        ids, layout = batch["input_ids"], batch["layout"]
        inputs: dict[str, Any] = (
            {"input_ids": ids.view(layout.rows, layout.width)}
            if not self._shared
            else {"input_ids": ids, "position_ids": batch["position_ids"], "layout": layout}
        )
        # Autocast already gives the adapter bfloat16 inputs; peft would copy each to float32 and back.
        with disable_input_dtype_casting(self._model, self._bf16), torch.autocast(ids.device.type, torch.bfloat16, self._bf16):
            logits = self._model(**inputs, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float(), batch["targets"], reduction="none")
