from __future__ import annotations

import random
import sys
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.dataset.privacy.credentials import TOKENS
from delivery.dataset.privacy.identifiers import SECRETS, check_patterns, find, may_hold
from delivery.dataset.privacy.spans import Found
from delivery.errors import ConfigError
from tests.delivery.dataset.privacy.carriers import CARRIERS, LATER
from tests.delivery.dataset.privacy.planted import DECOYS, MAKERS, WITHOUT_CHECKSUM, Planted, plant, spoiled

IDENTIFIERS = MAKERS.keys() - SECRETS
CHECKSUM_KINDS = IDENTIFIERS - WITHOUT_CHECKSUM


def pairs(text: str, **patterns: str) -> list[tuple[str, str]]:
    return [(found.kind, found.value) for found in find(text, patterns=patterns)]


class Score:
    def __init__(self, texts: list[Planted]) -> None:
        self.planted: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.false: list[Found] = []
        for text in texts:
            seen = {(f.kind, f.start, f.end) for f in find(text.text)}
            there = {(p.kind, p.start, p.end) for p in text.plants}
            self.planted.update(kind for kind, _, _ in there)
            self.found.update(kind for kind, _, _ in seen & there)
            self.false += [f for f in find(text.text) if (f.kind, f.start, f.end) not in there]

    def recall(self, kinds: set[str]) -> float:
        return sum(self.found[kind] for kind in kinds) / sum(self.planted[kind] for kind in kinds)

    @property
    def precision(self) -> float:
        right = self.found.total()
        return right / (right + len(self.false))

    def __str__(self) -> str:
        counts = (
            f"{self.planted.total()} planted of {len(self.planted)} kinds, {self.found.total()} found, {len(self.false)} false"
        )
        return f"{counts}; recall on checksum kinds {self.recall(CHECKSUM_KINDS):.4f}, precision {self.precision:.4f}"


def test_planted_identifiers_are_found_and_little_else(capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(20)
    score = Score([plant(carrier, rng) for _ in range(10) for carrier in CARRIERS])
    with capsys.disabled():
        sys.stdout.write(f"\n{score}\n")
    assert len(CARRIERS) >= 60
    assert set(score.planted) == set(MAKERS)
    assert min(score.planted.values()) >= 10
    assert score.recall(CHECKSUM_KINDS) >= 0.98
    assert score.recall(set(MAKERS)) >= 0.95
    assert score.precision >= 0.95


def test_texts_written_after_the_detectors_give_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(5)
    score = Score([plant(carrier, rng) for _ in range(20) for carrier in LATER])
    with capsys.disabled():
        sys.stdout.write(f"\n{score}\n")
    assert score.planted.total() >= 300
    assert score.recall(CHECKSUM_KINDS & set(score.planted)) >= 0.98
    assert score.precision >= 0.95


@pytest.mark.parametrize("kind", sorted(CHECKSUM_KINDS))
def test_a_number_with_one_digit_changed_is_none(kind: str) -> None:
    rng = random.Random(3)
    cue = {"nl_bsn": "BSN", "at_vnr": "SVNR", "pt_nif": "NIF", "ca_sin": "SIN", "au_tfn": "TFN", "gb_nhs": "NHS"}.get(
        kind, "It is"
    )
    values = [MAKERS[kind](rng) for _ in range(100)]
    whole = sum(pairs(f"{cue} {value}, thanks") == [(kind, value)] for value in values)
    changed = sum(kind in dict(pairs(f"{cue} {spoiled(value)}, thanks")) for value in values)
    assert whole >= 97
    # A new last digit is wrong by any checksum; numbers whose last character is a letter have room for a few coincidences.
    assert changed <= (0 if spoiled(values[0])[-1].isdigit() else 10)


@pytest.mark.parametrize("decoy", sorted(DECOYS.keys() - {"bad_idnr"}))
def test_ordinary_numbers_are_left_alone(decoy: str) -> None:
    rng = random.Random(11)
    frames = ("Order {} arrived late.", "It says {} here and nothing else", "{} is what the screen shows", "I see ({}) twice")
    texts = [frame.format(DECOYS[decoy](rng)) for _ in range(50) for frame in frames]
    wrong = [(text, pairs(text)) for text in texts if pairs(text)]
    assert len(wrong) <= len(texts) * 0.03, wrong[:5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to <j.doe+x@mail.example.org>, or j.doe@x.", [("email", "j.doe+x@mail.example.org")]),
        ("icon@2x.png and react@18.2.0 and @handle", []),
        ("Tel.: 030/23125-000", [("phone", "030/23125-000")]),
        ("Order no. 0171 2345678 arrived", []),
        ("call my mobile 0171 2345678 about order 12345", [("phone", "0171 2345678")]),
        ("(212) 555-0187 ext. 42", [("phone", "(212) 555-0187 ext. 42")]),
        ("0049 171 1234567 on 12.03.2024", [("phone", "0049 171 1234567")]),
        ("+100000000 gold, +1500 XP", []),
        ("ring me (0161 496 0439) tonight", [("phone", "0161 496 0439")]),
        ("IBAN gb82 west 1234 5698 7654 32 and please", [("iban", "gb82 west 1234 5698 7654 32")]),
        ("4111 1111 1111 1111 123 is card and code", [("card", "4111 1111 1111 1111")]),
        ("3782 822463 10005", [("card", "3782 822463 10005")]),
        (
            "4111\u00a01111\u00a01111\u00a01111 and ５５５５５５５５５５５５４４４４",
            [("card", "4111\u00a01111\u00a01111\u00a01111"), ("card", "５５５５５５５５５５５５４４４４")],
        ),
        ("version 10.0.19.1, section 3.2.1.40, host 10.0.0.7", [("ip", "10.0.0.7")]),
        ("from fe80::1ff:fe23:4567:890a at 12:30:45, std::vector", [("ip", "fe80::1ff:fe23:4567:890a")]),
        ("invoice 44051401359, PESEL 44051401359", [("pl_pesel", "44051401359")]),
        ("ssn 078 05 1120 or 078-05-1120", [("us_ssn", "078 05 1120"), ("us_ssn", "078-05-1120")]),
        ("sku 123-45-6789", []),
        ("https://bob:hunter2x@db.example.com/x", [("password", "hunter2x")]),
        ("my password is not working, the password: required field", []),
        ("Password for the app is Blue$Horse77!", [("password", "Blue$Horse77!")]),
        ('{"client_secret": "9fK2mQ8xLw"}', [("secret", "9fK2mQ8xLw")]),
        ("password: <your password>, token=${TOKEN}, api_key: YOUR_API_KEY", []),
        ("sk-this-is-a-css-class-name-and-no-key", []),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nbut cut",
            [("private_key", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n")],
        ),
    ],
)
def test_what_counts(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


def test_the_word_nearby_says_which_country_it_is() -> None:
    rng = random.Random(1)
    doubtful = next(n for n in iter(lambda: MAKERS["pl_pesel"](rng), "") if pairs(f"it is {n}") == [("no_fodselsnummer", n)])
    assert pairs(f"PESEL {doubtful}") == [("pl_pesel", doubtful)]


def test_found_values_are_in_order_apart_and_where_they_say() -> None:
    rng = random.Random(2)
    for carrier in CARRIERS:
        text = plant(carrier, rng).text
        found = find(text)
        assert all(text[f.start : f.end] == f.value and f.secret == (f.kind in SECRETS) for f in found)
        assert all(one.end <= other.start for one, other in pairwise(found))


def test_placeholders_hold_nothing() -> None:
    assert pairs("password: [PASSWORD_PVCZ6DOJP3], mail [EMAIL_CJGIF3NPFJ]", own="[A-Z0-9]{10}") == []


def test_a_clients_own_pattern_is_a_kind() -> None:
    text = "Policy POL-123456, phone 0171 2345678"
    assert pairs(text, policy=r"POL-\d{6}") == [("policy", "POL-123456"), ("phone", "0171 2345678")]


def test_a_longer_kind_wins_over_a_pattern_inside_it() -> None:
    assert pairs("4111 1111 1111 1111", code=r"\b\d{4}\b") == [("card", "4111 1111 1111 1111")]


def test_a_pattern_that_matches_between_characters_finds_nothing() -> None:
    assert pairs("abc 12", ends=r"\b") == []


def test_a_pattern_without_end_is_an_error_and_not_skipped() -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match=r"data\.identifiers\.code: takes more than 1 s on a text of 60 characters"):
        find("a" * 60, patterns={"code": "(a|aa)+c"})
    assert time.process_time() - began < 5


def test_a_pattern_that_is_no_expression_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"data\.identifiers\.code: '\[' is no regular expression"):
        check_patterns({"code": "["})


@pytest.mark.parametrize(
    "text",
    [
        "1 " * 100_000,
        "DE89 " * 40_000,
        "secret_key=" * 20_000,
        "password for " * 20_000,
        "-----BEGIN PRIVATE KEY-----\n" * 5_000,
        "eyJaaaaaaaaa." * 20_000,
        "a@" + "b." * 100_000,
        "+49 171 " * 20_000,
        "a1:" * 60_000,
    ],
    ids=lambda text: text[:12],
)
def test_time_grows_with_the_length_alone(text: str) -> None:
    began = time.process_time()
    find(text)
    assert time.process_time() - began < 5


PIECES = (
    "call me on my password is: key= IBAN DE89 3704 0044 0532 0130 00 4111 1111 +49 171 1234567 a@b.co 12.03.2024 @ :: [ ] { , "
    "eyJ sk- 1.2.3.4 ü １"
)
KEYS = [f"{mark}ABCDEFGHIJKLMNOPabcdefghijklmnopqrst" for token in TOKENS for mark in token.marks]
WORDS = st.sampled_from(sorted({*PIECES.split(), *KEYS, "AKIAEHANQJLQGKROZZVS"}))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(WORDS, st.text(max_size=5))).map(" ".join))
def test_what_may_hold_nothing_does(text: str) -> None:
    assert may_hold(text) or find(text) == []
