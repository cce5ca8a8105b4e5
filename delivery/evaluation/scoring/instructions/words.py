"""Instructions on words and letters: which ones occur, how often, in which case and in which language."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

Relation = Literal["at least", "less than"]
Word = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]

LANGUAGES = (
    "af", "ar", "be", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "ga",
    "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "km", "kn", "ko", "lt", "lv", "mk",
    "ml", "mn", "mr", "ms", "mt", "my", "ne", "nl", "no", "pa", "pl", "pt", "ro", "ru", "si", "sk", "sl", "sq", "sr",
    "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "uz", "vi", "zh",
)  # fmt: skip

_CAPITAL_TOKEN = re.compile(r"\w+(?:[-.'’&/]\w+)*")
_READ = 2_000


def _known_language(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(f"is none of {' '.join(LANGUAGES)}")
    return code


def in_relation(count: int, relation: Relation, wanted: int) -> bool:
    """Whether a count is ``at least`` or ``less than`` what is wanted."""
    return count >= wanted if relation == "at least" else count < wanted


def language_of(text: str) -> str:
    """ISO 639-1 code of the language that a text is in, or nothing where that cannot be told, as of one or two words.

    By py3langid, a naive Bayes classifier over byte n-grams (Lui and Baldwin, "langid.py", 2012), among ``LANGUAGES``: the
    one that is likelier than all others together. Read in lower case, as it knows few words in capitals.
    """
    code, probability = _identifier().classify(text[:_READ].lower().encode(errors="replace").decode())
    return str(code) if probability > 0.5 else ""


def _holds_keywords(text: str, *, keywords: Sequence[Word]) -> bool:
    folded = text.casefold()
    return all(word.casefold() in folded for word in keywords)


def _holds_keyword_often(text: str, *, keyword: Word, frequency: Count, relation: Relation) -> bool:
    return in_relation(text.casefold().count(keyword.casefold()), relation, frequency)


def _avoids_words(text: str, *, forbidden_words: Sequence[Word]) -> bool:
    return not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in forbidden_words)


def _holds_letter_often(
    text: str, *, letter: Annotated[str, Field(min_length=1, max_length=1)], let_frequency: Count, let_relation: Relation
) -> bool:
    return in_relation(text.lower().count(letter.lower()), let_relation, let_frequency)


def _is_in_language(text: str, *, language: Annotated[str, AfterValidator(_known_language)]) -> bool:
    return language_of(text) == language


def _is_in_capitals(text: str) -> bool:
    return text.isupper() and language_of(text) == "en"


def _is_in_small_letters(text: str) -> bool:
    return text.islower() and language_of(text) == "en"


def _holds_capital_words(text: str, *, capital_frequency: Count, capital_relation: Relation) -> bool:
    capitals = sum(token.isupper() for token in _CAPITAL_TOKEN.findall(text))
    return in_relation(capitals, capital_relation, capital_frequency)


WORDS: dict[str, Callable[..., bool]] = {
    "keywords:existence": _holds_keywords,
    "keywords:frequency": _holds_keyword_often,
    "keywords:forbidden_words": _avoids_words,
    "keywords:letter_frequency": _holds_letter_often,
    "language:response_language": _is_in_language,
    "change_case:english_capital": _is_in_capitals,
    "change_case:english_lowercase": _is_in_small_letters,
    "change_case:capital_word_frequency": _holds_capital_words,
}


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
