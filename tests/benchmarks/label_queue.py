"""What a queue of 150 rows is worth on Banking77, against 150 random rows and other ways to choose.

``python -m tests.benchmarks.label_queue [--seeds 5] [--first 0] [--only random,queue]``. Each seed starts from 1,000 random
labeled rows of the training file; the rest is the pool. The encoder row of the evaluation is the model, the 3,080 test
rows the measure. The queue never sees the test rows: its failures are the encoder's own, out of fold on the 1,000 rows.

The further line ``halves`` takes them from one half of the test rows instead (given as a validation side, because test
rows are not accepted), and compares the gains over random rows on that half and on the other one. What the steered queue
gains more on its own half than the unsteered one does is flattery. The table goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as students_t
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import Normalizer

from delivery.artifacts import Example, Message, Sample, Splits, Suite
from delivery.client_config import UseCase
from delivery.dataset.labeling.pool import Unlabeled
from delivery.dataset.labeling.queue import failures_out_of_fold, rank_pool
from delivery.dataset.labeling.slices import Scored
from delivery.evaluation import encoder_answers

DATA = Path(__file__).parents[3] / "shared" / "data" / "banking77"
START, ADDED = 1_000, 150

Array = NDArray[Any]


class Round(NamedTuple):
    """One seed: the labeled rows, the pool, and the classifier's view of the pool for the ways that need one."""

    seed: int
    labeled: list[Example]
    pool: list[Example]
    labels: tuple[str, ...]
    labeled_places: Array
    places: Array
    probabilities: Array


def read(name: str) -> list[Example]:
    rows = [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
    return [Example(row["id"], (Message("user", row["text"]),), row["label"]) for row in rows]


def right(train: Sequence[Example], rows: Sequence[Example], labels: tuple[str, ...]) -> Array:
    """Which rows the encoder answers rightly when trained on ``train``."""
    samples = tuple(Sample(row.id, row.messages, row.answer, "") for row in rows)
    suite = Suite("use_case", "use_case", "classification", "exact", samples, labels, None, "")
    answers = encoder_answers(train, suite)
    return np.array([answer.output == row.answer for answer, row in zip(answers, rows, strict=True)])


def scored(rows: Sequence[Example], hits: Array) -> list[Scored]:
    return [Scored(row.id, row.messages[0].content, row.answer, "", float(hit)) for row, hit in zip(rows, hits, strict=True)]


def begin(rows: list[Example], seed: int, labels: tuple[str, ...]) -> Round:
    order = np.random.default_rng(seed).permutation(len(rows))
    labeled, pool = [rows[i] for i in order[:START]], [rows[i] for i in np.sort(order[START:])]
    texts = [row.messages[0].content for row in (*labeled, *pool)]
    features = make_union(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), max_features=50_000),
    )
    places = make_pipeline(features, TruncatedSVD(256, random_state=seed), Normalizer()).fit_transform(texts)
    model = LogisticRegression(C=30.0, max_iter=200).fit(places[:START], [row.answer for row in labeled])
    return Round(
        seed=seed,
        labeled=labeled,
        pool=pool,
        labels=labels,
        labeled_places=places[:START],
        places=places[START:],
        probabilities=model.predict_proba(places[START:]),
    )


def by_random(here: Round) -> list[int]:
    return list(np.random.default_rng(10_000 + here.seed).permutation(len(here.pool))[:ADDED])


def by_margin(here: Round) -> list[int]:
    ordered = np.sort(here.probabilities, axis=1)
    return list(np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")[:ADDED])


def by_entropy(here: Round) -> list[int]:
    return list(np.argsort((here.probabilities * np.log(here.probabilities + 1e-12)).sum(axis=1), kind="stable")[:ADDED])


def by_k_center(here: Round) -> list[int]:
    """Greedy farthest point (Sener and Savarese, "Active learning for convolutional neural networks", 2018)."""
    distance = 1 - (here.places @ here.labeled_places.T).max(axis=1)
    chosen: list[int] = []
    for _ in range(ADDED):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, 1 - here.places @ here.places[chosen[-1]])
        distance[chosen] = -1
    return chosen


def by_typicality(here: Round) -> list[int]:
    """The densest row of each of the largest clusters without a label (Hacohen et al., "TypiClust", 2022)."""
    count = START + ADDED
    everything = np.vstack([here.labeled_places, here.places])
    clusters = KMeans(count, n_init=1, max_iter=20, random_state=here.seed).fit_predict(everything)
    labeled, unlabeled = np.bincount(clusters[:START], minlength=count), clusters[START:]
    similar = here.places @ here.places.T
    similar.partition(len(similar) - 21, axis=1)
    density = similar[:, -21:].mean(axis=1)
    chosen: list[int] = []
    for cluster in sorted(range(count), key=lambda one: (labeled[one], -np.sum(unlabeled == one))):
        inside = np.flatnonzero(unlabeled == cluster)
        if len(inside) and len(chosen) < ADDED:
            chosen.append(int(inside[density[inside].argmax()]))
    return chosen


def by_badge(here: Round) -> list[int]:
    """k-means++ on gradient embeddings (Ash et al., "BADGE", 2020)."""
    gradient = here.probabilities.copy()
    gradient[np.arange(len(gradient)), gradient.argmax(axis=1)] -= 1
    squared = (gradient**2).sum(axis=1)
    generator = np.random.default_rng(here.seed)
    chosen = [int(squared.argmax())]
    distance = np.full(len(squared), np.inf)
    while len(chosen) < ADDED:
        last = chosen[-1]
        inner = (gradient @ gradient[last]) * (here.places @ here.places[last])
        distance = np.minimum(distance, np.maximum(squared + squared[last] - 2 * inner, 0))
        distance[chosen] = 0
        chosen.append(int(generator.choice(len(distance), p=distance / distance.sum())))
    return chosen


def by_queue(here: Round, failures: Sequence[Scored] | None = None, validation: Sequence[Example] = ()) -> list[int]:
    use_case = UseCase(name="intent", type="classification", system_prompt="Name the intent.", labels=here.labels)
    queue = rank_pool(
        [Unlabeled(str(index), row.messages) for index, row in enumerate(here.pool)],
        Splits(train=tuple(here.labeled), validation=tuple(validation), test=()),
        failures_out_of_fold(here.labeled, use_case) if failures is None else failures,
        use_case=use_case,
        size=ADDED,
        seed=here.seed,
    )
    return [int(one.row.id) for one in queue.rows]


def by_queue_without_failures(here: Round) -> list[int]:
    return by_queue(here, ())


WAYS: dict[str, Callable[[Round], list[int]]] = {
    "random": by_random,
    "queue": by_queue,
    "queue_without_failures": by_queue_without_failures,
    "margin": by_margin,
    "entropy": by_entropy,
    "k_center": by_k_center,
    "typicality": by_typicality,
    "badge": by_badge,
}


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean with its 95 % interval over seeds (Student's t)."""
    array = np.array(values)
    half = (
        float(students_t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5) if len(array) > 1 else float("nan")
    )
    mean = float(array.mean())
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def measure(seeds: Sequence[int], ways: Sequence[str]) -> dict[str, Any]:
    rows, test = read("train.jsonl"), read("test.jsonl")
    labels = tuple(sorted({row.answer for row in rows}))
    first_half = np.random.default_rng(0).permutation(len(test)) % 2 == 0
    accuracy: dict[str, list[float]] = {name: [] for name in ("start", *ways)}
    steering = [row for row, first in zip(test, first_half, strict=True) if first]
    halves: dict[str, list[float]] = {
        f"{way}_on_{half}": [] for way in ("steered", "unsteered") for half in ("steering_half", "other_half")
    }
    seconds = []
    for seed in seeds:
        here = begin(rows, seed, labels)
        before = right(here.labeled, test, labels)
        accuracy["start"].append(float(before.mean()))
        after: dict[str, Array] = {}
        for name in ways:
            started = time.perf_counter()
            chosen = WAYS[name](here)
            if name == "queue_without_failures":
                seconds.append(time.perf_counter() - started)
            after[name] = right([*here.labeled, *(here.pool[i] for i in chosen)], test, labels)
            accuracy[name].append(float(after[name].mean()))
            sys.stderr.write(f"seed {seed} {name}: {accuracy[name][-1]:.4f}\n")
        if "queue" in ways and "random" in ways:
            chosen = by_queue(here, scored(steering, before[first_half]), steering)
            after["steered"] = right([*here.labeled, *(here.pool[i] for i in chosen)], test, labels)
            for way, hits in (("steered", after["steered"]), ("unsteered", after["queue"])):
                gained = hits.astype(float) - after["random"]
                halves[f"{way}_on_steering_half"].append(float(gained[first_half].mean()))
                halves[f"{way}_on_other_half"].append(float(gained[~first_half].mean()))
    result: dict[str, Any] = {"start": START, "added": ADDED, "seeds": [seeds[0], seeds[-1]]}
    result["accuracy"] = {name: round(float(np.mean(values)), 4) for name, values in accuracy.items()}
    if "random" in ways:
        result["over_random"] = {
            name: interval(np.array(accuracy[name]) - np.array(accuracy["random"])) for name in ways if name != "random"
        }
    if seconds:
        result["queue_seconds"] = round(float(np.median(seconds)), 1)
    if halves["steered_on_other_half"]:
        result["halves"] = {name: interval(values) for name, values in halves.items()}
    return result


def main() -> None:
    """Measure and write the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default=",".join(WAYS))
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write(f"label_queue: no shared data at {DATA}; not measured\n")
        return
    result = measure(range(given.first, given.first + given.seeds), given.only.split(","))
    for name, gain in sorted(result.get("over_random", {}).items(), key=lambda item: -item[1]["mean"]):
        line = f"{name:24s} {result['accuracy'][name]:.4f}  {100 * gain['mean']:+.2f}"
        sys.stderr.write(f"{line} ({100 * gain['low']:+.2f} to {100 * gain['high']:+.2f}) points over random\n")
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
