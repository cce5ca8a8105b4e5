"""The frozen base with a fresh adapter, and the adapter's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from delivery.artifacts import BaseModel, TrainingPlan
from delivery.training.hf import shared_prefix
from delivery.training.hf.fused import fuse
from delivery.training.hf.heap import keep_heap
from delivery.weights.hf import load_config, load_model


def attach_adapter(plan: TrainingPlan, base: BaseModel) -> Any:
    """The frozen base with a fresh adapter, drawn from the plan's seed."""
    keep_heap()
    dtype = torch.bfloat16 if plan.precision == "bf16" else torch.float32
    shares = shared_prefix.supports(load_config(Path(base.path)))
    shared_prefix.register()
    attention = shared_prefix.NAME if shares else "sdpa"
    model = load_model(Path(base.path), dtype=dtype, attention=attention, nf4=plan.method == "qlora")
    model.config.use_cache = False
    torch.manual_seed(plan.seed)
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        target_modules="all-linear",
        lora_dropout=plan.dropout,
        bias="none",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    # Where the base lies on this machine is nobody's business; its name is.
    model.peft_config["default"].base_model_name_or_path = base.name
    fuse(model)
    return model


def save_adapter(model: Any, folder: Path) -> None:
    """The adapter's weights and configuration as two files, the same bytes for the same weights."""
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # A set, which is written in another order by every process.
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
