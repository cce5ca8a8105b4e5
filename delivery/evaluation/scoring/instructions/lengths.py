"""Instructions on length: words, sentences and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from delivery.evaluation.scoring.instructions.words import Count, Relation, Word, in_relation

Positive = Annotated[int, Field(ge=1)]

_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_FIRST_WORD = re.compile(r"\W*+([^\s.,?!'\"]+)")
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s+[\"'“‘(\[*_]*\S)")
_OPENERS, _QUOTES = "\"'“‘([*_", "\"'”’"
_ABBREVIATIONS = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "gen", "col", "capt", "lt", "sgt", "hon", "gov", "sen",
    "rep", "vol", "fig", "al", "vs", "etc", "approx", "dept", "est", "inc", "ltd", "co", "corp", "e.g", "i.e",
    "cf", "p.s", "p.p.s", "a.m", "p.m", "u.s", "u.k", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept",
    "oct", "nov", "dec",
))  # fmt: skip


def sentences(text: str) -> int:
    """How many sentences a text holds.

    One ends at ``.``, ``!``, ``?`` or an ellipsis that white space follows, unless it is the dot of an abbreviation, an
    initial or a list's number, or an ellipsis or a quotation's end before a word in lower case. A line's end is none: verses
    and list items without a mark are one sentence. What is left after the last mark is one more.
    """
    count, start = 0, 0
    for found in _END.finditer(text):
        if _ends_sentence(text, start, found):
            count, start = count + 1, found.end()
    return count + bool(re.search(r"\w", text[start:]))


def words(text: str) -> int:
    """How many runs of letters, digits and underscores a text holds."""
    return len(re.findall(r"\w+", text))


def _has_words(text: str, *, num_words: Count, relation: Relation) -> bool:
    return in_relation(words(text), relation, num_words)


def _has_sentences(text: str, *, num_sentences: Count, relation: Relation) -> bool:
    return in_relation(sentences(text), relation, num_sentences)


def _has_paragraphs(text: str, *, num_paragraphs: Positive) -> bool:
    parts = [part.strip() for part in _DIVIDER.split(text)]
    # A divider may open or close the text; between two dividers there must be something.
    inner = parts[1:-1]
    return all(inner) and sum(map(bool, parts)) == num_paragraphs


def _begins_paragraph(text: str, *, num_paragraphs: Positive, nth_paragraph: Positive, first_word: Word) -> bool:
    blocks = text.split("\n\n")
    if sum(bool(block.strip()) for block in blocks) != num_paragraphs or nth_paragraph > len(blocks):
        return False
    found = _FIRST_WORD.match(blocks[nth_paragraph - 1])
    return found is not None and found.group(1).casefold() == first_word.casefold()


def _ends_sentence(text: str, start: int, found: re.Match[str]) -> bool:
    mark = found.group()
    if text[found.end() : found.end() + 40].lstrip().lstrip(_OPENERS)[:1].islower() and (
        mark[:2] == ".." or mark[0] == "…" or mark[-1] in _QUOTES
    ):
        return False
    if mark[0] != "." or mark[:2] == "..":
        return True
    before = text[max(start, found.start() - 20) : found.start()].split()
    last = before[-1].lstrip(_OPENERS) if before else ""
    is_initial = len(last) == 1 and last.isupper() and last != "I"
    return not (is_initial or last.casefold() in _ABBREVIATIONS or _is_list_number(text, found.start()))


def _is_list_number(text: str, dot: int) -> bool:
    line = text[max(text.rfind("\n", 0, dot) + 1, dot - 20) : dot].strip(" *#-")
    return line.isdigit()


LENGTHS: dict[str, Callable[..., bool]] = {
    "length_constraints:number_words": _has_words,
    "length_constraints:number_sentences": _has_sentences,
    "length_constraints:number_paragraphs": _has_paragraphs,
    "length_constraints:nth_paragraph_first_word": _begins_paragraph,
}
