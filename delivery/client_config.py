"""``client.yaml``: what one client ordered. Read once, refused with the key's path where it is wrong."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from delivery.documents import Section, describe, read_yaml
from delivery.errors import ConfigError

Vertical = Literal["games", "education", "sales", "finance", "insurance", "other"]
UseCaseType = Literal["classification", "extraction", "qa", "generation", "role_play", "preference"]
ParseRule = Literal["exact", "first_word", "first_label", "json"]
Verdict = Literal["better", "not_worse", "inconclusive", "worse"]
BaselineSource = Literal["recorded", "live", "published"]
Prompting = Literal["zero_shot", "few_shot", "retrieval_few_shot"]
Format = Literal["adapter", "merged", "nf4", "gguf-q8_0"]

ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]
MOST_SWEEP_POINTS = 16

SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class UseCase(Section):
    """What the model has to do."""

    name: str = Field(min_length=1)
    type: UseCaseType
    system_prompt: str = Field(min_length=1)
    labels: tuple[str, ...] | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    parse: ParseRule = "exact"

    @model_validator(mode="after")
    def _answers_are_described(self) -> UseCase:
        if self.type == "classification":
            if not self.labels or len(self.labels) < 2:
                raise ValueError("a classification needs labels: a list of at least two")
            folded = [label.casefold() for label in self.labels]
            if len(set(folded)) != len(folded):
                raise ValueError("labels must differ by more than case")
        if self.type == "extraction":
            if self.json_schema is None or not self.json_schema.get("properties"):
                raise ValueError("an extraction needs schema: a JSON Schema with properties")
            if self.parse != "json":
                raise ValueError("an extraction needs parse: json")
        return self


class SplitRule(Section):
    """How rows that bring no split of their own are divided."""

    test: float = Field(default=0.2, gt=0, lt=0.9)
    validation: float = Field(default=0.1, ge=0, lt=0.9)
    seed: int = 7
    group_by: str | None = None

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> SplitRule:
        if self.test + self.validation >= 0.95:
            raise ValueError("test and validation together must leave at least 5 % for training")
        return self


class Data(Section):
    """Where the labeled rows are."""

    path: Annotated[tuple[str, ...], BeforeValidator(_one_or_several), Field(min_length=1)]
    splits: SplitRule = SplitRule()
    pii: Literal["redact", "block", "allow"] = "redact"
    identifiers: dict[str, str] = Field(default_factory=dict)
    pool: Annotated[tuple[str, ...], BeforeValidator(_one_or_several)] = ()
    guideline: str = ""

    @field_validator("identifiers")
    @classmethod
    def _patterns_that_compile(cls, value: dict[str, str]) -> dict[str, str]:
        for name, pattern in value.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
                raise ValueError(f"{name!r} is no name for an identifier: lower-case letters, digits and _, at most 31")
            try:
                matches_nothing = re.compile(pattern).match("") is not None
            except re.error as error:
                raise ValueError(f"{name}: {pattern!r} is no regular expression ({error})") from error
            if matches_nothing:
                raise ValueError(f"{name}: {pattern!r} matches the empty text; say what has to be there")
        return value


class Preference(Section):
    """How to learn from pairs after their preferred answers were learned; zero passes leave the pairs alone."""

    beta: float | None = Field(default=None, gt=0, le=10)
    epochs: float | None = Field(default=None, ge=0, le=20)
    learning_rate: float | None = Field(default=None, gt=0, lt=1)


class Sweep(Section):
    """Values to try, every learning rate with every rank, each for ``share`` of the steps of the run that is kept."""

    learning_rate: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    rank: tuple[Annotated[int, Field(ge=1, le=512)], ...] = ()
    share: float = Field(default=0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _a_choice(self) -> Sweep:
        points = max(1, len(self.learning_rate)) * max(1, len(self.rank))
        if not 2 <= points <= MOST_SWEEP_POINTS:
            raise ValueError(f"needs 2 to {MOST_SWEEP_POINTS} combinations of learning_rate and rank (these are {points})")
        if len(set(self.learning_rate)) < len(self.learning_rate) or len(set(self.rank)) < len(self.rank):
            raise ValueError("a value is given twice")
        return self


class Training(Section):
    """How to train. ``auto`` lets the plan choose; any recipe field may be pinned.

    ``targets`` names the linear layers that get an adapter: all, attention, mlp, or layers by their own names.
    """

    method: Literal["auto", "lora", "qlora"] = "auto"
    max_minutes: float | None = Field(default=None, gt=0)
    rank: int | None = Field(default=None, ge=1, le=512)
    alpha: int | None = Field(default=None, ge=1)
    rslora: bool | None = None
    targets: Annotated[tuple[ModuleName, ...], BeforeValidator(_one_or_several), Field(min_length=1)] = ("all",)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    learning_rate: float | None = Field(default=None, gt=0, lt=1)
    epochs: float | None = Field(default=None, gt=0, le=100)
    batch_size: int | None = Field(default=None, ge=1, le=1024)
    early_stopping: bool | None = None
    warm_start: Literal["auto", "never"] = "auto"
    preference: Preference = Preference()
    sweep: Sweep | None = None
    seed: int = 7

    @model_validator(mode="after")
    def _swept_or_pinned(self) -> Training:
        for key in ("learning_rate", "rank"):
            if self.sweep is not None and getattr(self.sweep, key) and getattr(self, key) is not None:
                raise ValueError(f"sweep.{key}: {key} is pinned as well; take one of them out")
        return self


class ModelPrice(Section):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0, allow_inf_nan=False)
    output: Decimal = Field(ge=0, allow_inf_nan=False)


class Baseline(Section):
    """What the candidate is measured against. ``price`` is needed where the price book does not list the model."""

    model: str = "gpt-4"
    sources: tuple[BaselineSource, ...] = ("recorded", "live", "published")
    prompting: tuple[Prompting, ...] = Field(default=("zero_shot",), min_length=1)
    budget_usd: Decimal = Field(default=Decimal("5.00"), ge=0, allow_inf_nan=False)
    price: ModelPrice | None = None


class Promise(Section):
    """What the contract promises."""

    beat_baseline_by: float = Field(default=0.0, ge=0, lt=1)


class Gates(Section):
    """Margins in units of the suite's primary metric (0 to 1), fixed before anything is measured.

    ``promotion_alpha`` bounds the chance that any of all nights puts a candidate into service that is not better than the
    champion (``require_champion: better``), or that is worse by ``champion_margin`` (``not_worse``).
    """

    general_margin: float = Field(default=0.02, ge=0, lt=1)
    quantization_margin: float = Field(default=0.01, ge=0, lt=1)
    champion_margin: float = Field(default=0.01, ge=0, lt=1)
    baseline_margin: float = Field(default=0.02, ge=0, lt=1)
    require_baseline: Literal["better", "not_worse", "none"] = "not_worse"
    require_champion: Literal["better", "not_worse"] = "better"
    promotion_alpha: float = Field(default=0.05, gt=0, lt=0.5)


class JudgeOrder(Section):
    """What a judge goes by on the client's own task (``generation`` and ``role_play``), and what all judging may cost.

    ``rubric`` says what makes the better answer, or good play; of a role play every reply is checked against ``points``.
    ``labeled`` is a file of pairs of answers of which the better one is known, for the judge to be measured on. ``price`` is
    needed where the price book does not list ``DELIVERY_JUDGE_MODEL`` and it is asked beyond this machine.
    """

    rubric: str | None = Field(default=None, min_length=1)
    points: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(default=None, min_length=1, max_length=6)
    labeled: str | None = Field(default=None, min_length=1)
    budget_usd: Decimal = Field(default=Decimal("5.00"), ge=0, allow_inf_nan=False)
    price: ModelPrice | None = None


class Evaluation(Section):
    """Which suites run, and what they have to show."""

    suites: tuple[str, ...] = ("use_case",)
    promise: Promise = Promise()
    gates: Gates = Gates()
    judge: JudgeOrder = JudgeOrder()
    max_errored: float = Field(default=0.05, ge=0, le=1)


class Cost(Section):
    """What the client will run on, and how much of it."""

    hardware: str = "cpu-2core"
    requests_per_month: int = Field(default=100_000, gt=0)
    utilisation: float = Field(default=0.4, gt=0, le=1)


class Schedule(Section):
    """When the nightly delivery runs."""

    cron: str = "0 2 * * *"
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no IANA time zone") from error
        return value

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError("a cron line has five fields: minute hour day month weekday")
        return value


class ClientConfig(Section):
    """A whole ``client.yaml``. ``folder`` is where it was read from."""

    folder: Path = Field(exclude=True)
    client: str
    vertical: Vertical
    use_case: UseCase
    data: Data
    base_model: str = "smollm2-135m-instruct"
    training: Training = Training()
    baseline: Baseline = Baseline()
    evaluation: Evaluation = Evaluation()
    artifacts: tuple[Format, ...] = ("adapter", "merged", "nf4", "gguf-q8_0")
    ship: Format = "gguf-q8_0"
    cost: Cost = Cost()
    schedule: Schedule = Schedule()

    @field_validator("client")
    @classmethod
    def _slug(cls, value: str) -> str:
        if not SLUG.fullmatch(value) or len(value) > 63:
            raise ValueError("a client's name has lower-case letters, digits and single hyphens, at most 63")
        return value

    @model_validator(mode="after")
    def _ships_what_it_makes(self) -> ClientConfig:
        if self.ship not in self.artifacts:
            raise ValueError(f"ship: {self.ship} is not among artifacts")
        return self

    @model_validator(mode="after")
    def _judged_as_its_task_is(self) -> ClientConfig:
        kind, judge = self.use_case.type, self.evaluation.judge
        if judge.points is not None and kind != "role_play":
            raise ValueError(f"evaluation.judge.points: only a role play is judged by points, and use_case.type is {kind}")
        if judge.rubric is not None and kind not in ("generation", "role_play"):
            raise ValueError(f"evaluation.judge.rubric: no judge decides a use case of type {kind}")
        if kind == "role_play" and self.baseline.prompting != ("zero_shot",):
            raise ValueError("baseline.prompting: a role play is played without worked examples; write [zero_shot]")
        return self

    def data_paths(self) -> tuple[str, ...]:
        """The data files, local ones relative to the client's folder made absolute, and the labeling rounds after them."""
        return *self._absolute(self.data.path), *(str(path) for path in self.rounds())

    def rounds_folder(self) -> Path:
        """Where ``data add`` keeps labeling rounds."""
        return self.folder.resolve() / "data" / "rounds"

    def rounds(self) -> list[Path]:
        """The labeling rounds, in order."""
        return sorted(self.rounds_folder().glob("[0-9]*.jsonl"))

    def guideline(self) -> str:
        """What a labeler is told beside every row."""
        if self.data.guideline:
            return self.data.guideline
        if self.use_case.labels:
            return f"One of: {', '.join(self.use_case.labels)}"
        fields = ", ".join((self.use_case.json_schema or {}).get("properties", {}))
        return f"JSON with the fields {fields}" if fields else self.use_case.system_prompt.strip()

    def labeled_pairs_path(self) -> Path | None:
        """The client's own labeled pairs for measuring a judge, or None."""
        labeled = self.evaluation.judge.labeled
        return (self.folder / labeled).resolve() if labeled else None

    def pool_paths(self) -> tuple[str, ...]:
        """The files of rows that nobody has labeled yet, likewise."""
        return self._absolute(self.data.pool)

    def _absolute(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(p if "://" in p else str((self.folder / p).resolve()) for p in paths)


def load_client(clients: Path, slug: str) -> ClientConfig:
    """Read and check ``clients/<slug>/client.yaml``.

    Raises:
        ConfigError: no such client, or the file is wrong; names the file and the key's path.
    """
    folder = clients / slug
    path = folder / "client.yaml"
    if not SLUG.fullmatch(slug) or not folder.is_dir():
        known = ", ".join(list_clients(clients)) or "none yet"
        raise ConfigError(f"there is no client {slug!r} in {clients} (clients here: {known})")
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold keys and values; copy clients/_template/client.yaml")
    if "folder" in document:
        raise ConfigError(f"{path}: folder: unknown key")
    try:
        config = ClientConfig.model_validate({**document, "folder": folder.resolve()})
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
    if config.client != slug:
        raise ConfigError(f"{path}: client: is {config.client!r}, but the folder is named {slug!r}")
    return config


def list_clients(clients: Path) -> list[str]:
    """The clients of a workspace, by the names of their folders; ``_template`` is none."""
    if not clients.is_dir():
        return []
    return sorted(p.name for p in clients.iterdir() if SLUG.fullmatch(p.name) and (p / "client.yaml").exists())
