"""The cheap row: what a linear classifier on character and word counts reaches, with no language model at all.

TF-IDF of words and of character n-grams, then logistic regression: a strong and fast reference for text classification
(Wang and Manning, "Baselines and Bigrams", 2012). A delivery that does not beat it is not worth its money.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from delivery.artifacts import Answer, Example, Message, Suite
from delivery.errors import ClientDataError
from delivery.evaluation.scoring.parsing import first_json_object

_ABSENT = ""
_AT_ONCE = 256
"""Texts that are compared with all training texts at once; bounds memory."""


def encoder_answers(train: Sequence[Example], suite: Suite) -> tuple[Answer, ...]:
    """Train on the training rows and answer the suite. Deterministic. Seconds are those of answering, not of training.

    Classification: one classifier. Extraction: one for each schema property of few values (enum, const or boolean),
    trained on the values that occur; any other property gets its most frequent value. Otherwise, as there is nothing to
    classify: the answer of the training row whose text is most alike by cosine.

    Raises:
        ClientDataError: no training rows.
    """
    if not train:
        raise ClientDataError("the encoder row needs training rows, and there are none")
    encoder = _Encoder([_text(row.messages) for row in train], np.array([row.weight for row in train]))
    if suite.scorer == "classification":
        encoder.learn("label", [row.answer.strip().casefold() for row in train])
    elif suite.scorer == "extraction":
        objects = [first_json_object(row.answer) or {} for row in train]
        for name, schema in ((suite.json_schema or {}).get("properties") or {}).items():
            values = [orjson.dumps(found[name]).decode() if name in found else _ABSENT for found in objects]
            encoder.learn(name, values if _has_few_values(schema) else [_most_frequent(values)] * len(values))
    started = time.perf_counter()
    asked = [_text(sample.messages) for sample in suite.samples]
    if suite.scorer in ("classification", "extraction"):
        said = encoder.answer(asked)
        outputs = [_output(suite, {name: values[row] for name, values in said.items()}) for row in range(len(asked))]
    else:
        outputs = [train[place].answer for place in encoder.nearest(asked)]
    seconds = (time.perf_counter() - started) / len(outputs)
    return tuple(Answer(sample.id, output, seconds=seconds) for sample, output in zip(suite.samples, outputs, strict=True))


class _Encoder:
    """One matrix of the training texts, and a classifier (or a constant) per target."""

    def __init__(self, texts: Sequence[str], weights: Any) -> None:
        self.weights = weights
        self.vectorizers = [
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]"),
            TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), max_features=50_000),
        ]
        self.matrix = hstack([one.fit_transform(texts) for one in self.vectorizers]).tocsr()
        self.targets: dict[str, LogisticRegression | str] = {}

    def learn(self, name: str, values: Sequence[str]) -> None:
        if len(set(values)) == 1:
            self.targets[name] = values[0]
            return
        model = LogisticRegression(C=10.0, solver="lbfgs", max_iter=200, tol=1e-3)
        self.targets[name] = model.fit(self.matrix, np.array(values), sample_weight=self.weights)

    def answer(self, texts: Sequence[str]) -> dict[str, list[str]]:
        matrix = hstack([one.transform(texts) for one in self.vectorizers]).tocsr()
        return {
            name: [target] * len(texts) if isinstance(target, str) else [str(value) for value in target.predict(matrix)]
            for name, target in self.targets.items()
        }

    def nearest(self, texts: Sequence[str]) -> list[int]:
        """Of each text, the place of the training text that is most alike, the first of several."""
        matrix = hstack([one.transform(texts) for one in self.vectorizers]).tocsr()
        starts = range(0, len(texts), _AT_ONCE)
        return [
            int(place) for start in starts for place in (matrix[start : start + _AT_ONCE] @ self.matrix.T).toarray().argmax(1)
        ]


def _output(suite: Suite, said: dict[str, str]) -> str:
    if suite.scorer == "classification":
        spelling = {label.casefold(): label for label in suite.labels}
        return spelling.get(said["label"], said["label"])
    return orjson.dumps({name: orjson.loads(value) for name, value in said.items() if value != _ABSENT}).decode()


def _has_few_values(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    kinds = schema.get("type")
    kinds = {kinds} if isinstance(kinds, str) else set(kinds or ())
    return "enum" in schema or "const" in schema or (bool(kinds) and kinds <= {"boolean", "null"})


def _most_frequent(values: Sequence[str]) -> str:
    return min(Counter(values).items(), key=lambda item: (-item[1], item[0]))[0]


def _text(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages if message.role != "system")
