"""Engine on transformers and bitsandbytes: NF4."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from delivery.weights.hf import load_model

# It warns that an optional kernel for inference is not there; quantizing does not use it.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def quantize_nf4(merged: Path, out: Path) -> None:
    """Quantize merged bf16 weights to 4-bit NormalFloat and store them as safetensors.

    Blocks of 64 weights, scales quantized again (Dettmers et al., "QLoRA", 2023); embeddings stay in bf16, as
    bitsandbytes does it. Tokenizer, chat template and generation settings are copied to the letter.

    Raises:
        ConfigError: the merged weights cannot be read.
    """
    model = load_model(merged, dtype=torch.bfloat16, nf4=True)
    transformers_logging.disable_progress_bar()
    model.save_pretrained(out, safe_serialization=True)
    for path in merged.iterdir():
        weights = path.suffix == ".safetensors" or path.name == "model.safetensors.index.json"
        if path.is_file() and not weights and path.name not in ("config.json", "manifest.json"):
            shutil.copyfile(path, out / path.name)
