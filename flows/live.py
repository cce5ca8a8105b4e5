"""The model to beat, asked live: with the user's key, within the client's budget, into packs."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from delivery import costs, evaluation
from delivery.artifacts import Example, OnProgress, no_progress, sha256_json
from delivery.costs.prices import ApiPrice
from delivery.errors import ConfigError
from delivery.settings import get_settings
from flows.line import Line

if TYPE_CHECKING:
    from delivery.evaluation.endpoints.openai import OpenAIEndpoint

OPENAI = "api.openai.com"
_SHORTEST_ROOM = 64
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Live(NamedTuple):
    """An endpoint that may be asked, and what may be spent on it."""

    endpoint: OpenAIEndpoint
    budget: evaluation.Budget
    provider: str


def listed(model: str) -> ApiPrice | None:
    """The price book's entry of a model, or of the one that it is a dated snapshot of."""
    api = costs.load_price_book().api
    return api.get(model) or api.get(_SNAPSHOT.sub("", model))


def day_of(line: Line) -> date:
    """The day that decides what can be bought: that of the delivery, or today."""
    return line.recorder.day if line.recorder is not None else datetime.now(UTC).date()


def sale_notice(model: str, today: date) -> str:
    """Whether a model can still be asked, where its end is announced; else empty."""
    price = listed(model)
    until = price.available_until if price is not None else None
    if until is None:
        return ""
    return f"{model} is off the API since {until}" if until <= today else f"{model} leaves the API on {until}"


def live_model(line: Line, held: evaluation.Holdout) -> Live:
    """The baseline's model behind ``OPENAI_BASE_URL``, with the client's budget for this holdout.

    Raises:
        ConfigError: there is no key, the model is no longer sold, or has no price to keep a budget by.
    """
    settings, baseline = get_settings(), line.config.baseline
    if settings.openai_api_key is None:
        raise ConfigError("OPENAI_API_KEY is not set: set it to ask the live model")
    provider = urlsplit(settings.openai_base_url).hostname or ""
    price, today = listed(baseline.model), day_of(line)
    if provider == OPENAI and price is not None and price.available_until is not None and price.available_until <= today:
        raise ConfigError(f"{sale_notice(baseline.model, today)}: import answers of an earlier day, or name another model")
    dollars = baseline.price or price
    if dollars is None:
        raise ConfigError(
            f"{line.config.folder / 'client.yaml'}: baseline.price: is missing, and the price book does not list "
            f"{baseline.model!r}; give input and output in dollars per million tokens, so that the budget can be kept"
        )
    rows = sha256_json([held.test.sha256, held.validation.sha256 if held.validation else None])
    budget = evaluation.Budget(
        line.folder("answers") / f"{_slug(baseline.model)}-{rows[:12]}.budget",
        limit_usd=baseline.budget_usd,
        price=evaluation.TokenPrice(dollars.input, dollars.output),
    )
    endpoint = evaluation.http_endpoint(
        settings.openai_base_url, model=baseline.model, api_key=settings.openai_api_key.get_secret_value(), budget=budget
    )
    return Live(endpoint, budget, provider)


def record(
    line: Line, held: evaluation.Holdout, train: tuple[Example, ...], *, live: Live, on_progress: OnProgress = no_progress
) -> evaluation.Recording:
    """Ask every row with every prompt, and freeze a pack of each prompt. See ``evaluation.record_packs``."""
    baseline, room = line.config.baseline, _room(train)
    spec = evaluation.PackSpec(
        model=baseline.model,
        recorded_on=day_of(line).isoformat(),
        provider=live.provider,
        parameters={**live.endpoint.parameters, "max_completion_tokens": room},
        price=(live.budget.price.input, live.budget.price.output),
    )
    return evaluation.record_packs(
        line.config.folder,
        live.endpoint,
        prompts={name: evaluation.prompt_of(name, train, suite=held.test) for name in baseline.prompting},
        holdout=held,
        spec=spec,
        asking=evaluation.Asking(
            line.folder("answers") / f"{_slug(baseline.model)}.jsonl", room, line.config.evaluation.max_errored, on_progress
        ),
    )


def _room(train: tuple[Example, ...]) -> int:
    """Tokens that the longest answer can have: no more than its bytes."""
    return max(_SHORTEST_ROOM, *(len(row.answer.encode()) + 16 for row in train))


def _slug(model: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", model.casefold()).strip("-")
