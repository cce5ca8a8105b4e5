"""The words of the report. One file per language under ``wording/``, all with the same keys."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from delivery.documents import read_yaml

FOLDER = Path(__file__).with_name("wording")


class Language:
    """Sentences by dotted key, and terms that stand for the names in the data."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._terms: dict[str, dict[str, str]] = document["terms"]
        self.sentences = {
            f"{section}.{key}": str(text)
            for section, entries in document.items()
            if section != "terms"
            for key, text in entries.items()
        }

    def say(self, key: str, **values: object) -> str:
        """The sentence of a key with its values filled in. Raises ``KeyError`` where the file lacks the key or a value."""
        return self.sentences[key].format_map(values)

    def term(self, group: str, name: str) -> str:
        """The word for a name in the data; a name that the file does not know stands for itself."""
        return self._terms[group].get(name, name.replace("_", " "))


@lru_cache(maxsize=4)
def language(code: str) -> Language:
    """The words of a language, by its file name. Raises ``ConfigError`` where there is no such file or it is broken."""
    return Language(read_yaml(FOLDER / f"{code}.yaml"))
