"""The letter that an output chooses, and which of two texts it prefers."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from delivery.artifacts import Sample
from delivery.evaluation.scoring.outcome import Outcome
from delivery.evaluation.scoring.parsing import last_match, strip_outer

LETTERS = string.ascii_uppercase[:10]
"""What the options of a choice are called."""

TIES = ("tie", "equal", "both", "neither")

# "I" and "A" are words too: what follows a letter must end it.
_ENDS = r"(?=[)\]}*_`\"'.,:;$]*(?:\s*$|\s*\n|\s+(?:because|since|as)\b)|[).:\]}*,;]+\s)"
_NAMED = re.compile(
    rf"(?i:\b(?:answer|option|choice)(?:\s+is|\s*:)|\\boxed)[\s:*_`\"'$]*(?i:option\s+)?[(\[{{]?(?:\\text\{{)?([A-J]){_ENDS}"
)
_LEADING = re.compile(rf"^[ \t*_`\"']*[(\[]?([A-J]){_ENDS}", re.MULTILINE)


def chosen_letter(output: str, options: Sequence[str]) -> str | None:
    """The letter of the option that an output chooses, or None where it names none. Nothing is guessed.

    Taken in this order: the last letter said to be the answer (``the answer is (C)``, ``Answer: C``, ``\\boxed{C}``); a first
    or last line that is a letter alone; a letter that the output begins with (``C. Paris``), unless it goes on to list further
    options; an output that is the text of one option. A letter stands in upper case unless it is the whole output, and a word
    is no letter: ``A cat`` and ``I think`` choose nothing. A letter beyond the options is none.
    """
    letters = LETTERS[: len(options)]
    found = _letter(output)
    if found is None:
        folded = strip_outer(output.casefold())
        same = [letter for letter, option in zip(letters, options, strict=False) if strip_outer(option.casefold()) == folded]
        found = same[0] if len(same) == 1 and folded else None
    return found if found is not None and found in letters else None


def score_choice(sample: Sample, output: str) -> Outcome:
    """One of a sample's own options; an output that names none is invalid and wrong."""
    said = chosen_letter(output, sample.reference["options"])
    return Outcome(said, valid=said is not None, correct=said == sample.expected)


def score_preference(sample: Sample, output: str) -> Outcome:
    """Which of two texts was preferred: by its letter, or by being the text itself.

    A tie (a word of ``TIES`` alone, or a text that both options are) scores a half; an output that is neither scores 0.
    """
    options: Sequence[str] = sample.reference["options"]
    folded = strip_outer(" ".join(output.casefold().split()))
    same = [strip_outer(" ".join(option.casefold().split())) == folded for option in options]
    if folded in TIES or all(same):
        return Outcome("tie", valid=True, correct=False, score=0.5)
    said = LETTERS[same.index(True)] if any(same) else chosen_letter(output, options)
    right = said == sample.expected
    return Outcome(said, valid=said is not None, correct=right, score=float(right))


def _letter(output: str) -> str | None:
    named = last_match(_NAMED, output)
    if named is not None:
        return named.group(1)
    whole = strip_outer(output)
    if len(whole) == 1:
        return whole.upper()
    lines = output.strip().splitlines() or [""]
    alone = [line for line in map(strip_outer, (lines[0], lines[-1])) if len(line) == 1]
    if alone:
        return alone[0]
    leading = _LEADING.match(output.lstrip())
    # Lines that begin with further letters repeat the options and choose none of them.
    listed = set(_LEADING.findall(output))
    return leading.group(1) if leading is not None and len(listed) == 1 else None
