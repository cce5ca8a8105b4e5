"""Rows in another language than most: a model learns from them, and a holdout of them measures something else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from delivery.artifacts import Check
from delivery.dataset.quality.pieces import chunks
from delivery.dataset.quality.texts import Finding, Text, Texts, concerned

NAME = "language"
MIN_BYTES = 24
"""Shorter texts are not judged; a Chinese character has three bytes."""
READ = 200
"""Characters of a text that are read."""
SURE = 0.9
SAMPLE = 1_000
LOOKED_AT = 4_000
BITS = 20
COMMON_WORDS = 200
COMMON_SHARE = 0.4
FEWEST = 20

LANGUAGES = {
    "af": "Afrikaans", "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan",
    "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician",
    "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian",
    "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh",
    "km": "Khmer", "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian",
    "ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi", "ms": "Malay", "mt": "Maltese", "my": "Burmese", "ne": "Nepali",
    "nl": "Dutch", "no": "Norwegian", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian", "sq": "Albanian", "sr": "Serbian",
    "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
NO_LANGUAGE = "zxx"

# What says nothing about the language: links, addresses, placeholders, numbers, code.
_NOISE = re.compile(r"\S*[\d@/\\_<>{}\[\]=|#]\S*")


class Judged(NamedTuple):
    """``language`` (an ISO 639-1 code) of most texts, the texts in another one, and how many were left unread."""

    language: str
    others: list[tuple[Text, str]]
    unread: int


def language(texts: Texts) -> Check:
    """Rows whose text is in another language than most texts, or whose answer is in another than most answers.

    A text with too few words of the majority's most common ones is read by py3langid, a naive Bayes classifier over
    byte n-grams (Lui and Baldwin 2012, "langid.py"), up to ``LOOKED_AT`` texts; below ``SURE`` nothing is said.
    """
    sides = {"texts": _judge(texts.asked), "answers": _judge([one for one in texts.answers if _is_prose(one.text)])}
    judged = {side: found for side, found in sides.items() if found is not None}
    if not judged:
        return Check(NAME, "ok", 0, f"not measured: fewer than {FEWEST} texts are long enough to tell their language")
    most = ", ".join(f"most {side} are {LANGUAGES[found.language]}" for side, found in judged.items())
    unread = sum(found.unread for found in judged.values())
    bound = f"; {unread} texts of unusual words were not read, as it takes too long" if unread else ""
    found = concerned(
        Finding(text, LANGUAGES[code], f"{'text' if side == 'texts' else 'answer'} in {LANGUAGES[code]}")
        for side, one in judged.items()
        for text, code in one.others
    )
    if not found.rows:
        return Check(NAME, "ok", 0, f"{most}, and no row is in another language{bound}")
    kinds = ", ".join(f"{rows} {kind}" for kind, rows in Counter(found.kinds).most_common(5))
    detail = f"{most}; {found.rows} rows are in another language ({kinds}){bound}"
    remedy = "keep them only if the model has to serve these languages, and then label enough of each"
    return Check(NAME, "warn", found.rows, detail, remedy, found.shown)


def identify(text: str) -> str:
    """The language of a text, or nothing where that is not sure."""
    plain = _NOISE.sub(" ", text[: 2 * READ])[:READ]
    if len(plain.encode(errors="replace")) < MIN_BYTES:
        return ""
    code, probability = _identifier().classify(plain)
    return str(code) if probability >= SURE and code != NO_LANGUAGE else ""


def _judge(texts: Sequence[Text]) -> Judged | None:
    long = [text for text in texts if len(text.text.encode(errors="replace")) >= MIN_BYTES]
    sample = {place * len(long) // SAMPLE for place in range(SAMPLE)} if len(long) > SAMPLE else range(len(long))
    codes = {place: identify(long[place].text) for place in sorted(sample)}
    known = Counter(code for code in codes.values() if code)
    if known.total() < FEWEST:
        return None
    majority = min(known, key=lambda code: (-known[code], code))
    common = _common_words([long[place] for place, code in codes.items() if code == majority])
    usual = _shares(long, common)
    odd = np.flatnonzero(usual < COMMON_SHARE)
    odd = odd[np.argsort(usual[odd], kind="stable")]
    for place in odd[:LOOKED_AT].tolist():
        if place not in codes:
            codes[place] = identify(long[place].text)
    others = [(long[place], codes[place]) for place in sorted(codes) if codes[place] not in ("", majority)]
    return Judged(majority, others, sum(place not in codes for place in odd.tolist()))


def _common_words(texts: Sequence[Text]) -> npt.NDArray[np.bool_]:
    """By bucket, whether it is among those of the words that stand in most of these texts."""
    texts_with = np.zeros(1 << BITS, np.int64)
    for _, chunk in chunks([text.text for text in texts], READ):
        texts_with += np.bincount(chunk.words().distinct(BITS).buckets, minlength=1 << BITS)
    common = np.zeros(1 << BITS, np.bool_)
    common[np.argsort(-texts_with, kind="stable")[:COMMON_WORDS]] = True
    return common


def _shares(texts: Sequence[Text], common: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """By text, the share of its words that are common."""
    shares = np.zeros(len(texts))
    for first, chunk in chunks([text.text for text in texts], READ):
        words = chunk.words()
        numbers = np.bincount(words.rows, minlength=chunk.texts)
        usual = np.bincount(words.rows, common[words.buckets(BITS)], minlength=chunk.texts)
        shares[first : first + chunk.texts] = usual / np.maximum(numbers, 1)
    return shares


def _is_prose(answer: str) -> bool:
    return answer.lstrip()[:1] not in ("{", "[")


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """The model, told apart only the languages of customers: dialects and dead languages cost it short texts."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*LANGUAGES, NO_LANGUAGE])
    return identifier
