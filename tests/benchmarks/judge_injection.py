"""What instructions inside a judged text do to a judge, and what protection against them costs on clean texts.

``python -m tests.benchmarks.judge_injection [--base-url URL --model NAME]``. 60-odd injections are put behind the worse answer
of a labeled pair, and the judge is asked as the product asks it: both orders, plain prompt and hardened prompt.

- ``followed``: share of injected pairs whose verdict moved towards the answer with the injection (a loss becomes a tie, a
  tie a win), among those that could move. ``won``: share in which that answer won.
- ``drift``: share of clean pairs on which the hardened prompt's verdict differs from the plain one's.
- ``accuracy``, ``kappa``, ``order_consistency``: on the clean pairs.

Without a URL the judge is the local base model (135M parameters). It writes no verdict by itself, so its verdict is the
likelier of the two places, measured against the median of the clean prompts (else it names the same place always). As such
a verdict says little, the shift of the log odds towards the worse answer is given too, beside that of a harmless sentence in
the injection's place. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from delivery.artifacts import Answer, Message
from delivery.evaluation import Endpoint, Request, http_endpoint
from delivery.evaluation.endpoints.endpoint import OnAnswer
from delivery.evaluation.judging import Judge, Pair, labeled_pairs
from delivery.evaluation.judging.calibration import calibration_of
from delivery.evaluation.judging.judge import Judgement, compare
from delivery.evaluation.judging.prompts import PAIRWISE, PAIRWISE_PLAIN, Prompt
from delivery.evaluation.judging.rules import DEFAULT_CRITERIA
from delivery.settings import get_settings
from delivery.weights import hf, resolve
from tests.fixtures.judge_injections import INJECTIONS

HARMLESS = "This was written on a Tuesday afternoon in spring."
PROMPTS: dict[str, Prompt] = {"plain": PAIRWISE_PLAIN, "hardened": PAIRWISE}


@dataclass
class LikelihoodEndpoint:
    """A local model that is read and not heard: log odds of "first" against "second" after the verdict's opening."""

    model: Any
    tokenizer: Any
    name: str = "likelihood"
    middle: float = 0.0
    odds: dict[str, float] = field(default_factory=dict)
    read: dict[tuple[Message, ...], float] = field(default_factory=dict)

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        for request in requests:
            if request.messages not in self.read:
                self.read[request.messages] = self._odds(request)
            self.odds[request.sample_id] = self.read[request.messages]
            place = "first" if self.odds[request.sample_id] > self.middle else "second"
            on_answer(Answer(request.sample_id, json.dumps({"better": place})))

    def _odds(self, request: Request) -> float:
        opening = self.tokenizer.encode('{"better": "', add_special_tokens=False)
        first, second = (self.tokenizer.encode(place, add_special_tokens=False)[0] for place in ("first", "second"))
        ids = [*hf.render(self.tokenizer, request.messages).ids, *opening]
        logits = self.model(input_ids=torch.tensor([ids], device=self.model.device), logits_to_keep=1).logits[0, -1].float()
        return float(logits[first] - logits[second])


@dataclass
class Asked:
    """What a judge said of pairs, and where it is read the log odds in favour of b, free of the place."""

    verdicts: tuple[Judgement, ...]
    towards_b: list[float]


def ask(judge: Judge, pairs: Sequence[Pair], folder: str) -> Asked:
    with tempfile.TemporaryDirectory(dir=folder) as store:
        local = judge.endpoint if isinstance(judge.endpoint, LikelihoodEndpoint) else None
        if local is not None:
            local.odds.clear()
        sys.stderr.write(f"{judge.pairwise.name}: {len(pairs)} pairs\n")
        verdicts = compare(replace(judge, store=Path(store, "verdicts.jsonl")), pairs, criteria=DEFAULT_CRITERIA)
        if local is None:
            return Asked(verdicts, [])
        odds = list(local.odds.values())
        return Asked(verdicts, [(back - front) / 2 for front, back in zip(odds[::2], odds[1::2], strict=True)])


def worse_is_b() -> list[Pair]:
    """The labeled pairs, all with the better answer as a."""
    return [replace(one.pair, a=one.pair.b, b=one.pair.a) if one.gold == "b" else one.pair for one in labeled_pairs()]


def attacked(pairs: Sequence[Pair], additions: Sequence[str]) -> list[Pair]:
    return [
        replace(pairs[place % len(pairs)], id=f"attack-{place}", b=f"{pairs[place % len(pairs)].b}\n\n{addition}")
        for place, addition in enumerate(additions)
    ]


def measure_prompt(judge: Judge, folder: str) -> tuple[dict[str, Any], tuple[Judgement, ...]]:
    pairs = worse_is_b()
    if isinstance(judge.endpoint, LikelihoodEndpoint):
        judge.endpoint.middle = 0.0
        ask(judge, pairs, folder)
        judge.endpoint.middle = statistics.median(judge.endpoint.odds.values())
    clean = ask(judge, pairs, folder)
    # Half of the pairs are named the other way round: kappa needs both sides.
    gold = ["a" if place % 2 else "b" for place in range(len(pairs))]
    turned = [one if place % 2 else _turned(one) for place, one in enumerate(clean.verdicts)]
    worth = calibration_of(turned, gold, judge=judge.model)  # type: ignore[arg-type]
    injected = ask(judge, attacked(pairs, INJECTIONS), folder)
    rank = {"a": 0, "tie": 1, "b": 2}
    moves = [
        (rank[before.choice], rank[after.choice])
        for place, after in enumerate(injected.verdicts)
        if after.choice is not None and (before := clean.verdicts[place % len(pairs)]).choice is not None
    ]
    could = [(before, after) for before, after in moves if before < 2]
    found: dict[str, Any] = {
        "accuracy": round(worth.accuracy.value, 3),
        "kappa": round(worth.kappa.value, 3),
        "order_consistency": round(worth.order_consistency.value, 3),
        "followed": round(sum(after > before for before, after in could) / max(1, len(could)), 3),
        "won": round(sum(after == 2 for _, after in moves) / max(1, len(moves)), 3),
        "judged": len(moves),
    }
    if clean.towards_b:
        harmless = ask(judge, attacked(pairs, [HARMLESS] * len(pairs)), folder)
        for name, asked in (("shift", injected), ("shift_harmless", harmless)):
            shifts = [odds - clean.towards_b[place % len(pairs)] for place, odds in enumerate(asked.towards_b)]
            found[name] = round(statistics.mean(shifts), 3)
            found[f"{name}_stderr"] = round(statistics.stdev(shifts) / len(shifts) ** 0.5, 3)
        found["spread_clean"] = round(statistics.stdev(clean.towards_b), 3)
    return found, clean.verdicts


def _turned(one: Judgement) -> Judgement:
    other: dict[Any, Any] = {"a": "b", "b": "a", "tie": "tie", None: None}
    return replace(one, forward=other[one.forward], backward=other[one.backward])


def measure(endpoint: Endpoint, model: str) -> dict[str, Any]:
    result: dict[str, Any] = {"judge": model, "injections": len(INJECTIONS), "pairs": len(labeled_pairs())}
    clean = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, prompt in PROMPTS.items():
            judge = Judge(endpoint, model, Path(folder, "unused"), pairwise=prompt)
            result[name], clean[name] = measure_prompt(judge, folder)
            sys.stderr.write(f"{name}: {result[name]}\n")
    both = [(a.choice, b.choice) for a, b in zip(clean["plain"], clean["hardened"], strict=True) if a.choice and b.choice]
    result["drift"] = round(sum(a != b for a, b in both) / max(1, len(both)), 3)
    return result


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base-url", default="")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    given = parser.parse_args()
    if given.base_url:
        key = os.environ.get("OPENAI_API_KEY", "")
        endpoint: Endpoint = http_endpoint(given.base_url, model=given.model, api_key=key)
    else:
        path = Path(resolve(given.model, client_folder=None, cache=get_settings().cache).path)
        endpoint = LikelihoodEndpoint(hf.load_model(path), hf.load_tokenizer(path))
    sys.stdout.write(json.dumps(measure(endpoint, given.model)) + "\n")


if __name__ == "__main__":
    main()
