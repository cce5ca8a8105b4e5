"""Engine on transformers and peft: the one place that turns messages into tokens and loads weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import gguf as gguf_library
import torch
from jinja2 import TemplateError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig, GgufConfig
from transformers.utils import logging as transformers_logging

from delivery.artifacts import BaseModel, Example, Message
from delivery.errors import ConfigError, IntegrityError
from delivery.weights.folder import PLAIN_ATTENTION
from delivery.weights.uncompiled import PeftModel


class Rendered(NamedTuple):
    """Token ids of a chat; ``ids[answer_start:]`` is the answer with its end token (empty without an answer)."""

    ids: list[int]
    answer_start: int


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a model folder, with a chat template and an end token.

    Raises:
        ConfigError: it cannot be read, or has no chat template or no end token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the tokenizer cannot be read ({_first_line(error)})") from error
    if not tokenizer.chat_template:
        raise ConfigError(f"{path}: the tokenizer has no chat template; use an instruction-tuned model")
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"{path}: the tokenizer has no end token (eos_token)")
    return tokenizer


def render(tokenizer: Any, messages: Sequence[Message], answer: str | None = None) -> Rendered:
    """Messages (and the answer to learn) as token ids under the model's own chat template.

    Prompt and answer are tokenized apart, as they are in serving, where the answer is generated after the prompt's
    tokens: no token spans the border. The answer ends with the end token and nothing after it.

    Raises:
        ConfigError: the chat template does not take these roles.
    """
    turns = [{"role": m.role, "content": m.content} for m in messages]
    prompt = _apply(tokenizer, turns, open_answer=True)
    ids = _encode(tokenizer, prompt)
    if answer is None:
        return Rendered(ids, len(ids))
    whole = _apply(tokenizer, [*turns, {"role": "assistant", "content": answer}], open_answer=False)
    # Some templates open the answer differently when they continue it (a thinking block): then end it by hand.
    text = whole[len(prompt) :] if whole.startswith(prompt) else answer + tokenizer.eos_token
    learned = _encode(tokenizer, text)
    end = len(learned) - 1 - learned[::-1].index(tokenizer.eos_token_id) if tokenizer.eos_token_id in learned else None
    learned = [*learned, tokenizer.eos_token_id] if end is None else learned[: end + 1]
    return Rendered(ids + learned, len(ids))


def count_tokens(tokenizer: Any, example: Example) -> int:
    """Tokens of an example: template, messages and answer."""
    return len(render(tokenizer, example.messages, example.answer).ids)


def native_dtype() -> torch.dtype:
    """bfloat16 where this machine computes in it, else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else torch.float32


def load_config(path: Path) -> Any:
    """The configuration of a model folder, without its weights.

    Raises:
        ConfigError: the folder cannot be read as a model.
    """
    try:
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be loaded as a causal language model ({_first_line(error)})") from error


def has_plain_attention(config: Any) -> bool:
    """Whether a configuration's model attends to all earlier tokens by the softmax of scaled products, and in no other way."""
    return bool(config.model_type in PLAIN_ATTENTION and not getattr(config, "use_sliding_window", False))


def load_model(
    path: Path,
    *,
    adapter: Path | None = None,
    dtype: torch.dtype | None = None,
    attention: str | None = None,
    nf4: bool = False,
) -> Any:
    """The model of a folder, in evaluation mode, on the accelerator where there is one; with an adapter attached.

    ``dtype`` is ``native_dtype()`` by default. ``nf4`` quantizes the frozen weights on loading (Dettmers et al.,
    "QLoRA", 2023, with double quantization).

    Raises:
        ConfigError: the folder cannot be read as a causal language model.
        IntegrityError: the adapter's files are missing.
    """
    kind = dtype or native_dtype()
    options: dict[str, Any] = {"dtype": kind, "local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    options["device_map"] = {"": "cuda" if torch.cuda.is_available() else "cpu"}
    if attention is not None:
        options["attn_implementation"] = attention
    if nf4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=kind
        )
    try:
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(path, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be loaded as a causal language model ({_first_line(error)})") from error
    return (model if adapter is None else _attach(model, adapter)).eval()


def _attach(model: Any, adapter: Path) -> Any:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise IntegrityError(f"{adapter / name}: missing; run 'delivery resume' to train the adapter again")
    dtype = model.dtype
    model = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)
    return model


def merge(base: BaseModel, adapter: Path, out: Path) -> Path:
    """Fold an adapter into its base and store the result as bf16 safetensors with tokenizer and chat template.

    The sum is taken in float32 and rounded once; never in 4-bit. ``out`` appears whole, replacing what was there.

    Raises:
        ConfigError: the base cannot be read.
        IntegrityError: the adapter's files are missing, or merging gives weights that are not finite.
    """
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model = load_model(Path(base.path), adapter=adapter, dtype=torch.float32)
    try:
        with _quiet():
            merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise IntegrityError(f"{adapter}: merging it gives weights that are not finite ({_first_line(error)})") from error
    _save(merged.to(torch.bfloat16), load_tokenizer(Path(base.path)), partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return out


def convert_gguf(gguf: Path, out: Path) -> None:
    """A GGUF file, dequantized, as a plain folder of bf16 safetensors with tokenizer, chat template and end token."""
    # The reader draws a progress bar of its own, whatever the library's setting.
    with _quiet(), _read_once(), redirect_stderr(StringIO()):
        loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
    config = loaded.config
    config.__dict__.pop("quantization_config", None)
    config.__dict__.pop("_model_name_or_path", None)
    # A model that was read from GGUF refuses save_pretrained: its weights go into a plain one.
    plain = type(loaded)(config).to(torch.bfloat16)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    _save(plain, tokenizer, out)


@contextmanager
def _read_once() -> Iterator[None]:
    """transformers reads a GGUF file anew for configuration, tokenizer and weights, and the table of names per tensor."""
    kept = {name: getattr(gguf_library, name) for name in ("GGUFReader", "get_tensor_name_map")}
    try:
        for name, make in kept.items():
            setattr(gguf_library, name, cache(make))
        yield
    finally:
        for name, make in kept.items():
            setattr(gguf_library, name, make)


def _save(model: Any, tokenizer: Any, out: Path) -> None:
    with _quiet():
        model.save_pretrained(out, safe_serialization=True)
        tokenizer.save_pretrained(out)


def _apply(tokenizer: Any, turns: list[dict[str, str]], *, open_answer: bool) -> str:
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=open_answer))
    except TemplateError as error:
        roles = ", ".join(turn["role"] for turn in turns)
        raise ConfigError(f"the base model's chat template does not take the roles {roles} ({_first_line(error)})") from error


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
