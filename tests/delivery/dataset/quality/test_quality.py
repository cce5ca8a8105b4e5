from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import orjson
import pytest

from delivery.artifacts import Check, Example, Message
from delivery.dataset.quality import languages, text_checks
from delivery.dataset.quality.encoding import KINDS, encoding
from delivery.dataset.quality.languages import identify, language
from delivery.dataset.quality.outliers import outliers
from delivery.dataset.quality.texts import Texts
from tests.conftest import SHARED_DATA
from tests.delivery.dataset.quality.sentences import DAMAGED, ENGLISH_THAT_LOOKS_FOREIGN, SENTENCES, SOUND, TERSE

needs_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="no real data beside the project")
SUBJECTS = ("my card", "the parcel", "our heating", "this invoice", "the app", "my account", "the driver", "your offer")
VERBS = ("is late", "does not work", "was charged twice", "needs a new address", "has stopped", "looks wrong to me")
ENDS = ("since Monday", "and nobody answers", "please help", "what should I do", "for the second time", "thank you")


def row(number: int, asked: str, answer: str = "other", *, rejected: str = "") -> Example:
    turns = (Message("system", "Réponds à tout <br> Ã©"), Message("user", asked))
    return Example(f"r{number}", turns, answer, source="/data/rows.jsonl", line=number, rejected=rejected)


def rows(texts: Iterable[str], start: int = 1) -> list[Example]:
    return [row(number, text) for number, text in enumerate(texts, start=start)]


def usual(number: int, seed: int = 0) -> list[str]:
    """English sentences as different as a few hundred can be."""
    rng = random.Random(seed)
    return [
        f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(ENDS)}, {rng.choice(SUBJECTS)} {rng.choice(VERBS)}"
        for _ in range(number)
    ]


def places(check: Check) -> list[int]:
    return [int(example.partition(" ")[0].rpartition(":")[2]) for example in check.examples]


# Languages


def test_languages_are_told_apart_and_doubt_is_not_a_guess() -> None:
    told = [(code, identify(text)) for code, texts in SENTENCES.items() for text in texts]
    assert len(told) >= 80
    assert len(SENTENCES) >= 15
    judged = [(code, found) for code, found in told if found]
    assert len(judged) >= 0.9 * len(told)
    assert all(code == found for code, found in judged)


def test_short_texts_are_not_judged() -> None:
    assert not any(identify(text) for texts in TERSE.values() for text in texts)


@pytest.mark.parametrize("text", ENGLISH_THAT_LOOKS_FOREIGN)
def test_names_and_borrowed_words_make_no_other_language(text: str) -> None:
    assert identify(text) in ("", "en")


@pytest.mark.parametrize("noise", ["https://www.beispiel.de/uber-uns/kontakt", "[NAME_K3TQ7ZW2AB]", "anna@posta.it", "X7TQ2P"])
def test_links_addresses_and_placeholders_are_passed_over(noise: str) -> None:
    assert identify(f"{noise} {noise} my parcel was meant to arrive on Tuesday and it did not {noise}") == "en"
    assert identify(f"{noise} {noise} {noise} {noise}") == ""


@pytest.mark.parametrize("majority", ["en", "de", "fr", "es", "ru", "zh"])
def test_rows_in_another_language_are_listed_with_the_majority(majority: str) -> None:
    most = [f"{one} {other}" for one in SENTENCES[majority] for other in SENTENCES[majority]]
    others = [(code, text) for code, texts in SENTENCES.items() if code != majority for text in texts[:3]]
    check = language(Texts([*rows(most), *rows((text for _, text in others), start=1001)]))
    expected = [1001 + place for place, (code, text) in enumerate(others) if identify(text) == code]
    assert len(expected) >= 0.85 * len(others)
    assert (check.name, check.status, check.count) == ("language", "warn", len(expected))
    assert places(check) == expected[: len(check.examples)]
    assert f"most texts are {languages.LANGUAGES[majority]}; " in check.detail


def test_one_language_is_ok() -> None:
    check = language(Texts(rows(usual(300))))
    assert (check.status, check.count) == ("ok", 0)
    assert check.detail == "most texts are English, and no row is in another language"


def test_a_rare_language_is_found_among_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by chance: every row is looked at, but only those of unusual words are read."""
    monkeypatch.setattr(languages, "SAMPLE", 40)
    read = Counter[str]()
    monkeypatch.setattr(languages, "identify", lambda text: read.update([text]) or identify(text))
    many = list(dict.fromkeys(usual(4000)))
    check = language(Texts([*rows(many[:777]), row(5000, SENTENCES["sv"][0]), *rows(many[777:], start=6000)]))
    assert (check.count, places(check)) == (1, [5000])
    assert read.total() < 100


def test_texts_that_were_not_read_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "SAMPLE", 100)
    monkeypatch.setattr(languages, "LOOKED_AT", 5)
    foreign = [text for code in ("de", "fr", "es", "it") for text in SENTENCES[code]]
    check = language(Texts([*rows(list(dict.fromkeys(usual(900)))[:300]), *rows(foreign, start=2001)]))
    assert 5 <= check.count < len(foreign)
    assert "were not read, as it takes too long" in check.detail


def test_answers_have_a_majority_of_their_own() -> None:
    pairs = [(en, de) for en in SENTENCES["en"] for de in SENTENCES["de"]]
    translations = [row(number, f"{en} {number}", f"{de} Nummer {number}") for number, (en, de) in enumerate(pairs, start=1)]
    check = language(Texts([*translations, row(900, SENTENCES["en"][0], SENTENCES["fr"][0])]))
    assert (check.count, check.examples) == (1, ("rows.jsonl:900 (id r900): answer in French",))
    assert check.detail.startswith("most texts are English, most answers are German; ")


def test_json_answers_have_no_language() -> None:
    answer = orjson.dumps({"beschreibung": SENTENCES["de"][0]}).decode()
    check = language(Texts([row(number, text, answer) for number, text in enumerate(usual(60))]))
    assert check.count == 0


def test_a_few_texts_are_not_measured() -> None:
    assert language(Texts(rows(SENTENCES["de"]))).detail.startswith("not measured")


@needs_data
@pytest.mark.parametrize("name", ["banking77", "fomc"])
def test_real_english_data_has_no_other_language(name: str) -> None:
    lines = (SHARED_DATA / name / "train.jsonl").read_bytes().splitlines()
    foreign = [text for code, texts in SENTENCES.items() if code != "en" for text in texts]
    texts = [orjson.loads(line)["text"] for line in lines]
    assert language(Texts(rows(texts))).count == 0
    assert language(Texts(rows([*texts, *foreign]))).count >= 0.95 * len(foreign)


# Damage


@pytest.mark.parametrize("text", [*SOUND, *(text for texts in SENTENCES.values() for text in texts)])
def test_sound_text_is_left_alone(text: str) -> None:
    assert [kind.name for kind in KINDS if kind.find(text)] == []


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in DAMAGED.items() for text in texts], ids=ascii)
def test_damage_is_found_and_named(name: str, text: str) -> None:
    assert name in [kind.name for kind in KINDS if kind.find(text)]


@pytest.mark.parametrize("charset", ["cp1252", "latin-1"])
def test_text_read_in_the_wrong_character_set_is_found(charset: str) -> None:
    """Bytes that the set lacks stay what they are, as browsers do it."""
    garbled = [
        "".join(bytes([byte]).decode(charset, "ignore") or chr(byte) for byte in text.encode())
        for text in SOUND
        if not text.isascii()
    ]
    found = [text for text in garbled if any(kind.find(text) for kind in KINDS if kind.name == "garbled letters")]
    assert len(found) >= 0.95 * len(garbled)


def test_damage_is_counted_by_row_and_explained() -> None:
    sound = rows(SOUND)
    assert encoding(Texts(sound)).status == "ok"
    check = encoding(Texts([*sound, row(901, "I canâ€™t <b>log</b> in"), row(902, "fine", "Fran\ufffdois"), row(903, "fine")]))
    assert (check.name, check.status, check.count, places(check)) == ("encoding", "warn", 2, [901, 902])
    assert check.detail.startswith("2 rows hold damaged text: 1 with garbled letters, 1 with lost letters, 1 with HTML tags (")
    assert "Windows-1252" in check.detail
    assert "export the rows again" in check.remedy
    assert check.examples[0] == "rows.jsonl:901 (id r901): garbled letters '\\xe2\\u20ac\\u2122'; HTML tags '<b>'"


def test_an_escape_in_a_json_answer_is_no_damage() -> None:
    assert encoding(Texts([row(1, "fine", '{"name": "caf\\u00e9"}')])).count == 0


# Outliers


def test_rows_far_from_the_usual_are_found() -> None:
    base = rows(dict.fromkeys(usual(2000)))
    assert outliers(Texts(base)).status == "ok"
    odd = {
        9001: (" ".join(usual(40, seed=9)), "far longer"),
        9002: ("hm", "far shorter"),
        9003: ("my card is late " * 30, "mostly repetition"),
        9004: ("a" * 500, "mostly repetition"),
        9005: ("xkcd qwrt zzpl vvbn mnop trwq", "words stand in no other text"),
        9006: (SENTENCES["vi"][0], "words stand in no other text"),
    }
    for number, (text, what) in odd.items():
        check = outliers(Texts([*base, row(number, text)]))
        assert (check.name, check.status, check.count, places(check)) == ("outliers", "warn", 1, [number])
        assert what in check.examples[0], number


def test_an_answer_that_repeats_itself_is_found_also_where_it_was_not_preferred() -> None:
    base = rows(dict.fromkeys(usual(100)))
    loop = "The bank will call you. " * 20
    assert outliers(Texts([*base, row(901, base[0].asked, loop)])).count == 1
    assert outliers(Texts([*base, row(902, base[0].asked, rejected=loop)])).count == 1


def test_a_word_in_two_texts_is_not_alone_in_them() -> None:
    base = rows(dict.fromkeys(usual(2000)))
    odd = "xkcdea qwrtoi zzplua vvbnem mnopia trwqai hjklou fghjyo bvcxuu"
    assert outliers(Texts([*base, row(901, odd), row(902, f"{odd} {base[0].asked}")])).count == 0
    assert outliers(Texts([*base, row(901, odd), row(902, odd)])).count == 2  # one text in two rows


def test_texts_in_scripts_without_spaces_are_no_outliers() -> None:
    chinese = [f"{one}{other}" for one in SENTENCES["zh"] for other in SENTENCES["zh"]]
    japanese = [f"{one}{other}" for one in SENTENCES["ja"] for other in SENTENCES["ja"]]
    texts = [f"{text}{end}" for text in (*chinese, *japanese) for end in ("", "谢谢", "请帮忙", "急", "两次", "です")]
    assert len(texts) > 200
    assert outliers(Texts(rows(texts))).count == 0


def test_few_texts_are_not_measured() -> None:
    assert outliers(Texts(rows(usual(20)))).detail.startswith("not measured")


@needs_data
@pytest.mark.parametrize(("name", "most"), [("banking77", 5), ("fomc", 5)])
def test_real_data_has_few_outliers(name: str, most: int) -> None:
    lines = (SHARED_DATA / name / "train.jsonl").read_bytes().splitlines()
    assert outliers(Texts(rows(orjson.loads(line)["text"] for line in lines))).count <= most


# Together


def test_text_checks_come_by_name_and_look_at_all_texts_but_the_shared_prompt() -> None:
    checks = text_checks(rows(dict.fromkeys(usual(400))))
    assert list(checks) == ["outliers", "language", "encoding", "judge_injection"]
    made = [make() for make in checks.values()]
    assert [(check.name, check.status, check.count) for check in made] == [(name, "ok", 0) for name in checks]


def test_an_equal_text_is_examined_once_and_counted_for_every_row() -> None:
    texts = Texts([row(1, "caf&eacute;"), row(2, "caf&eacute;"), row(3, "tea")])
    assert [text.text for text in texts.asked] == ["caf&eacute;", "tea"]
    assert encoding(texts).count == 2
