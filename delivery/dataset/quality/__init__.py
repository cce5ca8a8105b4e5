"""What is odd about the texts of rows: outliers, other languages, damaged characters, instructions to a judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from delivery.artifacts import Check, Example
from delivery.dataset.quality import encoding, injection, languages, outliers
from delivery.dataset.quality.texts import Texts


def text_checks(examples: Sequence[Example]) -> dict[str, Callable[[], Check]]:
    """The checks of texts by name, each to be made by calling it.

    They look into the turns before the answer and the answers (also those not preferred), never into the system prompt,
    and into equal texts once.
    """

    @cache
    def texts() -> Texts:
        return Texts(examples)

    return {
        outliers.NAME: lambda: outliers.outliers(texts()),
        languages.NAME: lambda: languages.language(texts()),
        encoding.NAME: lambda: encoding.encoding(texts()),
        injection.NAME: lambda: injection.judge_injection(texts()),
    }
