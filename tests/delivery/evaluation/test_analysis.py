from __future__ import annotations

from dataclasses import replace

from delivery.artifacts import Suite, SystemName, SystemResult
from delivery.evaluation import System, analyse, clean_scores, score, summarise
from tests.delivery.evaluation.cases import answers, classification, extraction


def result(name: SystemName, suite: Suite, outputs: list[str | None]) -> SystemResult:
    given = answers(suite, outputs)
    return summarise(suite, score(suite, given), system=System(name, name), answers=given)


def test_mistakes_that_the_baseline_did_not_make_come_first_with_what_was_asked() -> None:
    suite = classification(["dovish", "hawkish", "neutral", "dovish"])
    candidate = result("candidate", suite, ["hawkish", "dovish", "neutral", "what?"])
    baseline = result("baseline", suite, ["hawkish", "hawkish", "neutral", None])
    found = analyse(suite, [candidate, baseline])
    assert found is not None
    assert (found.wrong, found.scored) == (3, 4)
    assert [sample.id for sample in found.samples] == ["row-1", "row-0", "row-3"]
    first = found.samples[0]
    assert (first.asked, first.expected) == ("row text 1", "hawkish")
    assert [(a.system, a.said, a.correct) for a in first.answers] == [
        ("candidate", "dovish", False),
        ("baseline", "hawkish", True),
    ]
    assert found.samples[2].answers[1].correct is None


def test_confusions_are_the_whole_table_of_labels_with_invalid_answers_apart() -> None:
    suite = classification(["dovish", "dovish", "hawkish", "neutral"])
    candidate = result("candidate", suite, ["hawkish", "hawkish", "hawkish", "??"])
    found = analyse(suite, [candidate])
    assert found is not None
    table = {(one.expected, one.said): one.candidate for one in found.confusions}
    assert table == {("dovish", "hawkish"): 2, ("neutral", ""): 1, ("hawkish", "hawkish"): 1}
    assert (found.confusions[0].expected, found.confusions[0].said) == ("dovish", "hawkish")
    assert {one.baseline for one in found.confusions} == {None}


def test_an_extraction_is_confused_field_by_field() -> None:
    right = '{"line": "motor", "urgent": true, "reference": null}'
    other = right.replace("true", "false")
    suite = extraction([right, right])
    found = analyse(suite, [result("candidate", suite, [other, "no json"]), result("baseline", suite, [right, other])])
    assert found is not None
    assert {(c.field, c.expected, c.said, c.candidate, c.baseline) for c in found.confusions} == {
        ("urgent", "true", "false", 1, 1),
        ("line", "motor", "", 1, 0),
        ("urgent", "true", "", 1, 0),
        ("reference", "null", "", 1, 0),
    }


def test_what_changes_against_the_champion_is_counted_both_ways() -> None:
    suite = classification(["dovish", "hawkish", "neutral", "dovish"])
    candidate = result("candidate", suite, ["dovish", "hawkish", "dovish", None])
    champion = result("champion", suite, ["hawkish", "dovish", "neutral", "dovish"])
    found = analyse(suite, [candidate, champion])
    assert found is not None
    assert found.changes is not None
    assert (found.changes.fixed, found.changes.broken) == (2, 1)
    assert [sample.id for sample in found.changes.samples] == ["row-2", "row-0", "row-1"]


def test_clean_scores_leave_out_what_training_rows_hold() -> None:
    suite = classification(["dovish", "hawkish", "neutral", "dovish"])
    candidate = result("candidate", suite, ["dovish", "dovish", "dovish", "dovish"])
    found = clean_scores(suite, [candidate, replace(candidate, system="baseline", samples=())], {"row-1", "row-2", "elsewhere"})
    assert (found.contaminated, found.n) == (2, 2)
    assert {name: value.value for name, value in found.values.items()} == {"candidate": 1.0}
    assert candidate.metrics["accuracy"].value == 0.5


def test_without_contaminated_samples_nothing_is_scored_twice() -> None:
    suite = classification(["dovish", "hawkish", "neutral"])
    found = clean_scores(suite, [result("candidate", suite, ["dovish", "dovish", "dovish"])], set())
    assert (found.contaminated, found.n, found.values) == (0, 3, {})
