"""A base model's folder: what it must hold, what it must not, and its hash."""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Any

from delivery.artifacts import BaseModel, Shape, sha256_file, sha256_json
from delivery.errors import ConfigError

PLAIN_ATTENTION = ("llama", "qwen2", "qwen3", "smollm3")
"""Architectures whose attention is the softmax of scaled products over all earlier tokens, and nothing else: openings that
rows share can be computed once."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


def describe_base(folder: Path, *, name: str, source: str, licence: str | None = None) -> BaseModel:
    """Check a folder and describe it. ``sha256`` names the weights, the tokenizer and the configuration.

    Raises:
        ConfigError: something is missing, pickled, or would run code of its own.
    """
    config = _read_json(folder / "config.json")
    weights = sorted(folder.glob("*.safetensors"))
    _refuse_unusable(folder, config, weights)
    files = {p.name: sha256_file(p) for p in [*weights, *(folder / n for n in _TOKENIZER)] if p.is_file()}
    return BaseModel(
        name=name,
        path=str(folder),
        source=source,
        # The library's own version, which it writes into the file, does not change the model.
        sha256=sha256_json({"files": files, "config": {k: v for k, v in config.items() if k != "transformers_version"}}),
        licence=licence or _licence(folder),
        parameters=sum(_count(path) for path in weights),
        context_length=_context_length(folder, config),
        shape=shape_of(config),
    )


def _refuse_unusable(folder: Path, config: dict[str, Any], weights: list[Path]) -> None:
    pickled = next((p.name for pattern in _PICKLES for p in sorted(folder.glob(pattern))), None)
    if pickled is not None:
        raise ConfigError(f"{folder / pickled}: pickled weights can run code and are refused; keep only *.safetensors")
    if not weights:
        raise ConfigError(f"{folder}: holds no *.safetensors; save the model with save_pretrained and point base_model there")
    if not any((folder / n).is_file() for n in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise ConfigError(f"{folder}: holds no tokenizer (tokenizer.json); save it there with tokenizer.save_pretrained")
    tokenizer_config = folder / "tokenizer_config.json"
    remote = "auto_map" in config or (tokenizer_config.is_file() and "auto_map" in _read_json(tokenizer_config))
    if remote or any(folder.glob("*.py")):
        raise ConfigError(f"{folder}: brings code of its own (auto_map or *.py), which is never run; use a plain architecture")
    if "quantization_config" in config:
        raise ConfigError(f"{folder / 'config.json'}: quantized weights cannot be merged into; use the full-precision model")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: is missing; a base model is config.json, *.safetensors and a tokenizer") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: is not readable JSON ({error})") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is not a JSON object")
    return document


def _count(path: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as tensors:
            return sum(prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path}: is not a readable safetensors file ({error}); fetch it again") from error


def _context_length(folder: Path, config: dict[str, Any]) -> int:
    inner = config.get("text_config") or config
    for key in ("max_position_embeddings", "n_positions", "max_sequence_length"):
        if isinstance(inner.get(key), int):
            return int(inner[key])
    raise ConfigError(f"{folder / 'config.json'}: names no max_position_embeddings, so the context length is unknown; add it")


def shape_of(config: dict[str, Any]) -> Shape | None:
    """The sizes that a ``config.json`` names; None where one of them is missing."""
    inner = config.get("text_config") or config

    def first(*keys: str) -> int | None:
        return next((int(inner[key]) for key in keys if isinstance(inner.get(key), int)), None)

    hidden, layers = first("hidden_size", "n_embd", "d_model"), first("num_hidden_layers", "n_layer")
    heads, vocabulary = first("num_attention_heads", "n_head"), first("vocab_size")
    if not (hidden and layers and heads and vocabulary):
        return None
    return Shape(
        hidden=hidden,
        intermediate=first("intermediate_size", "n_inner", "ffn_dim") or 4 * hidden,
        layers=layers,
        heads=heads,
        key_value_heads=first("num_key_value_heads") or heads,
        head_width=first("head_dim") or hidden // heads,
        vocabulary=vocabulary,
        architecture=str(inner.get("model_type", "")),
    )


def _licence(folder: Path) -> str:
    readme = folder / "README.md"
    if readme.is_file():
        found = re.search(r"^license:\s*(\S+)", readme.read_text(encoding="utf-8", errors="replace")[:5000], re.MULTILINE)
        if found:
            return found[1]
    return "unknown"
