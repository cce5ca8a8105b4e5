"""Baseline packs: a baseline's answers, frozen, hashed and dated, so that the same comparison can be made again.

A pack is a folder ``clients/<slug>/baselines/<name>/``: ``pack.yaml`` says who answered, when and how;
``outputs.jsonl`` holds one ``{"id", "input_sha256", "output", "usage"?, "latency_ms"?}`` a line. A published pack has a
score, n and citation in ``pack.yaml`` instead of outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from delivery.artifacts import Answer, BaselinePack, Estimate, Sample, Suite, SystemResult, sha256_file
from delivery.client_config import ParseRule
from delivery.documents import describe, read_yaml
from delivery.errors import ConfigError, DeliveryError, IntegrityError
from delivery.evaluation.endpoints.endpoint import OnAnswer, Request
from delivery.evaluation.judging.dialogues import turn_id
from delivery.evaluation.scoring.scorers import NO_ANSWER

PACK = "pack.yaml"
OUTPUTS = "outputs.jsonl"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
IsoDate = Annotated[date, BeforeValidator(lambda v: date.fromisoformat(v) if isinstance(v, str) else v)]


class Price(BaseModel):
    """US dollars per million tokens on the day of recording."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)


class PackFile(BaseModel):
    """``pack.yaml``. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    source: Literal["recorded", "published"] = "recorded"
    model: str = Field(min_length=1)
    snapshot: str | None = None
    provider: str = ""
    recorded_on: IsoDate
    prompting: str = Field(default="zero_shot", min_length=1)
    parameters: dict[str, Any] = Field(default_factory=dict)
    prompt_sha256: Sha256 | None = None
    parse: ParseRule | None = None
    licence: str = ""
    price_per_million_tokens: Price | None = None
    outputs_sha256: Sha256 | None = None
    metric: str | None = None
    score: float | None = Field(default=None, ge=0, le=1)
    n: int | None = Field(default=None, ge=1)
    citation: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> PackFile:
        needed = ("outputs_sha256",) if self.source == "recorded" else ("metric", "score", "n", "citation")
        missing = [name for name in needed if not getattr(self, name) and getattr(self, name) != 0]
        if missing:
            raise ValueError(f"a {self.source} pack needs {' and '.join(missing)}")
        return self


class Usage(BaseModel):
    """Tokens of one answer."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class OutputLine(BaseModel):
    """One line of ``outputs.jsonl``. What a provider adds beside these keys is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str = Field(min_length=1)
    input_sha256: Sha256
    output: str
    usage: Usage | None = None
    latency_ms: float | None = Field(default=None, ge=0)


class PackProblem(NamedTuple):
    """A pack that cannot be used, and why."""

    name: str
    problem: str


class Coverage(NamedTuple):
    """What a suite asks that a pack has, and has not, an answer for."""

    recorded: int
    missing: int


def list_packs(client_folder: Path) -> list[BaselinePack | PackProblem]:
    """All packs of a client by name, each checked; one that cannot be used is listed with its problem."""
    folder = client_folder / "baselines"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else []
    found: list[BaselinePack | PackProblem] = []
    for name in names:
        try:
            found.append(load_pack(folder / name))
        except DeliveryError as error:
            found.append(PackProblem(name, str(error)))
    return found


def load_pack(folder: Path) -> BaselinePack:
    """Read a pack and check its outputs against the hash in ``pack.yaml``.

    Raises:
        ConfigError: a file is missing or wrong; names file and key or line.
        IntegrityError: the outputs are not those that were recorded.
    """
    described = _read_pack_file(folder / PACK)
    outputs: dict[str, tuple[str, str]] = {}
    usage: dict[str, tuple[int, int]] = {}
    if described.source == "recorded":
        path = folder / OUTPUTS
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file; a recorded pack needs its outputs")
        if sha256_file(path) != described.outputs_sha256:
            raise IntegrityError(f"{path}: is not the file that outputs_sha256 in {PACK} names; restore it, or import it anew")
        lines = _read_outputs(path)
        outputs = {line.id: (line.input_sha256, line.output) for line in lines}
        usage = {line.id: (line.usage.prompt_tokens, line.usage.completion_tokens) for line in lines if line.usage}
    return BaselinePack(
        name=folder.name,
        path=str(folder),
        source=described.source,
        model=described.model,
        provider=described.provider,
        recorded_on=described.recorded_on.isoformat(),
        prompting=described.prompting,
        parse=described.parse,
        licence=described.licence,
        sha256=sha256_file(folder / PACK),
        outputs=outputs,
        usage=usage,
        metric=described.metric or "",
        score=described.score,
        n=described.n,
        citation=described.citation or "",
    )


def asked_of(samples: Iterable[Sample]) -> dict[str, str]:
    """What samples ask, by its id, with the sample's hash: each asks once, and a role play at every turn of the user."""
    return {
        name: sample.input_sha256
        for sample in samples
        for name in [turn_id(sample.id, turn) for turn in range(len(sample.reference.get("turns", ())))] or [sample.id]
    }


class PackEndpoint:
    """An ``Endpoint`` that says what a pack holds, to a sample or to a turn of a role play, whatever else it is told.

    Raises:
        IntegrityError: as ``verify_pack``.
    """

    def __init__(self, pack: BaselinePack, suite: Suite) -> None:
        verify_pack(pack, suite)
        self.name = pack.sha256
        self._pack = pack

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int, on_answer: OnAnswer) -> None:
        """What was recorded, in its full length; what was not is an error."""
        for request in requests:
            on_answer(_recorded(self._pack, request.sample_id))


def _recorded(pack: BaselinePack, name: str) -> Answer:
    if name not in pack.outputs:
        return Answer(name, None, error=NO_ANSWER)
    asked, said = pack.usage.get(name, (None, None))
    return Answer(name, pack.outputs[name][1], prompt_tokens=asked, completion_tokens=said)


def verify_pack(pack: BaselinePack, suite: Suite) -> Coverage:
    """Check that the pack was asked what the suite asks. Recorded ids that are not in the suite do not matter.

    Raises:
        IntegrityError: an answer was given to another input than the sample's; names the id.
    """
    asked = asked_of(suite.samples)
    for name, input_sha256 in asked.items():
        recorded = pack.outputs.get(name)
        if recorded is not None and recorded[0] != input_sha256:
            raise IntegrityError(
                f"{Path(pack.path, OUTPUTS)}: id {name!r}: was recorded for another input than the test row has now; "
                "restore the row, or record the baseline again"
            )
    count = sum(name in pack.outputs for name in asked)
    return Coverage(count, len(asked) - count)


def pack_answers(pack: BaselinePack, suite: Suite) -> tuple[Answer, ...]:
    """The pack's answer to every sample; a sample that was not recorded is errored.

    Raises:
        IntegrityError: as ``verify_pack``.
    """
    verify_pack(pack, suite)
    return tuple(_recorded(pack, sample.id) for sample in suite.samples)


def published_result(pack: BaselinePack, suite: Suite) -> SystemResult:
    """A published score as the baseline's result, its interval from score and n alone (Wilson).

    It has no samples and no share of invalid answers: neither was published.

    Raises:
        ConfigError: the pack holds no published score, or one of another metric than the suite decides by.
    """
    path = Path(pack.path, PACK)
    if pack.score is None or pack.n is None:
        raise ConfigError(f"{path}: source: is {pack.source}, not published; it holds no score")
    # Over single labels micro-F1 is accuracy.
    same = {suite.primary_metric} | ({"micro_f1"} if suite.scorer == "classification" else set())
    if pack.metric not in same:
        raise ConfigError(f"{path}: metric: is {pack.metric!r}, but the suite decides by {suite.primary_metric}")
    from delivery.evaluation.statistics.proportions import wilson

    interval = wilson(round(pack.score * pack.n), pack.n)
    return SystemResult(
        system="baseline",
        model=pack.model,
        artifact="",
        source="published",
        prompting=pack.prompting,
        metrics={suite.primary_metric: Estimate(pack.score, interval.low, interval.high)},
        n=pack.n,
        n_scored=pack.n,
        n_errored=0,
        samples=(),
        pack_sha256=pack.sha256,
        note=f"Published score, not measured here ({pack.citation}); compared unpaired.",
    )


def _read_pack_file(path: Path) -> PackFile:
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold keys and values")
    try:
        return PackFile.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error


def _read_outputs(path: Path) -> list[OutputLine]:
    lines: list[OutputLine] = []
    seen: set[str] = set()
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                line = OutputLine.model_validate(orjson.loads(raw))
            except orjson.JSONDecodeError as error:
                raise ConfigError(f"{path}:{number}: is no JSON ({error})") from None
            except ValidationError as error:
                raise ConfigError(f"{path}:{number}: {describe(error)}") from error
            if line.id in seen:
                raise ConfigError(f"{path}:{number}: id: {line.id!r} stands on an earlier line too")
            seen.add(line.id)
            lines.append(line)
    return lines
