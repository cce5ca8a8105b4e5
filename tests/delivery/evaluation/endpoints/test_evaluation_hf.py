from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from delivery.artifacts import Answer, BaseModel, Message, describe_folder
from delivery.evaluation import Request, local_endpoint
from delivery.evaluation.endpoints import hf
from delivery.evaluation.endpoints.hf import HFEndpoint
from delivery.weights import hf as weights
from tests.delivery.weights.tiny import make_tiny_model

NEW = 12


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    base = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    # Several end tokens, as many models have: a random one then ends some of its answers early.
    path = Path(base.path, "generation_config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": [2, *range(10, 64, 6)]}))
    return base


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In float32 the make-up of a batch moves no argmax, so answers can be compared to the letter."""
    monkeypatch.setattr(weights, "native_dtype", lambda: torch.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def requests(n: int, *, system: str = "sort the text") -> list[Request]:
    generator = random.Random(n)
    words = [[f"w{generator.randrange(55)}" for _ in range(generator.randrange(1, 9))] for _ in range(n)]
    return [Request(f"r-{i}", (Message("system", system), Message("user", " ".join(said)))) for i, said in enumerate(words)]


def ask(base: BaseModel, asked: list[Request], *, adapter: Path | None = None, batch_size: int = 4) -> dict[str, Answer]:
    given: list[Answer] = []
    endpoint = HFEndpoint(Path(base.path), name="tiny", adapter=adapter, batch_size=batch_size)
    endpoint.answer(asked, max_new_tokens=NEW, on_answer=given.append)
    assert len(given) == len(asked)
    return {a.sample_id: a for a in given}


def one_by_one(base: BaseModel, asked: list[Request], *, adapter: Path | None = None) -> dict[str, str]:
    """The library's own greedy generation, with neither batch nor padding nor shared opening."""
    model, tokenizer = weights.load_model(Path(base.path), adapter=adapter), weights.load_tokenizer(Path(base.path))
    said = {}
    for request in asked:
        ids = torch.tensor([weights.render(tokenizer, request.messages).ids])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        new = [token for token in out[0, ids.shape[1] :].tolist() if token not in model.generation_config.eos_token_id]
        said[request.sample_id] = tokenizer.decode(new, skip_special_tokens=True)
    return said


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_batches_say_what_the_library_says_one_by_one(tiny: BaseModel, batch_size: int) -> None:
    asked = requests(21)
    expected = one_by_one(tiny, asked)
    assert len(set(expected.values())) > 10
    assert {i: a.output for i, a in ask(tiny, asked, batch_size=batch_size).items()} == expected


def test_prompts_that_share_nothing_or_everything(tiny: BaseModel) -> None:
    apart = [Request(f"r-{i}", (Message(role, f"w{i}"),)) for i, role in enumerate(("system", "user", "user"))]
    same = [Request(f"r-{i}", (Message("user", "w1 w2"),)) for i in range(3)]
    for asked in (apart, same, same[:1]):
        assert {i: a.output for i, a in ask(tiny, asked).items()} == one_by_one(tiny, asked)


def test_rows_end_at_their_end_token_while_others_go_on(tiny: BaseModel) -> None:
    asked = requests(60)
    given = ask(tiny, asked, batch_size=60)
    lengths = {a.completion_tokens for a in given.values()}
    assert len(lengths) > 1, "the tiny model has to end some answers early for this test to mean anything"
    assert max(length or 0 for length in lengths) <= NEW
    assert {i: a.output for i, a in given.items()} == one_by_one(tiny, asked)


def test_an_adapter_changes_answers_and_goes_by_its_own_name(tiny: BaseModel, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = get_peft_model(
        weights.load_model(Path(tiny.path)), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    )
    model.save_pretrained(tmp_path)
    asked = requests(8)
    adapted = {i: a.output for i, a in ask(tiny, asked, adapter=tmp_path).items()}
    assert adapted == one_by_one(tiny, asked, adapter=tmp_path)
    assert adapted != {i: a.output for i, a in ask(tiny, asked).items()}
    artifact = describe_folder("adapter", tmp_path)
    assert local_endpoint(tiny).name != local_endpoint(tiny, adapter=artifact).name


def test_a_prompt_beyond_the_context_is_an_error_of_its_sample(tiny: BaseModel) -> None:
    asked = [*requests(2), Request("long", (Message("user", "w1 " * 120),))]
    given = ask(tiny, asked)
    assert given["long"].output is None
    assert "exceed the context of 128" in (given["long"].error or "")
    assert given["r-0"].error is None


def test_usage_is_counted(tiny: BaseModel) -> None:
    given = ask(tiny, requests(5))
    tokenizer = weights.load_tokenizer(Path(tiny.path))
    for request in requests(5):
        answer = given[request.sample_id]
        assert answer.prompt_tokens == len(weights.render(tokenizer, request.messages).ids)
        assert answer.seconds is not None
        assert answer.seconds > 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.sampled_from([1, 3]), st.integers(0, 2**16))
def test_a_growing_cache_holds_what_was_appended(counts: list[int], heads: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    layer, whole = hf._Growing(), torch.empty(3, heads, 0, 4)
    for number, count in enumerate(counts):
        new = torch.randn(whole.shape[0], heads, count, 4, generator=draw)
        whole = torch.cat([whole, new], dim=2)
        keys, values = layer.update(new, -new)
        assert torch.equal(keys, whole)
        assert torch.equal(values, -whole)
        if number == 1:
            # Rows leave the batch, and a copy goes on apart from its original.
            layer.batch_select_indices(torch.tensor([2, 0]))
            whole = whole[[2, 0]]
            copy.deepcopy(layer).update(torch.ones(2, heads, 1, 4), torch.ones(2, heads, 1, 4))
