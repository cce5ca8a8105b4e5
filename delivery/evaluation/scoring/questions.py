"""Questions with a short answer: right, wrong and refused kept apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from delivery.artifacts import Sample
from delivery.evaluation.scoring.outcome import Outcome
from delivery.evaluation.scoring.parsing import last_match

_MOST_DIGITS = 60
_MARKED = re.compile(r"(?:####|\banswer(?: is\b|\s*:)|\\boxed\{)[ \t*_`:$]*([^\n]*)", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-−+]?)[$€£¥]?(?=\.?\d)(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d*)(?P<part>(?:\.\d+)?)"
    r"(?:e(?P<power>[-+]?\d{1,2})(?!\d))?(?:\s?/\s?(?P<below>\d+)(?![\d/]))?",
    re.IGNORECASE,
)
_BARE = re.compile(rf"\W*?{_NUMBER.pattern}\W*(?:[^\W\d]+\W*){{0,2}}", re.IGNORECASE)
_SIGNS = re.compile(r"(?<=\d)([.:/-])(?=\d)|(?<![\w.])(-)(?=\d)|(?<=\d),(?=\d{3}(?!\d))|['’.]|[^\w\s]|_")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_OPENING = r"\A\W*+(?:(?:i am |i'm )?(?:very |so |really )?sorry\b|unfortunately\b|apologies\b)?\W*+(?:but\b|that\b)?\W*+"
_UNABLE = r"(?:do not|don't|cannot|can't|can not|could not|couldn't|(?:am|'m) (?:unable|not able) to|will not|won't)"
_ACT = r"(?:know|answer|say|tell|determine|provide|help|assist|give|be sure|be certain|have enough|have sufficient)"
_REFUSAL = re.compile(
    rf"{_OPENING}(?:(?:i|we)\s?(?:really )?(?:{_UNABLE} {_ACT}|(?:am|'m|are|'re) not (?:sure|certain)|have no idea)\b"
    r"|(?:it is |it's )?(?:unable|not possible|impossible) to (?:answer|say|tell|determine|know)\b"
    r"|(?:there is |there's )?not enough information\b)"
    r"|\A\W*+(?:unknown|no answer|n/?a|unsure|not sure|no idea|idk)\W*+\Z",
    re.IGNORECASE,
)


def score_qa(sample: Sample, output: str) -> Outcome:
    """Right where the output's answer equals one that is accepted, by text or by value; else wrong, or refused.

    An output that says neither an answer nor that it has none (it is empty, or holds no number where one is asked for)
    is invalid, and wrong.
    """
    reference = sample.reference
    accepted = [sample.expected, *reference.get("answers", ())]
    if reference.get("numeric"):
        number = said_number(output)
        parsed = None if number is None else str(number) if number.denominator == 1 else f"{float(number):.10g}"
        right = number is not None and _is_near(number, accepted, Fraction(reference.get("tolerance", 0.0)))
    else:
        said = [normalised(text) for text in answers_in(output)]
        known = {normalised(text) for text in accepted}
        parsed = next((text for text in said if text in known), said[-1] if said else None) or None
        right = parsed in known
    refused = not right and is_refusal(output)
    return Outcome(parsed, valid=parsed is not None or refused, correct=right, refused=refused)


def answers_in(output: str) -> tuple[str, ...]:
    """Where an output gives its answer: what follows its last ``answer is``, ``Answer:``, ``####`` or ``\\boxed{``.

    Without such a mark it is the first or the last line, whichever is accepted: an explanation may come before or after.
    """
    marked = _last_marked(output)
    if marked:
        return (marked,)
    lines = output.strip().splitlines()
    return (lines[0], lines[-1]) if lines else ()


def said_number(output: str) -> Fraction | None:
    """The number that an output answers with, or None where it holds none.

    After the last mark (see ``answers_in``): the first number, or the first after the last ``=``. Without a mark: a first
    line that is a number with at most two words, such as a unit; else the last number. ``1,234.5``, ``-2``, ``.5``,
    ``3/4``, ``1e6``, ``$12`` and ``75%`` are read; a percent sign and a unit do not change the value.
    """
    marked = _last_marked(output)
    if _NUMBER.search(marked):
        result = marked.rpartition("=")[2]
        return _first_number(result if _NUMBER.search(result) else marked)
    first = output.strip().split("\n", 1)[0]
    bare = _BARE.fullmatch(first) if len(first) <= _MOST_DIGITS else None
    if bare is not None:
        return _value(bare)
    last = last_match(_NUMBER, output)
    return _value(last) if last is not None else None


def normalised(text: str) -> str:
    """Text without case, punctuation, articles and surplus space (Rajpurkar et al., "SQuAD", 2016), in Unicode form NFKC.

    Signs that make a number another one stay: ``1.5``, ``3/4``, ``10:30``, ``-2``. ``1,000`` becomes ``1000``.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    plain = " ".join(_SIGNS.sub(_kept, folded).split())
    return " ".join(_ARTICLE.sub(" ", plain).split()) or plain


def is_refusal(output: str) -> bool:
    """Whether an output opens by declining to answer, or is nothing but ``unknown``."""
    return _REFUSAL.search(output[:300].replace("’", "'")) is not None


def is_readable(text: str, *, numeric: bool) -> bool:
    """Whether a text can be an expected answer: a number, or something that is left after normalising."""
    return _first_number(text) is not None if numeric else bool(normalised(text))


def _last_marked(output: str) -> str:
    marked = last_match(_MARKED, output)
    return marked.group(1).strip() if marked is not None else ""


def _kept(match: re.Match[str]) -> str:
    return match[1] or match[2] or ("" if match[0] in "'’.," and match[0] else " ")


def _first_number(text: str) -> Fraction | None:
    found = _NUMBER.search(text)
    return _value(found) if found is not None else None


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match.group()) > _MOST_DIGITS:
        return None
    digits = f"{match['whole'].replace(',', '') or '0'}{match['part']}"
    value = Fraction(f"{digits}e{match['power'] or 0}")
    if match["below"] is not None:
        if int(match["below"]) == 0:
            return None
        value /= int(match["below"])
    return -value if match["sign"] in ("-", "−") else value


def _is_near(number: Fraction, accepted: Sequence[str], tolerance: Fraction) -> bool:
    values = [_first_number(text) for text in accepted]
    return any(value is not None and abs(number - value) <= tolerance for value in values)
