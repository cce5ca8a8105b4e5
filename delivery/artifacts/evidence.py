"""What systems answered, how it was scored, and how they compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from delivery.artifacts.data import Message
from delivery.client_config import ParseRule, Verdict

SystemName = Literal["candidate", "adapter", "champion", "base", "baseline", "encoder"]
SuiteKind = Literal["use_case", "general", "role_play", "preference"]
Scorer = Literal["classification", "extraction", "choice", "qa", "instructions", "preference", "generation", "role_play"]
"""``choice``: one of a sample's own options. ``instructions``: rules that a program checks. The last two are judged."""
JUDGED: tuple[Scorer, ...] = ("generation", "role_play")
"""What no rule can score: a judge does."""
Source = Literal["local", "live", "recorded", "published", "stand-in"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of a suite: what is asked, what is expected, and by what it may be sliced.

    Samples of one ``cluster`` (turns of a dialogue, questions about one document) are not independent and are drawn
    together; a sample without one is its own. ``scorer`` is set where it is another than the suite's. ``reference`` holds
    what the scorer needs beside ``expected``: options, rules with their arguments, a persona, another answer.
    """

    id: str
    messages: tuple[Message, ...]
    expected: str
    input_sha256: str
    slices: dict[str, str] = field(default_factory=dict)
    cluster: str = ""
    scorer: Scorer | None = None
    reference: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suite:
    """A frozen set of samples and how they are scored. ``sha256`` names samples, labels, schema and rule."""

    name: str
    kind: SuiteKind
    scorer: Scorer
    parse: ParseRule
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    json_schema: dict[str, Any] | None
    sha256: str

    @property
    def primary_metric(self) -> str:
        """The metric that decides: field-level micro-F1 of an extraction, win rate or score where a judge decides."""
        return _PRIMARY.get(self.scorer, "accuracy")

    @property
    def judged(self) -> bool:
        """Whether a judge decides, and no rule."""
        return self.scorer in JUDGED


_PRIMARY: dict[Scorer, str] = {"extraction": "field_micro_f1", "generation": "win_rate", "role_play": "judged_score"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system said to one sample. Exactly one of ``output`` and ``error`` is set."""

    sample_id: str
    output: str | None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    model: str = ""
    """The name under which the endpoint answered, such as a dated snapshot; empty where it gave none."""
    requests: int = 1
    """Requests that it took: more than one for a dialogue, whose tokens and seconds are those of all."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One sample's outcome. An errored sample is neither right nor wrong: ``correct`` is None.

    ``tp``, ``fp``, ``fn`` count fields of an extraction, or instructions that were followed (tp) and not (fn); for a
    classification tp is 1 for a right label. ``score`` (0 to 1) is what a judge or a loose rule gives where right and
    wrong are not all; ``cluster`` is the sample's.
    """

    sample_id: str
    expected: str
    output: str | None
    parsed: str | None
    valid: bool
    correct: bool | None
    tp: int = 0
    fp: int = 0
    fn: int = 0
    error: str | None = None
    score: float | None = None
    refused: bool = False
    """It declined to answer: not right, and told apart from wrong."""
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SystemResult:
    """One system on one suite. ``metrics`` holds the suite's primary metric and ``invalid_rate``.

    A published baseline has a score and an n, but no ``samples``. Where a judge gave not one verdict there are no metrics.
    """

    system: SystemName
    model: str
    artifact: str
    source: Source
    prompting: str
    metrics: dict[str, Estimate]
    n: int
    n_scored: int
    n_errored: int
    samples: tuple[Scored, ...]
    note: str = ""
    """What a reader has to know, such as that a stand-in is not GPT-4."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    requests: int = 0
    """Requests that were answered, which the tokens and seconds are of; 0 where the answers came without."""
    pack_sha256: str = ""
    """The baseline pack that holds the answers, where one does."""
    suite_sha256: str = ""
    """The suite whose samples were asked; systems that were asked other samples are not compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """System ``a`` against ``b`` on the samples that both answered. ``difference`` is a minus b.

    ``discordant`` counts samples that only a, and only b, got right; None for an unpaired comparison. ``verdict`` follows
    from the interval, the margin and ``p_adjusted`` (where set; else ``p_value``). Where the test is ``judged_pairs`` a judge
    saw both answers side by side: ``difference`` is a's win rate against b less one half, ``discordant`` a's wins and losses.
    """

    a: str
    b: str
    metric: str
    test: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    discordant: tuple[int, int] | None
    margin: float
    verdict: Verdict
    p_margin: float | None = None
    """One-sided p-value that a is behind b by the margin or more: small where "not worse" is shown."""
    p_adjusted: float | None = None
    """``p_value`` after Holm's adjustment, where this is one of the promised endpoints."""
    detectable: float | None = None
    """The difference that so many samples show with 80 % power, at the disagreement seen."""
    dropped: int = 0
    """Samples that are not among the ``n`` because a or b has no answer to them."""
    clusters: int | None = None
    """How many groups of dependent samples the ``n`` are; None where every sample stands for itself."""


@dataclass(frozen=True, slots=True)
class RoundGain:
    """What the cheap encoder reaches with all rows up to a labeling round; round 0 are the rows that came with none.

    ``gain`` is against the round before it, on the same samples; None for the first.
    """

    round: int
    rows: int
    value: Estimate
    gain: Comparison | None


@dataclass(frozen=True, slots=True)
class SliceResult:
    """The primary metric of the candidate and the baseline on a part of the suite.

    ``difference`` is candidate minus baseline on the samples that both answered. ``q_value`` is its p-value after the
    adjustment of Benjamini and Hochberg over all slices of the suite.
    """

    name: str
    value: str
    n: int
    candidate: Estimate
    baseline: Estimate | None
    difference: Estimate | None = None
    q_value: float | None = None


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """What one system said to a sample. ``correct`` is None where it could not be scored."""

    system: SystemName
    said: str
    correct: bool | None


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample as people read it: what was asked, what was expected, and what systems said."""

    id: str
    asked: str
    expected: str
    answers: tuple[ShownAnswer, ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often ``expected`` was answered with ``said``; an empty ``said`` stands for no valid answer.

    ``field`` names the field of an extraction. ``baseline`` is None where no baseline answered the same samples.
    """

    expected: str
    said: str
    candidate: int
    baseline: int | None
    field: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """The candidate against the champion, sample by sample."""

    fixed: int
    broken: int
    samples: tuple[ShownSample, ...]
    """Broken ones first: those are what a user of the champion would notice."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The candidate's mistakes. ``confusions`` holds every pair that occurs, the most frequent mistake first.

    For labels it holds right answers too (``expected == said``), so that it is the whole table.
    """

    wrong: int
    scored: int
    samples: tuple[ShownSample, ...]
    confusions: tuple[Confusion, ...] = ()
    changes: Changes | None = None


@dataclass(frozen=True, slots=True)
class CleanScores:
    """The primary metric on samples that the training rows do not hold, to the letter, nearly or by a passage.

    ``contaminated`` counts the others.
    """

    contaminated: int
    n: int
    values: dict[SystemName, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canary:
    """What a constant answer, which says nothing, reached before a judge."""

    name: str
    n: int
    rate: Estimate


@dataclass(frozen=True, slots=True)
class Judging:
    """Who judged a suite, what the judge is worth on ``labeled`` pairs, and what its word may be used for.

    Where ``withheld`` gives reasons, the suite has no comparisons.
    """

    model: str
    prompt: str
    prompt_sha256: str
    labeled: int
    kappa: Estimate | None
    agreement: Estimate | None
    order_consistency: Estimate | None
    pick_first_rate: Estimate | None
    canaries: tuple[Canary, ...]
    withheld: tuple[str, ...]
    limitations: tuple[str, ...]
    beside: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    """By system what stands beside its score and decides nothing: ``simulated_user`` instead of frozen turns; the win rate
    ``length_controlled`` (at equal length and format) and ``corrected`` (what a judge without error would find)."""


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """All systems on one suite, and the comparisons that decide."""

    suite: str
    kind: str
    primary_metric: str
    n: int
    systems: tuple[SystemResult, ...]
    comparisons: tuple[Comparison, ...]
    slices: tuple[SliceResult, ...] = ()
    analysis: Analysis | None = None
    clean: CleanScores | None = None
    judging: Judging | None = None
    """Set where a judge decided."""

    def system(self, name: SystemName) -> SystemResult | None:
        """The result of one system, or None when it did not take part."""
        return next((s for s in self.systems if s.system == name), None)

    def comparison(self, a: str, b: str, metric: str | None = None) -> Comparison | None:
        """The comparison of two systems on a metric (the primary one by default)."""
        wanted = metric or self.primary_metric
        return next((c for c in self.comparisons if (c.a, c.b, c.metric) == (a, b, wanted)), None)


@dataclass(frozen=True, slots=True)
class BaselinePack:
    """Frozen answers (or a published score) of a baseline, with where and when they come from."""

    name: str
    path: str
    source: Literal["recorded", "published"]
    model: str
    provider: str
    recorded_on: str
    prompting: str
    parse: ParseRule | None
    licence: str
    sha256: str
    outputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Sample id -> (input_sha256, output). Empty for a published score."""
    usage: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Sample id -> (prompt tokens, completion tokens), where they were recorded."""
    metric: str = ""
    score: float | None = None
    n: int | None = None
    citation: str = ""
