from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.artifacts import Sample
from delivery.evaluation.scoring.instructions import RULES, is_followed, problem_with, score_instructions
from delivery.evaluation.scoring.instructions.lengths import sentences
from delivery.evaluation.scoring.instructions.words import language_of

ENGLISH = "the cat sat on the mat and looked at the rain in the garden"

CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["rain", "C++"]}, ["Rain on c++"], ["rain", "C+"]),
    (
        "keywords:frequency",
        {"keyword": "rain", "frequency": 2, "relation": "at least"},
        ["Rain, rain", "rainy rain"],
        ["rain", "sun"],
    ),
    ("keywords:frequency", {"keyword": "rain", "frequency": 2, "relation": "less than"}, ["rain", "sun"], ["rain rain"]),
    ("keywords:forbidden_words", {"forbidden_words": ["rain"]}, ["rainy", "sun"], ["Rain!", "the rain"]),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 2, "let_relation": "at least"}, ["eE", "bee"], ["be"]),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 1, "let_relation": "less than"}, ["no"], ["no!"]),
    (
        "language:response_language",
        {"language": "de"},
        ["Der Hund schläft heute lange im warmen Garten."],
        ["The dog sleeps in the garden today.", "12"],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, ["a b-c"], ["a b", "..."]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["a b"], ["a b c"]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, ["One. Two"], ["One, two."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, ["Dr. A. Lind came."], ["No. Yes!"]),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***\na***b"],
        ["a\n\nb", "a***b***c", "a*** ***b"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "rain"},
        ['Sun.\n\n"Rain, again"'],
        ["Rain\n\nsun", "Sun\n\nrainy", "a\n\nrain\n\nb"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] and [b c]"], ["[a]", "[a and b"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye\nP.S. more", "p. s. x"], ["PS: more", "Bye"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["P.P.S. x"], ["P.S. x"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n- b", "x\n * a\n * b"],
        ["* a", "* a\n* b\n* c", "**a**\n* b"],
    ),
    ("detectable_format:constrained_response", {}, ["My answer is no."], ["my answer is no", "No."]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*a* **b**"], ["*a* ** **", "*a\nb* c"]),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 2},
        ["Part 1\na\nPart2 b"],
        ["Part 1", "part 1 part 2"],
    ),
    ("detectable_format:json_format", {}, ['{"a": 1}', "```json\n[1]\n```"], ["{'a': 1}", 'Sure: {"a": 1}', '{"a": ']),
    ("detectable_format:title", {}, ["<<Rain>>\nIt rained."], ["<< >>", "<Rain>", "Rain"]),
    ("combination:two_responses", {}, ["a\n******\nb", "******a******b"], ["a", "a******a", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say Hi."}, ["say hi.\nHi"], ["Sure. Say hi."]),
    ("startend:end_checker", {"end_phrase": "The end."}, ["x. the END. ", 'x. The end."'], ["The end. x"]),
    ("startend:quotation", {}, [' "a b" '], ['"', '"a" b', "'a'"]),
    (
        "change_case:english_capital",
        {},
        [ENGLISH.upper()],
        [ENGLISH, ENGLISH.upper() + " x", "DER HUND SCHLÄFT HEUTE LANGE IM GARTEN"],
    ),
    ("change_case:english_lowercase", {}, [ENGLISH], [ENGLISH.capitalize(), "der hund schläft heute lange im warmen garten"]),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["I AM well-known", "A STATE-OF-THE-ART car"],
        ["USA", "Usa Uk"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        ["NATO is"],
        ["NATO, EU"],
    ),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
]


@pytest.mark.parametrize(("kind", "arguments", "followed", "broken"), CASES)
def test_a_rule_tells_what_follows_it_from_what_does_not(
    kind: str, arguments: dict[str, Any], followed: list[str], broken: list[str]
) -> None:
    assert problem_with(kind, arguments) == ""
    assert [is_followed(kind, arguments, text) for text in followed] == [True] * len(followed)
    assert [is_followed(kind, arguments, text) for text in broken] == [False] * len(broken)


def test_all_25_kinds_are_there_and_tried() -> None:
    assert len(RULES) == 25
    assert {kind for kind, *_ in CASES} == set(RULES)


@pytest.mark.parametrize("kind", sorted(RULES))
def test_an_empty_answer_follows_nothing(kind: str) -> None:
    arguments = next(arguments for name, arguments, *_ in CASES if name == kind)
    assert not is_followed(kind, arguments, " \n")


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        ("punctuation:no_dots", {}, "'punctuation:no_dots' is no kind of instruction; there are: change_case"),
        ("punctuation:no_comma", {"n": 1}, "kwargs of punctuation:no_comma: n: "),
        ("length_constraints:number_words", {"relation": "at least"}, "num_words: "),
        ("length_constraints:number_words", {"relation": "at most", "num_words": 3}, "relation: "),
        ("length_constraints:number_words", {"relation": "at least", "num_words": "3"}, "num_words: "),
        ("keywords:existence", {"keywords": "rain"}, "keywords: "),
        ("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": "at least"}, "letter: "),
        ("language:response_language", {"language": "deutsch"}, "language: "),
    ],
)
def test_a_rule_with_wrong_arguments_is_refused(kind: str, arguments: dict[str, Any], says: str) -> None:
    assert says in problem_with(kind, arguments)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("No end", 1),
        ("", 0),
        ("Mr. and Mrs. Lind met J. Berg at 5 p.m. on Dec. 3. It rained.", 2),
        ("e.g. this one, i.e. one.", 1),
        ('"Stop!" he said. "Why?"', 2),
        ("Well... perhaps. Or not.", 2),
        ("small letters. as in a chat. three.", 3),
        ("1. First\n2. Second.\n3. Third.", 2),
        ("It costs 3.50 dollars at example.com today.", 1),
        ("A verse without a mark\nAnd another one\nAnd a third.", 1),
        ("*Bold.* And **more!** End.", 3),
        ("Really?! Yes.", 2),
    ],
)
def test_sentences_are_counted_as_people_would(text: str, count: int) -> None:
    assert sentences(text) == count


def test_a_language_is_named_only_where_it_can_be_told() -> None:
    assert language_of("यह एक छोटा सा वाक्य है जो हिंदी में लिखा गया है") == "hi"
    assert language_of("Il pleut souvent dans cette région au printemps") == "fr"
    assert language_of("123 ???") == ""
    assert language_of("") == ""


def rules(*kinds: tuple[str, dict[str, Any]]) -> Sample:
    return Sample("i", (), "", "", reference={"instructions": [{"id": kind, "kwargs": kwargs} for kind, kwargs in kinds]})


def test_an_answer_is_right_when_all_its_rules_are_followed_and_the_loose_reading_forgives_its_frame() -> None:
    sample = rules(("punctuation:no_comma", {}), ("keywords:existence", {"keywords": ["rain"]}))
    outcome = score_instructions(sample, "Sure, here it is:\nrain falls")
    assert (outcome.correct, outcome.tp, outcome.fn, outcome.score) == (False, 1, 1, 1.0)
    assert outcome.parsed == "broken: punctuation:no_comma"
    right = score_instructions(sample, "rain falls")
    assert (right.correct, right.tp, right.fn, right.score) == (True, 2, 0, 1.0)
    wrong = score_instructions(sample, "sun, sun, sun")
    assert (wrong.correct, wrong.tp, wrong.fn, wrong.score) == (False, 0, 2, 0.0)
    empty = score_instructions(sample, " ")
    assert (empty.valid, empty.correct, empty.score) == (False, False, 0.0)


@settings(max_examples=150, deadline=None)
@given(text=st.text() | st.text(alphabet='*<>[]"-.!?\n ,abPS1{}`'))
def test_whatever_is_said_is_checked_by_every_rule(text: str) -> None:
    for kind, arguments, *_ in CASES:
        assert is_followed(kind, arguments, text) in (True, False)


@pytest.mark.parametrize(
    "text",
    [
        *(mark * 30_000 for mark in ("*", "<<", "[", "a. ", "`", "\n ", '"', "!", "* a\n", "P.", "```  ", "- ")),
        "``` " + " " * 60_000 + "x",
        "." + " " * 60_000,
        "\ud800 x",
    ],
)
def test_hostile_answers_are_quick(text: str) -> None:
    start = time.process_time()
    for kind, arguments, *_ in CASES:
        is_followed(kind, arguments, text)
    assert time.process_time() - start < 3
