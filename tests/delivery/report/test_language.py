from __future__ import annotations

import re
from pathlib import Path

import delivery.report
from delivery.report.language import FOLDER, language

PACKAGE = Path(delivery.report.__file__).parent
SAY = re.compile(r"""say\(\s*(?:"|')([a-z_]+\.[a-z_0-9]+)(?:"|')""")
CHOSEN = re.compile(r"""(?:"|')([a-z_]+\.[a-z_0-9]+)(?:"|')""")
COMPUTED = re.compile(r"""say\(\s*f"([a-z_]+\.[a-z_]*)\{""")


def sources() -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in (*PACKAGE.glob("*.py"), *PACKAGE.glob("templates/*.j2")))


def test_every_sentence_that_is_said_is_in_every_language() -> None:
    said = set(SAY.findall(sources()))
    assert len(said) > 100
    for path in FOLDER.glob("*.yaml"):
        assert said <= set(language(path.stem).sentences)


def test_no_sentence_is_left_over() -> None:
    text = sources()
    used = set(CHOSEN.findall(text))
    computed = tuple(COMPUTED.findall(text))
    left = [key for key in language("en").sentences if key not in used and not key.startswith(computed)]
    assert left == []


def test_languages_have_the_same_keys_and_placeholders() -> None:
    english = language("en")
    for path in FOLDER.glob("*.yaml"):
        other = language(path.stem)
        assert other.sentences.keys() == english.sentences.keys()
        for key, sentence in english.sentences.items():
            assert set(re.findall(r"\{\w+\}", other.sentences[key])) == set(re.findall(r"\{\w+\}", sentence)), key


def test_templates_hold_no_words_of_their_own() -> None:
    for path in PACKAGE.glob("templates/*.j2"):
        text = re.sub(r"\{[{%#].*?[}%#]\}", "", path.read_text(encoding="utf-8"), flags=re.S)
        words = [piece.strip() for piece in re.sub(r"<[^>]*>", "\n", text).split("\n") if re.search(r"[a-z]{3}", piece)]
        assert words == [], path.name


def test_a_name_that_is_unknown_stands_for_itself() -> None:
    assert language("en").term("metrics", "new_metric") == "new metric"
