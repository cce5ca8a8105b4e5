"""Instructions that a program can check, of the 25 kinds of IFEval (Zhou et al., "Instruction-Following Evaluation", 2023).

A sample holds its rules under ``reference``: ``{"instructions": [{"id": "punctuation:no_comma", "kwargs": {}}]}``. The checks
are written from the paper's definitions; each module holds one family of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from delivery.artifacts import Sample
from delivery.documents import describe
from delivery.evaluation.scoring.instructions.formats import FORMATS
from delivery.evaluation.scoring.instructions.lengths import LENGTHS
from delivery.evaluation.scoring.instructions.words import WORDS
from delivery.evaluation.scoring.outcome import Outcome

RULES = {**WORDS, **LENGTHS, **FORMATS}
"""From a kind to its check: the answer and the rule's arguments in, whether it is followed out."""


def score_instructions(sample: Sample, output: str) -> Outcome:
    """Right where every instruction is followed; tp counts those that are, fn those that are not.

    ``score`` is the share that is followed by the loose reading (section 2 of the paper): an instruction is followed when
    it is in any variant of the answer without its first line, its last line, both, and without asterisks. ``parsed`` names
    the kinds that are broken.
    """
    rules = sample.reference["instructions"]
    strict = [is_followed(rule["id"], rule["kwargs"], output) for rule in rules]
    readings = loose_readings(output)
    loose = sum(
        done or any(is_followed(rule["id"], rule["kwargs"], text) for text in readings)
        for rule, done in zip(rules, strict, strict=True)
    )
    broken = ", ".join(rule["id"] for rule, done in zip(rules, strict, strict=True) if not done)
    said = bool(output.strip())
    return Outcome(
        (f"broken: {broken}" if broken else "all followed") if said else None,
        valid=said,
        correct=all(strict),
        tp=sum(strict),
        fn=len(rules) - sum(strict),
        score=loose / len(rules),
    )


def is_followed(kind: str, arguments: dict[str, Any], text: str) -> bool:
    """Whether a text follows one instruction; an empty text follows none."""
    return bool(text.strip()) and RULES[kind](text, **arguments)


def loose_readings(text: str) -> tuple[str, ...]:
    """The seven variants of an answer that the loose reading takes beside the answer itself."""
    lines = text.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return (*cut, *(variant.replace("*", "") for variant in (text, *cut)))


def problem_with(kind: str, arguments: dict[str, Any]) -> str:
    """What is wrong with an instruction: its kind is unknown, or an argument is missing, unknown or of another type."""
    if kind not in RULES:
        return f"id: {kind!r} is no kind of instruction; there are: {', '.join(sorted(RULES))}"
    try:
        _checking_types(kind)("", **arguments)
    except ValidationError as error:
        return f"kwargs of {kind}: {describe(error)}"
    return ""


@cache
def _checking_types(kind: str) -> Callable[..., bool]:
    return validate_call(config=ConfigDict(strict=True))(RULES[kind])
