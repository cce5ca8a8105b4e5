"""The client's rows, from file to sides."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from delivery.artifacts.storing import sha256_json

Split = Literal["train", "validation", "test"]
Status = Literal["ok", "warn", "refuse"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str
    weight: float = 0.0
    """Of an assistant's turn before the answer: above nought its tokens are learned as well, with this weight."""

    @property
    def said(self) -> list[str | float]:
        """Role and content for a hash, and the weight where there is one."""
        return [self.role, self.content, self.weight] if self.weight else [self.role, self.content]


@dataclass(frozen=True, slots=True)
class Example:
    """A labeled row: the messages before the answer (system first, where there is one) and the answer, its label."""

    id: str
    messages: tuple[Message, ...]
    answer: str
    split: Split | None = None
    weight: float = 1.0
    """Of the answer's tokens in training."""
    metadata: dict[str, str] = field(default_factory=dict)
    source: str = ""
    line: int = 0
    rejected: str = ""
    """The answer that was not preferred; only preference pairs have one."""
    key: str = ""
    """``input_key`` of the row as it was read, so that redaction moves no row to another side; empty: of the messages."""

    @property
    def asked(self) -> str:
        """What the customer wrote, without the system prompt: the contents of the turns before the answer, one a line."""
        return "\n".join(m.content for m in self.messages if m.role != "system")

    @property
    def names(self) -> tuple[str, str]:
        """What a row's side is remembered by, the stronger first: hashes of its id and of its input."""
        return f"id:{hashlib.sha256(self.id.encode()).hexdigest()[:32]}", f"input:{self.input_key[:32]}"

    @property
    def input_sha256(self) -> str:
        """Hash of what the customer sent, to the letter (no system prompt): what a baseline pack was asked."""
        return sha256_json([[m.role, m.content] for m in self.messages if m.role != "system"])

    @property
    def input_key(self) -> str:
        """Hash of the same after NFKC, case folding and white-space folding: equal keys are exact duplicates."""
        return self.key or input_key_of(self.messages)


def input_key_of(messages: Sequence[Message]) -> str:
    """``Example.input_key`` of messages."""
    text = "\n".join([f"{m.role}: {m.content}" for m in messages if m.role != "system"])
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Check:
    """One finding about the data. ``count`` of a leakage check is the number of test rows concerned."""

    name: str
    status: Status
    count: int
    detail: str
    remedy: str = ""
    examples: tuple[str, ...] = ()
    """The first rows concerned, each as ``file:line: what``; no value that the check is about is shown in full."""


@dataclass(frozen=True, slots=True)
class LabeledDataset:
    """All rows of a client in file order, with the fingerprint of their content."""

    examples: tuple[Example, ...]
    fingerprint: str
    format: str
    repeated: tuple[str, ...] = ()
    """Ids of rows that came again word for word, and were read once."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The rows by side. A row keeps its side in all versions, and rows that are alike stand on one side."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    left_out: tuple[str, ...] = ()
    """Ids of rows that are not used, because they are alike to rows of a side that is held out from theirs."""
    near: tuple[tuple[str, str], ...] = ()
    """Ids of rows with nearly the same input, in pairs; of rows with equal inputs the first stands for all."""
    held_out: dict[str, Split] = field(default_factory=dict)
    """Every row that any version held out, by its ``names``, and the side that it is on."""

    @property
    def counts(self) -> dict[str, int]:
        """Rows per side."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


@dataclass(frozen=True, slots=True)
class DataDiff:
    """Ids of rows that differ between two versions of the data."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabeled: tuple[str, ...]
    """The same input with another answer."""
    edited: tuple[str, ...]
    """The same id with another input."""

    def as_dict(self) -> dict[str, tuple[str, ...]]:
        """The ids by kind of change."""
        return {"added": self.added, "removed": self.removed, "relabeled": self.relabeled, "edited": self.edited}


@dataclass(frozen=True, slots=True)
class Intake:
    """What was found in rows before they were stored: identifiers and secrets, which may be redacted since."""

    checks: tuple[Check, ...] = ()
    identifiers: dict[str, int] = field(default_factory=dict)
    """Findings by kind."""


@dataclass(frozen=True, slots=True)
class DataVersion:
    """A version of a client's rows. ``id`` names rows, sides and findings at intake; ``fingerprint`` the rows alone."""

    id: str
    number: int
    created_at: str
    parent: str | None
    fingerprint: str
    format: str
    rows: int
    sides: dict[str, int]
    """Rows on each side, and those left out."""
    changes: dict[str, int]
    """Rows added, removed, relabeled and edited since the parent."""
    sources: tuple[str, ...]
    segments: tuple[str, ...]
    content: str = ""
    """Hash of the rows and their sides."""
    intake: Intake = Intake()


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How often an answer, or a value of one of its fields, stands on each side."""

    field: str
    """``label`` where the whole answer is one."""
    value: str
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class LengthBin:
    """Rows whose input has from ``low`` up to, not including, ``high`` characters."""

    low: int
    high: int
    rows: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that the other rows speak against. ``margin`` (-1 to 1) is how much likelier the given label is than the
    predicted one, as the difference of their probabilities over their sum; the lower, the more suspicious.
    """

    id: str
    place: str
    field: str
    given: str
    predicted: str
    margin: float


@dataclass(frozen=True, slots=True)
class DataProfile:
    """What the rows look like, for charts."""

    labels: tuple[LabelCount, ...] = ()
    lengths: tuple[LengthBin, ...] = ()
    copies: dict[str, int] = field(default_factory=dict)
    """Rows whose input is ``unique``, nearly that of another (``near``) or that of another (``exact``); then ``left_out``."""
    identifiers: dict[str, int] = field(default_factory=dict)
    """What was found by kind, and redacted where the client wants that."""
    suspects: tuple[Suspect, ...] = ()
    """The most suspicious labels, the worst first."""


@dataclass(frozen=True, slots=True)
class DataReport:
    """What ``delivery data check`` prints."""

    rows: int
    format: str
    fingerprint: str
    splits: dict[str, int]
    checks: tuple[Check, ...]
    profile: DataProfile = DataProfile()

    @property
    def refused(self) -> bool:
        """Whether the client has to act before anything else can run."""
        return any(check.status == "refuse" for check in self.checks)
