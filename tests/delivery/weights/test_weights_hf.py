"""Messages to tokens, and folding an adapter into its base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from delivery.artifacts import BaseModel, Example, Message
from delivery.errors import ConfigError, IntegrityError
from delivery.weights import hf, resolve, token_counter
from tests.delivery.weights.tiny import make_tiny_model

CHAT = (Message("system", "sort the text"), Message("user", "w1 w2"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return make_tiny_model(tmp_path_factory.mktemp("weights") / "tiny-base")


@pytest.fixture
def tokenizer(tiny: BaseModel) -> Any:
    return hf.load_tokenizer(Path(tiny.path))


@pytest.fixture(scope="module")
def adapter(tiny: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes the model's mind: B is not nought."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    model = get_peft_model(hf.load_model(Path(tiny.path), dtype=torch.float32), LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


def test_answer_follows_the_prompt_that_serving_sends(tokenizer: Any) -> None:
    prompt = hf.render(tokenizer, CHAT)
    row = hf.render(tokenizer, CHAT, "w3 w4")
    assert prompt.answer_start == len(prompt.ids)
    assert row.ids[: row.answer_start] == prompt.ids
    assert tokenizer.decode(prompt.ids) == "<s> system sort the text </s> <s> user w1 w2 </s> <s> assistant"
    assert tokenizer.decode(row.ids[row.answer_start :]) == "w3 w4 </s>"


def test_nothing_after_the_end_token_is_learned(tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("' </s> '", "' </s> the text '")
    assert tokenizer.decode(hf.render(tokenizer, CHAT, "w3").ids[-2:]) == "w3 </s>"


def test_template_that_rewrites_the_prompt_still_ends_the_answer(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}<s> {{ m['role'] }} {{ m['content'] }} </s> {% endfor %}"
        "{% if add_generation_prompt %}<s> assistant the {% endif %}"
    )
    row = hf.render(tokenizer, CHAT, "w3")
    assert tokenizer.decode(row.ids[row.answer_start :]) == "w3 </s>"
    assert tokenizer.decode(row.ids[: row.answer_start]).endswith("assistant the")


def test_template_without_an_end_token_gets_one(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    row = hf.render(tokenizer, CHAT, "w3")
    assert tokenizer.decode(row.ids[row.answer_start :]) == "w3 </s>"


def test_roles_that_the_template_refuses_are_named(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no system turn here') }}"
    with pytest.raises(ConfigError, match=r"does not take the roles system, user \(no system turn here"):
        hf.render(tokenizer, CHAT)


def test_tokens_are_counted_with_template_and_answer(tiny: BaseModel) -> None:
    count = token_counter(tiny)
    assert count(Example(id="1", messages=CHAT, answer="w3 w4")) == 16


def test_a_tokenizer_without_template_is_refused(tiny: BaseModel, tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="has no chat template; use an instruction-tuned model"):
        hf.load_tokenizer(tmp_path)


def test_merged_weights_answer_as_base_and_adapter_do(tiny: BaseModel, adapter: Path, tmp_path: Path) -> None:
    ids = torch.arange(3, 23).reshape(2, 10)
    attached = hf.load_model(Path(tiny.path), adapter=adapter, dtype=torch.float32)
    plain = hf.load_model(Path(tiny.path), dtype=torch.float32)
    out = hf.merge(tiny, adapter, tmp_path / "merged")
    merged = hf.load_model(out, dtype=torch.float32)
    with torch.no_grad():
        wanted, got, without = (model(input_ids=ids).logits for model in (attached, merged, plain))
    rounding = (got - wanted).abs().max()
    assert rounding < 0.02 * (wanted - without).abs().max()
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert hf.load_tokenizer(out).chat_template == hf.load_tokenizer(Path(tiny.path)).chat_template
    assert not list(out.glob("*.bin"))
    described = resolve(str(out), client_folder=None, cache=tmp_path)
    assert described.parameters == tiny.parameters
    assert described.sha256 != tiny.sha256


def test_merging_again_replaces_and_gives_the_same_bytes(tiny: BaseModel, adapter: Path, tmp_path: Path) -> None:
    out = hf.merge(tiny, adapter, tmp_path / "merged")
    first = (out / "model.safetensors").read_bytes()
    (out / "stray").write_text("from an earlier run")
    hf.merge(tiny, adapter, out)
    assert (out / "model.safetensors").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["merged"]
    assert not (out / "stray").exists()


def test_an_adapter_that_is_not_there_is_refused(tiny: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"adapter_config.json: missing; run 'delivery resume'"):
        hf.load_model(Path(tiny.path), adapter=tmp_path)


def test_attached_adapter_computes_in_the_base_dtype(tiny: BaseModel, adapter: Path) -> None:
    model = hf.load_model(Path(tiny.path), adapter=adapter, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model.training


@pytest.mark.slow
def test_catalog_model_is_whole_and_knows_its_end(smollm2: BaseModel) -> None:
    assert (smollm2.parameters, smollm2.context_length, smollm2.licence) == (134_515_008, 8192, "Apache-2.0")
    tokenizer = hf.load_tokenizer(Path(smollm2.path))
    model = hf.load_model(Path(smollm2.path))
    prompt = hf.render(tokenizer, (Message("user", "What is the capital of France?"),)).ids
    answer = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False)[0, len(prompt) :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id
