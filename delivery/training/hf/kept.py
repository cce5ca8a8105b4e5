"""The adapter's weights at the best look so far, kept beside the run and inside its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

_FILE = "kept.safetensors"


class KeptWeights:
    """A copy of a model's trainable weights; none at first."""

    def __init__(self, model: Any) -> None:
        self._trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._copy: dict[str, torch.Tensor] = {}

    def keep(self) -> None:
        """Copy the weights as they are now, out of an accelerator's memory."""
        self._copy = {name: parameter.detach().to("cpu", copy=True) for name, parameter in self._trained.items()}

    def restore(self) -> None:
        """Put the copy back; nothing where none was made."""
        with torch.no_grad():
            for name, weights in self._copy.items():
                self._trained[name].copy_(weights)

    def write(self, checkpoint: Path) -> None:
        """Into a checkpoint that is being written; nothing where no copy was made."""
        if self._copy:
            save_file({name: weights.contiguous() for name, weights in self._copy.items()}, checkpoint / _FILE)

    def read(self, checkpoint: Path) -> None:
        """What a checkpoint holds."""
        if (checkpoint / _FILE).is_file():
            self._copy = load_file(checkpoint / _FILE)
