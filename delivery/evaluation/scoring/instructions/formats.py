"""Instructions on form: marks that a text has to hold, how it begins and ends, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from delivery.evaluation.scoring.instructions.lengths import Positive
from delivery.evaluation.scoring.instructions.words import Word

VERDICTS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
RESPONSE_DIVIDER = "******"

_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*|\*([^\n*]*)\*")


def _has_placeholders(text: str, *, num_placeholders: Positive) -> bool:
    # A bracket closes the first one that was opened since the one before it on its line.
    found = sum("[" in part for line in text.split("\n") for part in line.split("]")[:-1])
    return found >= num_placeholders


def _has_postscript(text: str, *, postscript_marker: Word) -> bool:
    # "P.S." may be written "P. S." or "PS" is not it: the dots make the mark.
    letters = [re.escape(letter) for letter in re.sub(r"[\s.]", "", postscript_marker)]
    return re.search(r"\.\s?".join(letters) + r"\.?", text, re.IGNORECASE) is not None


def _has_bullets(text: str, *, num_bullets: Positive) -> bool:
    starts = [line.lstrip()[:2] for line in text.split("\n")]
    return sum(start[:1] == "-" or (start[:1] == "*" and start != "**") for start in starts) == num_bullets


def _has_highlights(text: str, *, num_highlights: Positive) -> bool:
    return sum(bool((bold or slanted).strip()) for bold, slanted in _HIGHLIGHT.findall(text)) >= num_highlights


def _has_sections(text: str, *, section_spliter: Word, num_sections: Positive) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


def _has_title(text: str) -> bool:
    return any(_between(line, "<<", ">>").strip(" <>") for line in text.split("\n"))


def _is_json(text: str) -> bool:
    stripped = text.strip()
    if stripped.startswith("```"):
        stripped = re.sub(r"\A(?:json)?", "", stripped[3:].removesuffix("```"), flags=re.IGNORECASE)
    try:
        orjson.loads(stripped.encode(errors="replace"))
    except orjson.JSONDecodeError:
        return False
    return True


def _is_verdict(text: str) -> bool:
    return any(verdict in text for verdict in VERDICTS)


def _is_two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split(RESPONSE_DIVIDER)]
    said = [part for part in parts if part]
    return all(parts[1:-1]) and len(said) == 2 and said[0] != said[1]


def _repeats_prompt(text: str, *, prompt_to_repeat: Word) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _ends_with(text: str, *, end_phrase: Word) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _is_quoted(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


def _has_no_comma(text: str) -> bool:
    return "," not in text


def _between(line: str, opening: str, closing: str) -> str:
    start, end = line.find(opening), line.rfind(closing)
    return line[start + len(opening) : end] if 0 <= start < end else ""


FORMATS: dict[str, Callable[..., bool]] = {
    "detectable_content:number_placeholders": _has_placeholders,
    "detectable_content:postscript": _has_postscript,
    "detectable_format:number_bullet_lists": _has_bullets,
    "detectable_format:number_highlighted_sections": _has_highlights,
    "detectable_format:multiple_sections": _has_sections,
    "detectable_format:title": _has_title,
    "detectable_format:json_format": _is_json,
    "detectable_format:constrained_response": _is_verdict,
    "combination:two_responses": _is_two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with,
    "startend:quotation": _is_quoted,
    "punctuation:no_comma": _has_no_comma,
}
