from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from delivery.artifacts import Answer, BaseModel, Message
from delivery.evaluation import Request
from delivery.evaluation.endpoints import hf, shared
from delivery.evaluation.endpoints.endpoint import Choosing
from delivery.evaluation.endpoints.hf import HFEndpoint
from delivery.weights import hf as weights
from tests.delivery.weights.tiny import make_tiny_model

CHOICES = ("w1", "w1 w2", "w1 w2 w3", "w4 w5", "w6", "w4 w7 w8 w9")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def endpoint(base: BaseModel, *, batch_size: int = 4, kv_bytes: int = hf.KV_BYTES) -> HFEndpoint:
    return HFEndpoint(Path(base.path), name="tiny", batch_size=batch_size, kv_bytes=kv_bytes, dtype=torch.float32)


def asked(choosing: Choosing = "likelihood") -> list[Request]:
    """Two system prompts, questions of many lengths, two that are the same, one that begins another."""
    texts = [" ".join(f"w{(i * j) % 50}" for j in range(1 + i * 5 % 13)) for i in range(11)]
    texts += [texts[3], f"{texts[3]} w9"]
    systems = ["sort the text " * 8, "sort " * 20]
    return [
        Request(f"r-{i}", (Message("system", systems[i % 2]), Message("user", text)), CHOICES, choosing)
        for i, text in enumerate(texts)
    ]


def library(base: BaseModel, request: Request) -> list[torch.Tensor]:
    """For each choice the log-probabilities behind each of its tokens, the library asked for one row at a time."""
    model = weights.load_model(Path(base.path), dtype=torch.float32)
    tokenizer = weights.load_tokenizer(Path(base.path))
    found = []
    for choice in request.choices:
        ids, start = weights.render(tokenizer, request.messages, choice)
        with torch.inference_mode():
            found.append(model(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1].log_softmax(-1))
    return found


def sums(base: BaseModel, request: Request) -> list[float]:
    tokenizer = weights.load_tokenizer(Path(base.path))
    found = []
    for choice, behind in zip(request.choices, library(base, request), strict=True):
        ids = tokenizer(choice, add_special_tokens=False)["input_ids"]
        found.append(sum(float(behind[at, token]) for at, token in enumerate(ids)))
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("pack", [5, 512])
def test_the_tree_gives_the_log_likelihoods_of_one_prompt_at_a_time(
    tiny: BaseModel, batch_size: int, pack: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shared._PACK, "cpu", pack)
    given = endpoint(tiny, batch_size=batch_size).log_likelihoods(asked())
    assert len(given) == 13
    for request in asked():
        assert given[request.sample_id] == pytest.approx(sums(tiny, request), abs=1e-4)


def say(endpoint: HFEndpoint, requests: list[Request]) -> dict[str, Answer]:
    given: list[Answer] = []
    endpoint.answer(requests, max_new_tokens=8, on_answer=given.append)
    assert len(given) == len(requests)
    return {answer.sample_id: answer for answer in given}


def test_the_likeliest_choice_is_said_to_the_letter(tiny: BaseModel) -> None:
    given = say(endpoint(tiny), asked())
    for request in asked():
        expected = sums(tiny, request)
        assert given[request.sample_id].output == CHOICES[expected.index(max(expected))]


def test_constrained_answers_are_those_of_generating_with_a_mask(tiny: BaseModel) -> None:
    """``generate`` of the library, held to the choices by its own hook."""
    model = weights.load_model(Path(tiny.path), dtype=torch.float32)
    tokenizer = weights.load_tokenizer(Path(tiny.path))
    whole = [[*tokenizer(choice, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for choice in CHOICES]
    given = say(endpoint(tiny), asked("constrained"))
    for request in asked("constrained"):
        ids = torch.tensor([weights.render(tokenizer, request.messages).ids])

        def allowed(_: int, said: torch.Tensor, start: int = ids.shape[1]) -> list[int]:
            begun = said[start:].tolist()
            return sorted(
                {choice[len(begun)] for choice in whole if choice[: len(begun)] == begun and len(choice) > len(begun)}
            )

        out = model.generate(input_ids=ids, max_new_tokens=8, do_sample=False, prefix_allowed_tokens_fn=allowed)
        assert given[request.sample_id].output == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    assert len({answer.output for answer in given.values()}) > 1


def test_a_small_budget_changes_no_answer(tiny: BaseModel) -> None:
    free = [replace(request, sample_id=f"free {request.sample_id}", choices=()) for request in asked()]
    both = asked() + free
    assert {i: a.output for i, a in say(endpoint(tiny, kv_bytes=1), both).items()} == {
        i: a.output for i, a in say(endpoint(tiny), both).items()
    }


def test_an_unknown_architecture_is_asked_row_by_row_and_says_the_same(
    tiny: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [replace(request, sample_id=f"free {request.sample_id}", choices=()) for request in asked()]
    together = say(endpoint(tiny), asked() + free)
    likelihoods = endpoint(tiny).log_likelihoods(asked())
    monkeypatch.setattr(hf, "supports", lambda _: False)
    alone = say(endpoint(tiny), asked() + free)
    assert {i: a.output for i, a in alone.items()} == {i: a.output for i, a in together.items()}
    for sample_id, given in endpoint(tiny).log_likelihoods(asked()).items():
        assert given == pytest.approx(likelihoods[sample_id], abs=1e-4)


def test_choices_of_one_token_each_need_the_prompt_alone(tiny: BaseModel) -> None:
    letters = [replace(request, choices=("w1", "w2", "w3")) for request in asked()]
    given = say(endpoint(tiny), letters)
    for request in letters:
        expected = sums(tiny, request)
        assert given[request.sample_id].output == request.choices[expected.index(max(expected))]
        assert given[request.sample_id].completion_tokens == 1


def test_samples_may_have_choices_of_their_own_or_none(tiny: BaseModel) -> None:
    mixed = [replace(request, choices=CHOICES[: i % 4]) for i, request in enumerate(asked())]
    given = say(endpoint(tiny), mixed)
    for request in mixed:
        assert not request.choices or given[request.sample_id].output in request.choices
    alone = {request.sample_id: say(endpoint(tiny), [request])[request.sample_id].output for request in mixed}
    assert {i: a.output for i, a in given.items()} == alone


def test_a_prompt_beyond_the_context_is_an_error_and_the_longest_choice_counts(tiny: BaseModel) -> None:
    tokenizer = weights.load_tokenizer(Path(tiny.path))
    empty = Message("user", "")
    frame = len(weights.render(tokenizer, (empty,)).ids)
    fits = Request("fits", (Message("user", "w1 " * (128 - frame - 4)),), CHOICES)
    beyond = Request("beyond", (Message("user", "w1 " * (128 - frame - 3)),), CHOICES)
    given = say(endpoint(tiny), [fits, beyond])
    assert given["fits"].output in CHOICES
    assert given["beyond"].output is None
    assert "4 new tokens exceed the context of 128" in (given["beyond"].error or "")
    assert set(endpoint(tiny).log_likelihoods([fits, beyond])) == {"fits"}


def test_nothing_asked_is_nothing_said(tiny: BaseModel) -> None:
    assert say(endpoint(tiny), []) == {}
    assert endpoint(tiny).log_likelihoods([]) == {}


def test_log_likelihoods_without_choices_are_refused(tiny: BaseModel) -> None:
    with pytest.raises(ValueError, match="requests with choices"):
        endpoint(tiny).log_likelihoods([Request("r", (Message("user", "w1"),))])
    with pytest.raises(ValueError, match="at least one token"):
        endpoint(tiny).log_likelihoods([Request("r", (Message("user", "w1"),), ("w1", ""))])
