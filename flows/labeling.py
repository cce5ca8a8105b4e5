"""What to label next, and labels that come back: the queue, the rounds, and what each round bought."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from delivery import dataset, evaluation
from delivery.artifacts import (
    DataVersion,
    Example,
    Message,
    OnProgress,
    RoundGain,
    Suite,
    SuiteResult,
    SystemResult,
    write_atomic,
)
from delivery.artifacts import Scored as ScoredSample
from delivery.client_config import UseCase, load_client
from delivery.dataset.labeling.agreement import Agreed, agree, write_disagreements
from delivery.dataset.labeling.labels import holds_labels, read_labels
from delivery.dataset.labeling.pool import Unlabeled, input_text, read_unlabeled
from delivery.dataset.labeling.queue import Queue, failures_out_of_fold, rank_pool, write_queue
from delivery.dataset.labeling.slices import Scored, Slice, find_slices
from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation import System
from delivery.settings import find_workspace
from flows import evidence, steps
from flows.environment import prepare
from flows.line import Line, store_of
from flows.results import Rounds
from flows.steps import Step

ROUND = "round"
"""The metadata field that says with which labeling round a row came."""


@dataclass(frozen=True)
class Queued:
    """What ``data queue`` wrote, and the weak slices of the last evaluation."""

    queue: Queue
    slices: tuple[Slice, ...]
    evaluated: str | None
    """The delivery whose evaluation was looked at; None before there was one."""
    jsonl: Path
    csv: Path


@dataclass(frozen=True)
class Added:
    """What ``data add`` took in. ``agreed`` is None for rows that came labeled, not from a queue."""

    path: Path
    rows: int
    round: int
    agreed: Agreed | None
    disagreements: Path | None


def queue(client: str, out: Path, *, size: int) -> Queued:
    """Choose rows of the client's pool to label, and write them as JSON lines and as CSV beside it.

    Raises:
        ConfigError: there is no such client, or it has no pool.
        ClientDataError: rows of the pool or of the data cannot be read.
    """
    line = _line(client)
    if not line.config.data.pool:
        raise ConfigError(f"{client}: data.pool: names no file; give the rows that wait for a label")
    pool = read_unlabeled(line.config.pool_paths())
    splits = line.rows(steps.load_data.on(line)).splits
    evaluated, scored = _last_evaluation(line)
    failures = failures_out_of_fold(splits.train, line.config.use_case)
    chosen = rank_pool(pool, splits, failures, use_case=line.config.use_case, size=size)
    if line.config.data.pii == "redact":
        chosen = replace(chosen, rows=tuple(replace(one, row=_redacted(line, one.row)) for one in chosen.rows))
    jsonl, csv = out.with_suffix(".jsonl"), out.with_suffix(".csv")
    write_queue(chosen, jsonl, csv, line.config.guideline())
    return Queued(chosen, find_slices(scored) if scored else (), evaluated, jsonl, csv)


def add(client: str, source: str) -> Added:
    """Take labels back, or further labeled rows, as the next round of the client's data.

    Rows of a queue are to be trained on: chosen because the model is unsure of them, they would make the test harder than
    the work is. Nothing is added when one row is wrong; the same file twice is one round.

    Raises:
        ClientDataError: a row or label is wrong, or nothing is labeled yet; names file and line.
        ConfigError: there is no such client.
    """
    line = _line(client)
    config = line.config
    agreed = None
    if holds_labels(source):
        labels = read_labels([source], config.use_case)
        agreed = agree(labels, read_unlabeled(config.pool_paths()), use_case=config.use_case)
        examples = tuple(replace(example, split="train") for example in agreed.examples)
    else:
        examples = dataset.load([source], use_case=config.use_case).examples
    if not examples:
        raise ClientDataError(f"{source}: no row is labeled and settled yet; fill in the column label")
    rounds = config.rounds()
    body = _rows_of(examples, config.use_case)
    name = hashlib.sha256(body).hexdigest()[:8]
    known = next((path for path in rounds if path.stem.endswith(name)), None)
    number = _number(known) if known else max(map(_number, rounds), default=0) + 1
    path = known or config.rounds_folder() / f"{number:04d}-{name}.jsonl"
    rows = [{**orjson.loads(row), "metadata": _stamped(row, number)} for row in body.splitlines()]
    if known is None:
        _try_out(line, path, b"".join(orjson.dumps(row) + b"\n" for row in rows))
    disagreements = None
    if agreed is not None and agreed.disagreements:
        disagreements = path.with_suffix(".disagreements.csv")
        write_disagreements(agreed.disagreements, disagreements)
    return Added(path, len(examples), number, agreed, disagreements)


def _try_out(line: Line, path: Path, content: bytes) -> None:
    """Write a round so that it is there only if the client's data can be read with it."""
    trial = path.with_name(f".{path.name}.trial")
    write_atomic(trial, content)
    try:
        dataset.load([*line.config.data_paths(), str(trial)], use_case=line.config.use_case)
        trial.replace(path)
    finally:
        trial.unlink(missing_ok=True)


def _rows_of(examples: tuple[Example, ...], use_case: UseCase) -> bytes:
    """The rows as chat rows, without the use case's own prompt, which is put before them whenever they are read."""
    prompt = Message("system", use_case.system_prompt)
    bare = [replace(e, messages=e.messages[1:] if e.messages[0] == prompt else e.messages) for e in examples]
    return b"".join(orjson.dumps(dataset.to_chat_row(e), option=orjson.OPT_SORT_KEYS) + b"\n" for e in bare)


def _stamped(row: bytes, number: int) -> dict[str, str]:
    return {**orjson.loads(row).get("metadata", {}), ROUND: str(number)}


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[0])


def _redacted(line: Line, row: Unlabeled) -> Unlabeled:
    key = dataset.client_key(line.workspace.client_key(line.config.client))
    redactor = dataset.Redactor(key, line.config.data.identifiers)
    return replace(row, messages=tuple(replace(m, content=redactor.redact(m.content).text) for m in row.messages))


def _last_evaluation(line: Line) -> tuple[str | None, tuple[Scored, ...]]:
    """The candidate's answers in the client's last delivery that reached its end, with what the rows say."""
    repository = store_of(line.workspace).client(line.config.client)
    for row in repository.deliveries():
        done = Line.of_delivery(row.id, line.workspace) if row.state == "done" else None
        stages = {stage.stage: stage.key for stage in repository.stages(row.id)} if done else {}
        if not {"compare", "load_data"} <= stages.keys():
            continue
        suite = line.read(SuiteResult, f"compare/{stages['compare']}")
        candidate = suite.system("candidate")
        version = line.read(DataVersion, f"load_data/{stages['load_data']}")
        rows = {example.id: example for example in line.row_store.read(version.id).splits.test}
        return row.id, _scored(candidate, rows) if candidate is not None else ()
    return None, ()


def _scored(result: SystemResult, rows: dict[str, Example]) -> tuple[Scored, ...]:
    return tuple(
        Scored(
            id=sample.sample_id,
            text=input_text(rows[sample.sample_id].messages),
            expected=sample.expected,
            output=sample.output,
            correct=_share_right(sample),
            metadata=rows[sample.sample_id].metadata,
        )
        for sample in result.samples
        if sample.correct is not None and sample.sample_id in rows
    )


def _share_right(sample: ScoredSample) -> float:
    """A sample's own F1 over its fields; right or wrong where it has none."""
    counted = 2 * sample.tp + sample.fp + sample.fn
    return 2 * sample.tp / counted if counted else float(bool(sample.correct))


@Step
def measure_rounds(line: Line, data: str) -> str:
    """What each labeling round bought: the cheap encoder with and without the round's rows, on the same holdout.

    Nothing is said where a judge decides, as there is no encoder.
    """
    suite = evidence.suite_of(line, data)

    def work(_: Path, __: OnProgress) -> Rounds:
        if suite.judged:
            return Rounds(())
        train = line.rows(data).splits.train
        numbers = sorted({int(row.metadata[ROUND]) for row in train if row.metadata.get(ROUND, "").isdigit()})
        gains: list[RoundGain] = []
        before: SystemResult | None = None
        for number in (0, *numbers) if numbers else ():
            rows = [row for row in train if not row.metadata.get(ROUND, "").isdigit() or int(row.metadata[ROUND]) <= number]
            if not rows:
                continue
            answers = evaluation.encoder_answers(rows, suite)
            result = evidence.score(line, suite, answers, system=System("candidate", "tf-idf + logistic regression"))
            gains.append(_gain(line, suite, number, len(rows), result=result, before=before))
            before = result
        return Rounds(tuple(gains))

    return line.stage("measure_rounds", {"suite": suite.sha256, "data": data}, work)


def _gain(line: Line, suite: Suite, number: int, rows: int, *, result: SystemResult, before: SystemResult | None) -> RoundGain:
    value = result.metrics[suite.primary_metric]
    if before is None:
        return RoundGain(number, rows, value, None)
    earlier = replace(before, system="encoder")
    paired = evaluation.compare(suite, [result, earlier], gates=line.config.evaluation.gates).comparison("candidate", "encoder")
    return RoundGain(number, rows, value, paired)


def _line(client: str) -> Line:
    workspace = find_workspace()
    prepare(workspace)
    return Line(workspace, load_client(workspace.clients, client))
