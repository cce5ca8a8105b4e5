"""The first screen: what was decided, the few numbers that carry it, what it costs, and what was not shown."""

from __future__ import annotations

from delivery.report import numerals
from delivery.report.blocks import Headline, KeyNumber, Tone
from delivery.report.language import Language
from delivery.report.systems import (
    Document,
    api_of,
    find_comparison,
    find_system,
    is_stand_in,
    name_system,
    primary_suite,
    sale_ended,
)

VERDICT_TONES: dict[str, Tone] = {"better": "good", "not_worse": "good", "inconclusive": "warn", "worse": "bad"}


def build_headline(document: Document, lang: Language) -> Headline:
    """The headline of a document."""
    decision = document["decision"]
    failed = [gate for gate in decision["gates"] if not gate["passed"]]
    suite = primary_suite(document)
    stand_in = any(is_stand_in(system) for s in document["suites"] for system in s["systems"])
    return Headline(
        verdict=_verdict(decision, failed, lang),
        tone="good" if decision["promote"] else "bad",
        reasons=tuple(_reasons(failed, suite, lang)) or (_all_passed(decision, lang),),
        warning=lang.say("warning.stand_in") if stand_in else "",
        numbers=(*(_measured(document, suite, lang) if suite else ()), _price(document, suite, lang)),
        cost=_cost_verdict(document["cost"], lang),
        not_shown=tuple(_not_shown(document, suite, lang)),
    )


def _verdict(decision: Document, failed: list[Document], lang: Language) -> str:
    if decision["promote"]:
        return lang.say("verdict.promote")
    if not failed:
        return lang.say("verdict.hold_plain")
    names = lang.say("verdict.gate_join").join(gate["name"].replace("_", " ") for gate in failed)
    return lang.say("verdict.hold", gates=names)


def _reasons(failed: list[Document], suite: Document | None, lang: Language) -> list[str]:
    """Why gates failed; what a judge without a say leaves open is said once for all of them."""
    why = "; ".join(_withheld(suite))
    others = [gate["why"] for gate in failed if not why or why not in gate["why"]]
    if suite is None or not why or len(others) == len(failed):
        return others
    return [lang.say("verdict.withheld", judge=suite["judging"]["model"], reasons=why), *others]


def _withheld(suite: Document | None) -> list[str]:
    return suite["judging"]["withheld"] if suite is not None and suite["judging"] is not None else []


def _all_passed(decision: Document, lang: Language) -> str:
    number = len(decision["gates"])
    if number == 0:
        return lang.say("verdict.no_gates")
    return lang.say("verdict.one_passed") if number == 1 else lang.say("verdict.all_passed", count=number)


def _measured(document: Document, suite: Document, lang: Language) -> tuple[KeyNumber, ...]:
    """Candidate, what it is held against (the baseline, or else the untouched base model), and the difference."""
    candidate = find_system(suite, "candidate")
    other = find_system(suite, "baseline") or find_system(suite, "base")
    numbers = [_score(document, suite, system, lang) for system in (candidate, other) if system is not None]
    if candidate is not None and other is not None:
        numbers.append(_difference(suite, candidate, other, lang))
    return tuple(numbers)


def _score(document: Document, suite: Document, system: Document, lang: Language) -> KeyNumber:
    named = name_system(system, lang)
    metric = lang.term("metrics", suite["primary_metric"])
    details = [lang.say("key.basis", metric=metric, n=numerals.count(system["n_scored"]))]
    if system["system"] == "baseline":
        details += [_answers(system, lang), *_on_sale(document, system, lang)]
    elif system["artifact"]:
        details.append(f"{system['model']} · {system['artifact']}")
    if system["note"]:
        details.append(system["note"])
    if system["n_errored"]:
        errored, n = numerals.count(system["n_errored"]), numerals.count(system["n"])
        details.append(lang.say("key.errored", errored=errored, n=n))
    if system["value"] is None:
        return KeyNumber(named.label, lang.say("key.unmeasured"), "", tuple(details), named.badge)
    if _withheld(suite):
        # A number this large would be taken for a claim.
        return KeyNumber(named.label, lang.say("key.no_verdict"), "", tuple(details), named.badge)
    interval = lang.say("key.interval", interval=numerals.interval(system["ci95"]))
    return KeyNumber(named.label, numerals.percent(system["value"]), interval, tuple(details), named.badge)


def _answers(system: Document, lang: Language) -> str:
    parts = (lang.term("sources", system["source"]), lang.term("prompting", system["prompting"]))
    return " · ".join(part for part in parts if part)


def _on_sale(document: Document, baseline: Document, lang: Language) -> list[str]:
    """Whether a baseline's model can still be bought, where its end is known."""
    api = None if is_stand_in(baseline) else api_of(baseline["model"], document["cost"])
    if api is None:
        return []
    price = document["cost"]["api"][api]
    if price["available_until"] is None:
        return []
    key = "key.no_longer_sold" if sale_ended(price, document["created_at"]) else "key.sold_until"
    return [lang.say(key, model=lang.term("models", api), date=price["available_until"])]


def _difference(suite: Document, a: Document, b: Document, lang: Language) -> KeyNumber:
    second = name_system(b, lang)
    label = lang.say("key.difference", a=lang.term("systems", a["system"]), b=lang.term("systems", b["system"]))
    comparison = find_comparison(suite, a["system"], b["system"])
    if comparison is None or comparison["difference"] is None:
        missing = "key.no_verdict" if _withheld(suite) else "key.unmeasured"
        return KeyNumber(label, lang.say(missing), "", (), second.badge)
    low, high = (numerals.points(bound) for bound in comparison["ci95"])
    verdict = lang.say(
        "key.verdict",
        verdict=lang.term("verdicts", comparison["verdict"]),
        margin=numerals.decimal(comparison["margin"] * 100),
        test=lang.term("tests", comparison["test"]),
        n=numerals.count(comparison["n"]),
    )
    return KeyNumber(
        label=label,
        value=lang.say("key.points", value=numerals.points(comparison["difference"])),
        interval=lang.say("key.points_interval", low=low, high=high),
        details=(verdict,),
        badge=second.badge,
        tone=VERDICT_TONES.get(comparison["verdict"], ""),
    )


def _price(document: Document, suite: Document | None, lang: Language) -> KeyNumber:
    """The cost ratio against the baseline's own price; a stand-in has none, so then against GPT-4's where it is listed."""
    cost = document["cost"]
    baseline = find_system(suite, "baseline") if suite else None
    own_price = None if baseline is None or is_stand_in(baseline) else api_of(baseline["model"], cost)
    model = own_price or api_of("gpt-4", cost) or cost["reference_model"]
    api = cost["api"][model]
    tokens = cost["prompt_tokens_per_request"] + cost["completion_tokens_per_request"]
    details = [
        lang.say(
            "key.price_detail",
            own=numerals.money(cost["usd_per_1000_requests"]),
            api=numerals.money(api["usd_per_1000_requests"]),
            tokens=numerals.count(tokens),
        )
    ]
    if sale_ended(api, document["created_at"]):
        name = lang.term("models", model)
        details.append(lang.say("key.no_longer_sold", model=name, date=api["available_until"]))
    return KeyNumber(
        label=lang.say("key.price"),
        value=numerals.ratio(api["ratio"]),
        interval=lang.say("key.price_of", model=lang.term("models", model)),
        details=(*details, lang.say("key.assumption", utilisation=numerals.percent(cost["utilisation"]))),
        tone="" if api["ratio"] is None else "good" if api["ratio"] < 1 else "bad",
    )


def _cost_verdict(cost: Document, lang: Language) -> tuple[str, ...]:
    reference = cost["reference_model"]
    model = lang.term("models", reference)
    api_monthly = cost["api"][reference]["usd_per_1000_requests"] * cost["requests_per_month"] / 1000
    verdict = lang.say(
        f"cost_verdict.{cost['cheaper']}",
        requests=numerals.count(cost["requests_per_month"]),
        hardware=cost["hardware"],
        own=numerals.money(cost["monthly_usd_own"]),
        model=model,
        api=numerals.money(api_monthly),
    )
    volume = cost["break_even_requests_per_month"]
    if volume is None:
        return verdict, lang.say("cost_verdict.never", model=model)
    return verdict, lang.say("cost_verdict.break_even", requests=numerals.count(volume), model=model)


def _not_shown(document: Document, suite: Document | None, lang: Language) -> list[str]:
    sentences = _baseline_not_shown(document, suite, lang) if suite else [lang.say("not_shown.no_baseline")]
    for each in document["suites"]:
        for system in each["systems"]:
            if system["n_errored"]:
                values = {
                    "system": name_system(system, lang).phrase,
                    "errored": numerals.count(system["n_errored"]),
                    "n": numerals.count(system["n"]),
                    "suite": lang.term("suites", each["suite"]),
                }
                sentences.append(lang.say("not_shown.errored", **values))
    if all(each["kind"] == "use_case" for each in document["suites"]):
        sentences.append(lang.say("not_shown.only_own"))
    if not document["latency"]:
        sentences.append(lang.say("not_shown.no_load"))
    return sentences


def _baseline_not_shown(document: Document, suite: Document, lang: Language) -> list[str]:
    baseline = find_system(suite, "baseline")
    if baseline is None:
        return [lang.say("not_shown.no_baseline")]
    named = name_system(baseline, lang)
    sentences = [_source_not_shown(document, baseline, lang)]
    comparison = find_comparison(suite, "candidate", "baseline")
    if comparison and comparison["verdict"] == "inconclusive":
        low, high = (numerals.points(bound) for bound in comparison["ci95"])
        sentences.append(lang.say("not_shown.inconclusive", baseline=named.phrase, low=low, high=high))
    if comparison and comparison["verdict"] == "not_worse":
        margin = numerals.decimal(comparison["margin"] * 100)
        sentences.append(lang.say("not_shown.not_worse", baseline=named.phrase, margin=margin))
    return [sentence for sentence in sentences if sentence]


def _source_not_shown(document: Document, baseline: Document, lang: Language) -> str:
    if is_stand_in(baseline):
        return lang.say("not_shown.stand_in", model=baseline["model"])
    if baseline["source"] == "published":
        return lang.say("not_shown.published")
    if baseline["source"] != "recorded":
        return ""
    name = name_system(baseline, lang).phrase
    api = api_of(baseline["model"], document["cost"])
    if api and sale_ended(document["cost"]["api"][api], document["created_at"]):
        return lang.say("not_shown.unsold", baseline=name, date=document["cost"]["api"][api]["available_until"])
    return lang.say("not_shown.recorded", baseline=name)
