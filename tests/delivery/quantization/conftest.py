"""A tiny random model and an adapter for it: everything but the answers is real."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery.artifacts import Artifact, BaseModel, describe_folder

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_adapter(base: Path, out: Path, *, seed: int = 0) -> Artifact:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.02)
    tuned.save_pretrained(out)
    return describe_folder("adapter", out, ["adapter_config.json", "adapter_model.safetensors"])


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-base")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["a claim about water in the kitchen"],
        trainers.BpeTrainer(vocab_size=288, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", chat_template=TEMPLATE
    ).save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return BaseModel(
        name="tiny",
        path=str(folder),
        source="test",
        sha256="0" * 64,
        licence="none",
        parameters=sum(p.numel() for p in model.parameters()),
        context_length=256,
    )


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_adapter(Path(tiny_base.path), tmp_path_factory.mktemp("tiny-adapter"))


@pytest.fixture
def plain_adapter(tmp_path: Path) -> Artifact:
    """Files of the right names, for what only copies them."""
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 16)
    return describe_folder("adapter", folder)


@pytest.fixture
def plain_base(tmp_path: Path) -> BaseModel:
    return BaseModel(
        name="plain",
        path=str(tmp_path / "base"),
        source="test",
        sha256="1" * 64,
        licence="none",
        parameters=1000,
        context_length=64,
    )
