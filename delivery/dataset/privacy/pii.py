"""Identifiers and secrets in a client's rows: redacted, refused or allowed, and always counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from delivery.artifacts import Check, Example, Intake, LabeledDataset, Status
from delivery.client_config import UseCase
from delivery.dataset.places import SHOWN, line_of
from delivery.dataset.privacy.identifiers import NO_PATTERNS
from delivery.dataset.privacy.redaction import Redacted, Redactor
from delivery.dataset.privacy.spans import Found
from delivery.dataset.reading.answers import answer_check
from delivery.dataset.reading.problems import BadRow
from delivery.errors import ConfigError

Mode = Literal["redact", "block", "allow"]


@dataclass(frozen=True, slots=True)
class Guarded:
    """Rows after the guard, and what it saw.

    ``counts`` are the findings by kind, in rows alone (not in system prompts or ids). ``values`` say what each placeholder
    that now stands in the rows stood for: they belong into the vault, and nowhere else.
    """

    dataset: LabeledDataset
    pii: Check
    secrets: Check
    counts: dict[str, int]
    values: dict[str, str]

    @property
    def intake(self) -> Intake:
        """What the version of these rows keeps of it."""
        return Intake((self.pii, self.secrets), self.counts)


def apply(
    dataset: LabeledDataset,
    *,
    mode: Mode,
    redactor: Redactor | None = None,
    patterns: Mapping[str, str] = NO_PATTERNS,
    use_case: UseCase | None = None,
) -> Guarded:
    """Look for identifiers and secrets in every message, answer and metadata value, and redact them if that is the mode.

    Rows keep their id, their split and their ``input_key``. The system prompt and the use case's own labels stay as they are.
    ``patterns`` are the client's own identifiers, for where no redactor brings them.

    Raises:
        ValueError: the mode is "redact" and there is no redactor.
        ConfigError: one of the client's patterns does not come to an end; names the row.
    """
    if mode == "redact" and redactor is None:
        raise ValueError("redacting takes a redactor")
    guard = _Guard(redactor or Redactor(os.urandom(32), patterns), use_case, changes=mode == "redact")
    examples = tuple(guard(example) for example in dataset.examples)
    seen = guard.seen
    return Guarded(
        dataset=replace(dataset, examples=examples) if mode == "redact" else dataset,
        pii=_check("pii", mode, seen.pii, seen),
        secrets=_check("secrets", mode, seen.secrets, seen),
        counts=dict(sorted((seen.pii.kinds + seen.secrets.kinds).items())),
        values=dict(seen.values) if mode == "redact" else {},
    )


class _Text(NamedTuple):
    """One text of a row and the field that it stands in."""

    field: str
    content: str


class _Tally:
    """Rows that concern one check."""

    def __init__(self) -> None:
        self.rows = 0
        self.kinds: Counter[str] = Counter()
        self.prompt_kinds: Counter[str] = Counter()
        self.unfit: list[str] = []
        self.examples: list[str] = []

    def add(self, example: Example, found: Sequence[tuple[str, Found]]) -> None:
        """Note what one row holds: pairs of a field and what was found in it."""
        if not found:
            return
        self.rows += 1
        self.kinds.update(f.kind for _, f in found)
        if len(self.examples) < SHOWN:
            shown = dict.fromkeys(f"{f.kind} {masked(f)} in {field}" for field, f in found)
            self.examples.append(f"{place(example)}: {', '.join(list(shown)[:3])}{', …' if len(shown) > 3 else ''}")


class _Seen:
    def __init__(self) -> None:
        self.pii, self.secrets = _Tally(), _Tally()
        self.values: dict[str, str] = {}
        self.ids = 0


class _Guard:
    """Goes through rows. Each distinct text is searched once."""

    def __init__(self, redactor: Redactor, use_case: UseCase | None, *, changes: bool) -> None:
        self._redactor = redactor
        self._changes = changes
        self._labels = frozenset(use_case.labels or ()) if use_case is not None else frozenset[str]()
        self._fits = answer_check(use_case) if use_case is not None else None
        self._done: dict[str, Redacted | None] = {}
        self._prompts: set[str] = set()
        self.seen = _Seen()

    def __call__(self, example: Example) -> Example:
        try:
            return self._row(example)
        except ConfigError as error:
            raise ConfigError(f"{place(example)}: {error}") from error

    def _row(self, example: Example) -> Example:
        for message in example.messages:
            if message.role == "system" and message.content not in self._prompts:
                self._prompts.add(message.content)
                self._prompt(message.content)
        self.seen.ids += "@" in example.id and self._redact(example.id) is not None
        texts = list(self._texts(example))
        redacted = {text.content: self._redact(text.content) for text in texts}
        values = [f for one in redacted.values() if one is not None for f in one.found]
        if not values:
            return example
        for content, first in redacted.items():
            # What one text of the row gives away is replaced in the others, too.
            known = {f.value for f in first.found} if first is not None else set[str]()
            others = [f for f in values if f.value in content and f.value not in known]
            if others:
                again = self._redactor.redact(content, known=others)
                redacted[content] = again if again.found else None
        return self._changed(example, texts, {content: one for content, one in redacted.items() if one is not None})

    def _texts(self, example: Example) -> Iterator[_Text]:
        for index, message in enumerate(example.messages):
            if message.role != "system":
                yield _Text(f"messages[{index}]", message.content)
        for field, answer in (("answer", example.answer), ("rejected", example.rejected)):
            if answer and answer not in self._labels:
                yield _Text(field, answer)
        for name, value in example.metadata.items():
            yield _Text(f"metadata.{name}", value)

    def _redact(self, content: str) -> Redacted | None:
        """The text redacted; None where there is nothing in it."""
        if content not in self._done:
            redacted = self._redactor.redact(content)
            self._done[content] = redacted if redacted.found else None
        return self._done[content]

    def _prompt(self, content: str) -> None:
        redacted = self._redact(content)
        for found in redacted.found if redacted is not None else ():
            (self.seen.secrets if found.secret else self.seen.pii).prompt_kinds[found.kind] += 1

    def _changed(self, example: Example, texts: Sequence[_Text], redacted: Mapping[str, Redacted]) -> Example:
        found = [(text.field, f) for text in texts if text.content in redacted for f in redacted[text.content].found]
        self.seen.pii.add(example, [pair for pair in found if not pair[1].secret])
        self.seen.secrets.add(example, [pair for pair in found if pair[1].secret])
        if not self._changes:
            return example
        for _, f in found:
            self.seen.values.setdefault(self._redactor.placeholder(f), f.value)

        def new(content: str) -> str:
            return redacted[content].text if content in redacted else content

        changed = replace(
            example,
            key=example.input_key,
            messages=tuple(m if m.role == "system" else replace(m, content=new(m.content)) for m in example.messages),
            answer=example.answer if example.answer in self._labels else new(example.answer),
            rejected=example.rejected if example.rejected in self._labels else new(example.rejected),
            metadata={name: new(value) for name, value in example.metadata.items()},
        )
        if changed.answer != example.answer and self._fits is not None:
            self._note_unfit(changed, secret=all(f.secret for field, f in found if field == "answer"))
        return changed

    def _note_unfit(self, example: Example, *, secret: bool) -> None:
        """An answer that its redaction made unfit for the use case would be trained on, and count as wrong."""
        assert self._fits is not None
        try:
            self._fits(example.answer, "answer")
        except BadRow as bad:
            (self.seen.secrets if secret else self.seen.pii).unfit.append(f"{place(example)}: {bad.what}")


def place(example: Example) -> str:
    """Where a row stands, without its id: that may be an identifier itself."""
    return line_of(example) or "a row"


def masked(found: Found) -> str:
    """A value as a report may show it: its first character, and of an e-mail address its shape."""
    first = found.value[:1]
    return f"{first}…@…" if found.kind == "email" else f"{first}…"


def _check(name: str, mode: Mode, tally: _Tally, seen: _Seen) -> Check:
    noun = {"pii": "identifiers of people", "secrets": "secrets"}[name]
    parts: list[str] = []
    remedies: list[str] = []
    status: Status = "ok"
    if tally.rows:
        status = "refuse" if mode == "block" else "warn"
        what, remedy = _OUTCOME[mode]
        parts.append(f"{tally.rows} rows hold {noun} ({_listed(tally.kinds)}); {what}")
        remedies.append(remedy)
    if tally.unfit:
        status = "refuse"
        parts.append(f"{len(tally.unfit)} answers no longer fit the use case once redacted, first {tally.unfit[0]}")
        remedies.append("let these fields be strings without a pattern, or take them out of the answers")
    if tally.prompt_kinds:
        status = "warn" if status == "ok" else status
        parts.append(f"the system prompt holds {_listed(tally.prompt_kinds)}, and stays as it is")
        remedies.append("take it out of the system prompt, unless everybody may read it")
    if name == "pii" and seen.ids:
        status = "warn" if status == "ok" else status
        parts.append(f"{seen.ids} ids hold an e-mail address or the like, and stay as they are")
        remedies.append("give these rows other ids")
    if not parts:
        return Check(name, "ok", 0, f"no {noun} were found")
    return Check(name, status, tally.rows, "; ".join(parts), "; ".join(remedies), tuple(tally.examples))


_OUTCOME: dict[Mode, tuple[str, str]] = {
    "redact": ("placeholders stand in their place", "nothing has to be done; the values are in the client's vault"),
    "block": ("data.pii is block", "take them out, or set data.pii to redact"),
    "allow": ("they stay, since data.pii is allow", "make sure that the model may learn them, or set data.pii to redact"),
}


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
