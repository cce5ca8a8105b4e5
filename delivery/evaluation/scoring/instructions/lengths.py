"""Instructions on length: words, sentences and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from delivery.evaluation.scoring.instructions.words import Count, Relation, Word, in_relation

Positive = Annotated[int, Field(ge=1)]

_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_FIRST_WORD = re.compile(r"\W*([^\s.,?!'\"]+)")
_END = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s+[\"'“‘(\[*_]*\S)")
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr rev gen col capt lt sgt hon gov sen rep no vol fig al vs etc approx dept est inc ltd co corp "
    "e.g i.e cf p.s p.p.s a.m p.m u.s u.k jan feb mar apr jun jul aug sep sept oct nov dec".split()
)


def sentences(text: str) -> int:
    """How many sentences a text holds.

    One ends at ``.``, ``!``, ``?`` or an ellipsis that white space follows, unless the next word begins in lower case or the
    mark is the dot of an abbreviation, an initial or a list's number. What is left after the last mark is one more.
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
    following = text[found.end() :].lstrip().lstrip("\"'“‘([*_")[:1]
    if following.islower():
        return False
    if not found.group().startswith(".") or found.group().startswith(".."):
        return True
    before = text[max(start, found.start() - 20) : found.start()].split()
    last = before[-1].lstrip("\"'“‘([*_").casefold() if before else ""
    if last in _ABBREVIATIONS:
        return False
    return not (len(last) == 1 and last.isalpha() and last != "i") and not _is_list_number(text, found.start())


def _is_list_number(text: str, dot: int) -> bool:
    line = text[max(text.rfind("\n", 0, dot) + 1, dot - 20) : dot].strip(" *#-")
    return line.isdigit()


LENGTHS: dict[str, Callable[..., bool]] = {
    "length_constraints:number_words": _has_words,
    "length_constraints:number_sentences": _has_sentences,
    "length_constraints:number_paragraphs": _has_paragraphs,
    "length_constraints:nth_paragraph_first_word": _begins_paragraph,
}
