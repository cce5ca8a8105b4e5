"""What it costs, what is decided, and the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from delivery.artifacts.data import DataReport
from delivery.artifacts.evidence import RoundGain, SuiteResult
from delivery.artifacts.model import Artifact, BaseModel, TrainingPlan, TrainingRecord
from delivery.client_config import Verdict


@dataclass(frozen=True, slots=True)
class Latency:
    """Measured at one concurrency against the server of the shipped artifact. Times in milliseconds."""

    concurrency: int
    requests: int
    ttft_ms: dict[str, float]
    """p50, p95, p99 of the time to the first token."""
    e2e_ms: dict[str, float]
    output_tokens_per_second: float
    tokens_per_second: float
    """Prompt and completion tokens together."""
    requests_per_second: float


@dataclass(frozen=True, slots=True)
class ApiCost:
    """What the same requests cost at an API, and how owning compares. Money as decimal strings of US dollars."""

    usd_per_1000_requests: str
    ratio: float
    """Own cost per request over the API's: 0.1 means a tenth."""
    available_until: str | None
    break_even_requests_per_month: int | None
    """Volume from which a rented machine costs less than the API; None when it never does."""
    cheaper: Literal["own", "api"]
    """At the client's own volume."""
    source: str


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a request costs on the client's hardware. Money as decimal strings of US dollars."""

    hardware: str
    hourly_usd: str
    utilisation: float
    requests_per_month: int
    prices_as_of: str
    prompt_tokens_per_request: float
    completion_tokens_per_request: float
    requests_per_second: float
    usd_per_million_tokens: str
    usd_per_1000_requests: str
    monthly_usd_own: str
    api: dict[str, ApiCost]
    reference_model: str
    """The cheapest API model that can still be bought; break-even and cheaper refer to it."""
    break_even_requests_per_month: int | None
    cheaper: Literal["own", "api"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of promotion and why it was or was not met."""

    name: str
    passed: bool
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the candidate may go into service. Losing to the baseline is a decision, not an error."""

    promote: bool
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """An artifact against the adapter it was made from."""

    format: str
    suite: str
    value: float
    difference: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """One delivery, as every format of the report shows it. ``report.json`` is rendered from it by ``report``."""

    client: str
    vertical: str
    use_case: str
    delivery_id: str
    created_at: str
    data: DataReport
    base_model: BaseModel
    plan: TrainingPlan
    training: TrainingRecord
    artifacts: tuple[Artifact, ...]
    shipped: str
    suites: tuple[SuiteResult, ...]
    recovery: tuple[Recovery, ...]
    latency: tuple[Latency, ...]
    cost: CostEstimate
    decision: Decision
    provenance: dict[str, Any]
    limitations: tuple[str, ...]
    rounds: tuple[RoundGain, ...] = ()
    """What each labeling round bought; empty where the data came in one piece."""
