from __future__ import annotations

import re
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, get_args, get_type_hints

import pytest

from delivery.artifacts import Decision, Report, SuiteResult
from delivery.report import charts, html, numerals, report_json
from delivery.report.html import render
from delivery.report.running import own_monthly
from tests.delivery.report import factory
from tests.delivery.report.conftest import Rendered
from tests.delivery.report.page_reader import PageReader

PAYLOAD = "'\"><img src=x onerror=alert(1)></style></title></svg><script>alert(1)</script>{{7*7}}<!--"
STRUCTURE = {"splits", "ttft_ms", "e2e_ms", "hourly_usd", "usd_per_million_tokens", "usd_per_1000_requests", "monthly_usd_own"}


def poisoned(value: Any, kind: Any) -> Any:
    """The same value with the payload in every free string, keys included; names of a fixed set stay."""
    if kind is str or kind is Any:
        return value + PAYLOAD if isinstance(value, str) else value
    if value is None or (get_args(kind) and isinstance(get_args(kind)[0], str)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        names = [f.name for f in fields(value) if f.name not in STRUCTURE]
        return replace(value, **{name: poisoned(getattr(value, name), hints[name]) for name in names})
    if isinstance(value, dict):
        inner = get_args(kind)[1] if get_args(kind) else Any
        return {poisoned(k, str): poisoned(v, type(v) if inner is Any else inner) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(poisoned(item, get_args(kind)[0]) for item in value)
    return poisoned(value, str) if isinstance(value, str) else value


def page(report: Any) -> str:
    document = report_json(report)
    return render(document)


@pytest.mark.parametrize("kind", ["recorded", "stand_in", "many_labels"])
def test_text_from_outside_never_becomes_markup(rendered: Callable[[str], Rendered], kind: str) -> None:
    clean = PageReader(rendered(kind).html)
    report = poisoned(rendered(kind).report, Report)
    assert PAYLOAD in report.client
    assert PAYLOAD in report.suites[0].systems[0].samples[0].expected
    attacked = PageReader(page(report))
    assert attacked.tags <= clean.tags
    assert not attacked.tags & {"script", "img", "iframe", "object", "link", "form"}
    assert not [name for _, attrs in attacked.elements for name in attrs if name.startswith("on")]
    assert attacked.text.count("alert(1)") > 50
    assert "{{7*7}}" in attacked.text


def test_hostile_names_are_drawn_as_text_inside_the_charts(rendered: Callable[[str], Rendered]) -> None:
    suite = rendered("recorded").report.suites[0]
    systems = tuple(replace(s, model=f"</text><script>{s.model}</script>") for s in suite.systems)
    html = page(factory.report(replace(suite, systems=systems)))
    drawings = re.findall(r"<svg.*?</svg>", html, flags=re.S)
    assert any("&lt;/text&gt;&lt;script&gt;gpt-4-0613" in drawing for drawing in drawings)
    assert "<script" not in html


def test_the_page_asks_nothing_of_any_other_machine(any_report: Rendered) -> None:
    read = PageReader(any_report.html)
    assert "http://" not in any_report.html
    assert "https://" not in any_report.html
    addresses = [
        v for _, attrs in read.elements for k, v in attrs.items() if k in ("src", "href", "xlink:href", "action", "data")
    ]
    assert addresses
    assert all(address and address.startswith("#") for address in addresses)
    anchors = {attrs.get("id") for _, attrs in read.elements}
    assert all(address and address[1:] in anchors for address in addresses)
    assert "url(" not in any_report.html
    assert "@import" not in any_report.html
    (policy,) = [m["content"] for m in read.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy


def test_ids_are_used_once(any_report: Rendered) -> None:
    ids = [attrs["id"] for _, attrs in PageReader(any_report.html).elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_there_is_a_dark_a_narrow_and_a_printed_page(rendered: Callable[[str], Rendered]) -> None:
    (style,) = PageReader(rendered("recorded").html).styles
    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert "@media screen and (max-width: 44rem)" in style
    assert "@media print" in style
    drawings = "".join(re.findall(r"<svg.*?</svg>", rendered("recorded").html, flags=re.S))
    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', drawings))
    assert colours <= {"none", "transparent"} | {c for c in colours if c.startswith("var(--")}
    assert {re.sub(r"var\((.*)\)", r"\1", c) for c in colours if c.startswith("var")} <= set(re.findall(r"--[a-z-]+", style))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(rendered: Callable[[str], Rendered], scheme: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1."""
    (style,) = PageReader(rendered("recorded").html).styles
    palettes = re.findall(r":root \{(.*?)\}", style, flags=re.S)
    palette = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", palettes[0 if scheme == "light" else 1]))
    for text in ("ink", "quiet", "candidate", "baseline", "good", "bad", "warn"):
        for paper in ("paper", "raised"):
            assert contrast(palette[text], palette[paper]) >= 4.5, (text, paper)
    for tone in ("good", "bad", "warn"):
        assert contrast(palette[tone], palette[f"{tone}-paper"]) >= 4.5, tone


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_page_shows_the_measurements_of_the_document(any_report: Rendered) -> None:
    text = PageReader(any_report.html).text
    for suite in any_report.document["suites"]:
        estimates = [estimate for system in suite["systems"] for estimate in system["metrics"].values()]
        estimates += [part["candidate"] for part in suite["slices"]]
        assert all(numerals.percent_interval(found["value"], found["ci95"]) in text for found in estimates)
        for comparison in suite["comparisons"]:
            low, high = (numerals.points(bound) for bound in comparison["ci95"])
            assert f"{numerals.points(comparison['difference'])} ({low} to {high})" in text
            assert numerals.p_value(comparison["p_value"]) in text


def test_the_page_shows_everything_else_of_the_document(any_report: Rendered) -> None:
    document, text = any_report.document, PageReader(any_report.html).text
    assert all(numerals.file_size(artifact["bytes"]) in text for artifact in document["artifacts"])
    assert all(numerals.money(api["usd_per_1000_requests"]) in text for api in document["cost"]["api"].values())
    assert all(gate["why"] in text for gate in document["decision"]["gates"])
    assert all(check["detail"] in text for check in document["dataset"]["checks"])
    assert all(sentence in text for sentence in document["limitations"])


def test_tables_and_charts_can_be_heard(any_report: Rendered) -> None:
    read = PageReader(any_report.html)
    assert len(read.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(th.get("scope") in ("col", "row") for th in read.all("th"))
    assert len(read.all("caption")) == len(read.all("table")) > 5
    charts = [div for div in read.all("div") if div.get("role") == "img"]
    assert len(charts) == len(read.all("svg")) >= 4
    assert all(len(chart.get("aria-label") or "") > 40 for chart in charts)
    assert read.all("html")[0]["lang"] == "en"


def test_ready_to_promote_is_said_in_words(rendered: Callable[[str], Rendered]) -> None:
    text = PageReader(rendered("recorded").html).text
    assert "Ready to promote" in text
    assert "All 3 conditions were met." in text
    assert "Baseline: GPT-4 (gpt-4-0613)" in text
    assert "answers recorded on 2023-07-14" in text
    assert "GPT-4 is no longer sold (since 2026-10-23)" in text
    assert "0.001×" in text


def test_why_it_was_not_promoted_is_said_in_words(rendered: Callable[[str], Rendered]) -> None:
    text = PageReader(rendered("worse").html).text
    assert "Not promoted: baseline and quantization not met" in text
    assert "▼ worse" in text
    assert "Ready to promote" not in text


def test_not_promoted_without_a_failed_condition_is_said_too() -> None:
    assert "Not promoted" in PageReader(page(factory.report(decision=Decision(False, ())))).text


def test_a_stand_in_is_marked_wherever_its_score_is_shown(rendered: Callable[[str], Rendered]) -> None:
    one = rendered("stand_in")
    read = PageReader(re.sub(r"<svg.*?</svg>", "", one.html, flags=re.S))
    baseline = one.document["suites"][0]["systems"][1]
    score = numerals.percent(baseline["value"])
    places = [i for i, text in enumerate(read.texts) if score in text]
    assert len(places) >= 2
    for place in places:
        assert "stand-in, not GPT-4" in " ".join(read.texts[max(0, place - 4) : place + 1])
    drawings = [drawing for drawing in re.findall(r"<svg.*?</svg>", one.html, flags=re.S) if score in drawing]
    assert len(drawings) == 2
    assert all("Baseline (stand-in, not GPT-4)" in drawing for drawing in drawings)
    assert any(f"Baseline (stand-in, not GPT-4) {score}" in str(div.get("aria-label")) for div in read.all("div"))
    assert "Nothing here says how the candidate compares with GPT-4." in read.text
    columns = [td["data-label"] for td in read.all("td") if (td.get("data-label") or "").startswith("Baseline")]
    assert columns
    assert all("stand-in, not GPT-4" in str(label) for label in columns)


def test_nothing_else_is_called_a_stand_in(rendered: Callable[[str], Rendered]) -> None:
    for kind in ("recorded", "worse", "published", "many_labels"):
        assert "stand-in" not in PageReader(rendered(kind).html).text


def test_staying_with_the_api_is_said_when_it_is_cheaper(rendered: Callable[[str], Rendered]) -> None:
    text = PageReader(rendered("stand_in").html).text
    assert "The API is cheaper: stay with it. At 100,000 requests a month, gpt-6-luna costs $1.71 and cpu-2core $84.61." in text
    assert "stay with it" not in PageReader(rendered("recorded").html).text


def test_a_volume_that_never_pays_is_said() -> None:
    report = factory.report()
    never = replace(report.cost, break_even_requests_per_month=None, cheaper="api")
    assert "owning never pays at these prices" in PageReader(page(replace(report, cost=never))).text


def test_what_is_not_shown_is_said_on_the_first_screen(rendered: Callable[[str], Rendered]) -> None:
    stand_in = PageReader(rendered("stand_in").html).text
    assert "What the candidate does on 7 of 496 rows of the client's own task: they could not be scored." in stand_in
    assert "How fast it answers under load: this was not measured." in stand_in
    assert "the difference is unpaired" in PageReader(rendered("published").html).text
    assert "Whether it beats GPT-4" in PageReader(rendered("many_labels").html).text
    assert "it is no longer sold (since 2026-10-23)" in PageReader(rendered("recorded").html).text


def test_without_a_baseline_the_base_model_stands_beside_the_candidate() -> None:
    report = factory.report(factory.use_case_suite(factory.systems(None)))
    text = PageReader(page(report)).text
    assert "no baseline took part" in text
    assert "Difference: Candidate − Base model before training" in text


def test_a_delivery_without_any_suite_still_has_a_report() -> None:
    text = PageReader(page(factory.report(suites=(), recovery=(), latency=(), artifacts=(), limitations=()))).text
    assert "no baseline took part" in text


def test_many_labels_are_folded_behind_the_weakest(rendered: Callable[[str], Rendered]) -> None:
    one = rendered("many_labels")
    assert "the 12 weakest of 77" in PageReader(one.html).text
    parts = sorted(one.document["suites"][0]["slices"], key=lambda part: part["candidate"]["value"])
    before, _, folded = one.html.partition("<summary>All 77 parts")
    assert all(part["value"] in before for part in parts[:6])
    assert all(part["value"] in folded for part in parts)


def test_examples_are_wrong_answers_that_the_baseline_got_right_first(rendered: Callable[[str], Rendered]) -> None:
    one = rendered("recorded")
    mistakes, _, changes = one.html.partition("What changes against the champion")
    shown = re.findall(r"<h3>Row (row-\d+)</h3>", mistakes)
    assert len(shown) == 8
    for name in shown:
        assert f'<blockquote dir="auto">What does &lt;b&gt;sentence {int(name[4:])}&lt;/b&gt; say?' in mistakes
    assert "that it got right are wrong now" in changes
    by_key = {(row.id, row.system): row for row in one.rows if row.suite == "use_case"}
    assert all(by_key[(sample, "candidate")].correct is False for sample in shown)
    assert all(by_key[(sample, "baseline")].correct is True for sample in shown)


def test_long_answers_are_cut_and_say_so(rendered: Callable[[str], Rendered]) -> None:
    one = rendered("many_labels")
    quotes = re.findall(r"<pre[^>]*>(.*?)</pre>", one.html, flags=re.S)
    assert any("(shortened; " in quote for quote in quotes)
    assert max(len(quote) for quote in quotes) < 8_000
    document = deepcopy(one.document)
    document["suites"][0]["analysis"]["samples"][0]["answers"][0]["said"] = "a\n" * 500
    html = render(document)
    assert max(quote.count("\n") for quote in re.findall(r"<pre[^>]*>(.*?)</pre>", html, flags=re.S)) <= 20


def test_the_drawn_staircase_is_the_cost_of_the_document(rendered: Callable[[str], Rendered]) -> None:
    cost = rendered("recorded").document["cost"]
    assert own_monthly(cost, cost["requests_per_month"]) == pytest.approx(cost["monthly_usd_own"], rel=1e-6)
    capacity = cost["requests_per_second"] * cost["utilisation"] * 3600 * 730
    assert own_monthly(cost, capacity) == pytest.approx(cost["monthly_usd_own"])
    assert own_monthly(cost, capacity + 1) == pytest.approx(2 * cost["monthly_usd_own"])
    luna = cost["api"]["gpt-6-luna"]["usd_per_1000_requests"] / 1000
    volume = cost["break_even_requests_per_month"]
    assert own_monthly(cost, volume) <= volume * luna
    assert own_monthly(cost, volume - 1) > (volume - 1) * luna


def test_extremes_can_be_drawn() -> None:
    report = factory.report()
    suite: SuiteResult = report.suites[0]
    perfect = tuple(replace(s, metrics={"accuracy": factory.wilson(3, 3)}) for s in suite.systems)
    costs = replace(report.cost, requests_per_month=1, requests_per_second=1e-6, break_even_requests_per_month=None)
    html = page(replace(report, suites=(replace(suite, systems=perfect),), cost=costs))
    assert "NaN" not in html


def test_rendering_takes_less_than_three_seconds_of_work(
    rendered: Callable[[str], Rendered], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rendered("recorded")
    monkeypatch.setattr(html, "draw", charts.draw)
    before = time.process_time()
    render(one.document)
    assert time.process_time() - before < 3


def test_a_judge_is_named_with_what_it_is_worth(rendered: Callable[[str], Rendered]) -> None:
    text = PageReader(rendered("judged").html).text
    assert "The judge: gpt-6-luna" in text
    assert "its verdicts count" in text
    assert "0.62 (0.12 to 0.78)" in text
    assert "Score of a constant answer: self praise" in text
    assert "With a simulated user instead of the frozen turns" in text


def test_where_the_judge_is_not_worth_it_no_verdict_is_drawn() -> None:
    text = PageReader(page(factory.judged_report("its kappa is 0.31, below the 0.4 that the suite demands"))).text
    assert "No verdict is drawn from this suite: its kappa is 0.31, below the 0.4 that the suite demands." in text
    assert "its verdicts count" not in text


def test_what_training_took_stands_beside_what_was_planned(rendered: Callable[[str], Rendered]) -> None:
    document = rendered("recorded").document
    training = document["training"]
    assert training["predicted"] == {
        "seconds": 1180.0,
        "peak_memory_bytes": 2_700_000_000,
        "usd": pytest.approx(0.1159 * 1180 / 3600),
    }
    assert training["measured"]["seconds"] == pytest.approx(1243.5 / 0.982)
    assert training["measured"]["usd"] == pytest.approx(0.1159 * 1243.5 / 0.982 / 3600)
    text = PageReader(rendered("recorded").html).text
    for shown in ("19 min 40 s", "21 min 6 s", "2.7 GB", "2.5 GB", "$0.038", "$0.0408"):
        assert shown in text


def test_a_document_from_before_both_stood_side_by_side_is_still_shown(rendered: Callable[[str], Rendered]) -> None:
    document = rendered("recorded").document
    training = {key: value for key, value in document["training"].items() if key not in ("predicted", "measured")}
    assert "Planned and measured" in PageReader(render({**document, "training": training})).text


def test_the_step_that_ships_is_marked_where_it_is_not_the_last(rendered: Callable[[str], Rendered]) -> None:
    document = rendered("recorded").document
    early, last = (render({**document, "training": {**document["training"], "kept_step": step}}) for step in (160, 329))
    assert "shipped: step 160" in early
    assert "shipped: step" not in last
