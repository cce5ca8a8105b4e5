"""Instructions on form: marks that a text has to hold, how it begins and ends, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from delivery.evaluation.scoring.instructions.lengths import Positive
from delivery.evaluation.scoring.instructions.words import Word

VERDICTS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
RESPONSE_DIVIDER = "******"

_PLACEHOLDER = re.compile(r"\[[^\n]*?\]")
_BULLET = re.compile(r"^\s*(?:\*(?!\*).*|-.*)$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*|\*([^\n*]*)\*")
_TITLE = re.compile(r"<<([^\n]+?)>>")
_FENCE = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*(?:```\s*)?\Z", re.DOTALL | re.IGNORECASE)


def _has_placeholders(text: str, *, num_placeholders: Positive) -> bool:
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


def _has_postscript(text: str, *, postscript_marker: Word) -> bool:
    # "P.S." may be written "P. S." or "PS" is not it: the dots make the mark.
    letters = [re.escape(letter) for letter in re.sub(r"[\s.]", "", postscript_marker)]
    return re.search(r"\.\s?".join(letters) + r"\.?", text, re.IGNORECASE) is not None


def _has_bullets(text: str, *, num_bullets: Positive) -> bool:
    return len(_BULLET.findall(text)) == num_bullets


def _has_highlights(text: str, *, num_highlights: Positive) -> bool:
    return sum(bool((bold or slanted).strip()) for bold, slanted in _HIGHLIGHT.findall(text)) >= num_highlights


def _has_sections(text: str, *, section_spliter: Word, num_sections: Positive) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


def _has_title(text: str) -> bool:
    return any(title.strip(" <>") for title in _TITLE.findall(text))


def _is_json(text: str) -> bool:
    fenced = _FENCE.match(text)
    try:
        orjson.loads((fenced.group(1) if fenced else text).encode(errors="replace"))
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
