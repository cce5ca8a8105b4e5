"""Asking a judge. A judge is any endpoint; what it says is read strictly, and what cannot be read is asked once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from delivery.artifacts import Message, OnProgress, no_progress, sha256_json
from delivery.errors import EvalIncompleteError, NoVerdict
from delivery.evaluation.endpoints.endpoint import Endpoint, Request, collect
from delivery.evaluation.judging.prompts import PAIRWISE, Prompt
from delivery.evaluation.judging.verdicts import PairwiseReply, Place, pairwise_forms, read_pairwise

Choice = Literal["a", "b", "tie"]
T = TypeVar("T")

MAX_NEW_TOKENS = 300
NO_VERDICT = "the judge gave no verdict of the form asked for, twice"
NOTHING_APPLIES = "no point of the rubric applies to any reply"


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges. ``model`` tells its family; ``store`` is the file of its verdicts, so that none is paid for twice.

    ``closed`` asks the endpoint to hold the model to the verdicts' forms (``Request.choices``), for a small model that
    writes no JSON by itself. It then gives no reason.
    """

    endpoint: Endpoint
    model: str
    store: Path
    pairwise: Prompt = PAIRWISE
    closed: bool = False
    max_new_tokens: int = MAX_NEW_TOKENS


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one question."""

    id: str
    question: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said of a pair, both times in the pair's own names: shown as a, b (``forward``) and as b, a.

    Of a pair that errored both are None.
    """

    pair_id: str
    forward: Choice | None
    backward: Choice | None
    reason: str = ""
    error: str | None = None

    @property
    def choice(self) -> Choice | None:
        """The better one; a tie where the two orders disagree, None where the pair errored."""
        return self.forward if self.forward == self.backward else "tie"


class Query(NamedTuple, Generic[T]):
    """One question to a judge: trusted ``criteria`` and the texts of others by name.

    ``read`` finds the value of a reply, or None; ``forms`` are all replies that have one, where the judge is held to them.
    """

    id: str
    criteria: str
    material: Mapping[str, str]
    read: Callable[[str], T | None]
    forms: tuple[str, ...] = ()


class Reply(NamedTuple, Generic[T]):
    """What was read from a judge's reply. Exactly one of the two is None."""

    value: T | None
    error: str | None


def ask(
    judge: Judge, prompt: Prompt, queries: Sequence[Query[T]], *, on_progress: OnProgress = no_progress
) -> dict[str, Reply[T]]:
    """The judge's reply to every query, by the query's id; equal ids have to be equal queries, and are asked once.

    Where nothing can be read from a reply, the question is put once more with the prompt's reminder. The first reply is
    not shown: what led it astray would then stand outside the fence. After the second the query has an error.

    Raises:
        ConfigError, RetryableError: from the judge's endpoint; verdicts given before are kept.
    """
    unique = {query.id: query for query in queries}
    replies: dict[str, Reply[T]] = {}
    for again in (False, True):
        waiting = [query for query in unique.values() if query.id not in replies]
        requests = [_request(prompt, query, again=again) for query in waiting]
        answers = collect(
            judge.endpoint,
            requests,
            path=judge.store,
            max_new_tokens=judge.max_new_tokens,
            on_progress=on_progress,
            # Only a model in this process can be held to a form.
            offline=False if judge.closed else None,
        )
        for query, answer in zip(waiting, answers, strict=True):
            value = query.read(answer.output) if answer.output is not None else None
            if value is not None:
                replies[query.id] = Reply(value, None)
            elif answer.output is None:
                replies[query.id] = Reply(None, f"the judge: {answer.error}")
            elif again:
                replies[query.id] = Reply(None, NO_VERDICT)
    return replies


def compare(
    judge: Judge, pairs: Sequence[Pair], *, criteria: str, on_progress: OnProgress = no_progress
) -> tuple[Judgement, ...]:
    """Which answer of each pair is better, asked in both orders. Equal answers are a tie and are not asked about.

    Both orders, and a tie where they disagree: Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena",
    2023, section 4.3. A pair of which one order has no verdict errored.

    Raises:
        ConfigError, RetryableError: from the judge's endpoint; verdicts given before are kept.
    """
    forms = pairwise_forms() if judge.closed else ()

    def query(question: str, first: str, second: str) -> Query[PairwiseReply]:
        material = {"request": question, "first answer": first, "second answer": second}
        return Query(key_of(criteria, material), criteria, material, read_pairwise, forms)

    forward = {pair.id: query(pair.question, pair.a, pair.b) for pair in pairs if pair.a != pair.b}
    backward = {pair.id: query(pair.question, pair.b, pair.a) for pair in pairs if pair.a != pair.b}
    queries = [one for pair_id, first in forward.items() for one in (first, backward[pair_id])]
    replies = ask(judge, judge.pairwise, queries, on_progress=on_progress)
    found = []
    for pair in pairs:
        if pair.id not in forward:
            found.append(Judgement(pair.id, "tie", "tie", "the answers are equal"))
        else:
            found.append(_judgement(pair.id, replies[forward[pair.id].id], replies[backward[pair.id].id]))
    return tuple(found)


def not_one(what: str, errors: Sequence[str | None]) -> EvalIncompleteError:
    """Why nothing could be judged: ``NoVerdict`` where the judge said something to it all, and else what failed first.

    What failed may come another time; what was said stays said.
    """
    failed = next((error for error in errors if error and error not in (NO_VERDICT, NOTHING_APPLIES)), None)
    if failed is None and errors:
        return NoVerdict(f"{what}: {errors[0] or NO_VERDICT}")
    return EvalIncompleteError(f"{what}: {failed or 'no samples'}")


def key_of(criteria: str, material: Mapping[str, str]) -> str:
    """The id of a query: the same question about the same texts is asked once, whoever gave the answers."""
    return sha256_json([criteria, *material.values()])[:24]


def transcript(messages: Sequence[Message]) -> str:
    """Messages as one text; of a single message its content alone."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def _request(prompt: Prompt, query: Query[T], *, again: bool) -> Request:
    return Request(
        sample_id=f"{query.id}#again" if again else query.id,
        messages=prompt.messages(query.criteria, query.material, again=again),
        choices=query.forms,
    )


_AS_SHOWN: dict[Place, Choice] = {"first": "a", "second": "b", "tie": "tie"}
_SWAPPED: dict[Place, Choice] = {"first": "b", "second": "a", "tie": "tie"}


def _judgement(pair_id: str, forward: Reply[PairwiseReply], backward: Reply[PairwiseReply]) -> Judgement:
    if forward.value is None or backward.value is None:
        return Judgement(pair_id, None, None, error=forward.error or backward.error)
    first, second = _AS_SHOWN[forward.value.better], _SWAPPED[backward.value.better]
    return Judgement(pair_id, first, second, forward.value.reason)
