"""The frozen base with a fresh adapter, and the adapter's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from delivery.artifacts import BaseModel, TrainingPlan
from delivery.errors import ConfigError, IntegrityError
from delivery.training.hf import shared_prefix
from delivery.training.hf.fused import fuse
from delivery.training.hf.heap import keep_heap
from delivery.weights.hf import has_plain_attention, load_config, load_model

_GROUPS = {"attention": ("attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn")}
"""What the modules around the linear layers of such a group have in their names, over the architectures."""


def attach_adapter(plan: TrainingPlan, base: BaseModel, start: Path | None = None) -> Any:
    """The frozen base with a fresh adapter, drawn from the plan's seed, or with the trained one of a folder.

    Raises:
        ConfigError: the base has no layer of the names that the plan targets.
        IntegrityError: the trained adapter is not one of this plan's form.
    """
    keep_heap()
    dtype = torch.bfloat16 if plan.precision == "bf16" else torch.float32
    shares = has_plain_attention(load_config(Path(base.path)))
    shared_prefix.register()
    attention = shared_prefix.NAME if shares else "sdpa"
    model = load_model(Path(base.path), dtype=dtype, attention=attention, nf4=plan.method == "qlora")
    model.config.use_cache = False
    torch.manual_seed(plan.seed)
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        use_rslora=plan.rslora,
        target_modules=_targets(model, plan.targets),
        lora_dropout=plan.dropout,
        bias="none",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    # Where the base lies on this machine is nobody's business; its name is.
    model.peft_config["default"].base_model_name_or_path = base.name
    if start is not None:
        _start_from(model, start)
    fuse(model)
    return model


def _targets(model: Any, wanted: tuple[str, ...]) -> str | list[str]:
    """The full names of the linear layers that are wanted; all but the output layer in peft's own words."""
    if wanted == ("all",):
        return "all-linear"
    head = model.get_output_embeddings()
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head]
    chosen: set[str] = set()
    for one in wanted:
        found = [name for name in linear if _belongs(name, one)]
        if not found:
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise ConfigError(f"training.targets: the base model has no linear layer {one!r} (it has {known})")
        chosen |= set(found)
    own = {name.rsplit(".", 1)[-1] for name in chosen}
    # Other software that loads adapters expects layers' own names, where these say it all.
    return sorted(own if {name for name in linear if name.rsplit(".", 1)[-1] in own} == chosen else chosen)


def _belongs(name: str, wanted: str) -> bool:
    around, _, own = name.rpartition(".")
    if wanted in _GROUPS:
        return any(part in around.rsplit(".", 1)[-1].lower() for part in _GROUPS[wanted])
    return wanted in ("all", own) or name.endswith(f".{wanted}")


def _start_from(model: Any, folder: Path) -> None:
    try:
        weights = load_file(folder / "adapter_model.safetensors")
        found = set_peft_model_state_dict(model, weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise IntegrityError(f"{folder}: cannot be started from ({str(error).strip().splitlines()[0][:200]})") from error
    missing = [name for name in found.missing_keys if "lora_" in name]
    if missing or found.unexpected_keys:
        raise IntegrityError(f"{folder}: cannot be started from: its layers are not those of this plan; set warm_start: never")


def save_adapter(model: Any, folder: Path) -> None:
    """The adapter's weights and configuration as two files, the same bytes for the same weights."""
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # A set, which is written in another order by every process.
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
