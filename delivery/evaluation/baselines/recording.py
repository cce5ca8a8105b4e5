"""Ask the model to beat, now, with every prompt, and freeze what it answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from delivery.artifacts import Answer, BaselinePack, OnProgress, Progress, Sample, no_progress, sha256_json
from delivery.client_config import Prompting
from delivery.errors import BudgetReached, EvalIncompleteError
from delivery.evaluation.baselines.choosing import Contest, Holdout, contest
from delivery.evaluation.baselines.freezing import PackSpec, freeze_pack
from delivery.evaluation.baselines.packs import OutputLine, Usage, asked_of
from delivery.evaluation.baselines.prompting import Prompt
from delivery.evaluation.endpoints.endpoint import NAMED, NOTHING, Endpoint, Request, collect, key_of
from delivery.evaluation.endpoints.store import read_answers
from delivery.evaluation.judging.dialogues import play, requests_of


@dataclass(frozen=True, slots=True)
class Asking:
    """How answers are asked for: ``path`` is their store, ``max_errored`` the share of a side's rows that may fail."""

    path: Path
    max_new_tokens: int
    max_errored: float = 0.05
    on_progress: OnProgress = no_progress


class Recording(NamedTuple):
    """The packs, the strongest prompt's first, with what was seen on the validation rows.

    ``missing`` says why other prompts have no pack; empty where all have one.
    """

    packs: tuple[BaselinePack, ...]
    contest: Contest
    missing: str


def record_packs(
    client_folder: Path,
    endpoint: Endpoint,
    *,
    prompts: Mapping[Prompting, Prompt],
    holdout: Holdout,
    spec: PackSpec,
    asking: Asking,
) -> Recording:
    """Answers to the validation rows with every prompt, then to the test rows with the strongest, then with the others.

    What was answered stays in the store, so a call after an interruption goes on from there. Packs are written at the end
    and hold test and validation rows. Their date is the day of the last answer, their snapshot what the endpoint named.

    Raises:
        BudgetReached: before the strongest prompt has all its answers.
        EvalIncompleteError: more than ``max_errored`` of a side's rows have no answer.
        ConfigError, RetryableError: from the endpoint; or a pack of this name holds other answers.
    """
    recorder = _Recorder(endpoint, prompts, asking, holdout)
    validation = {prompting: recorder.ask(prompting, recorder.validation) for prompting in prompts if recorder.validation}
    found = contest(holdout.validation, {str(name): answers for name, answers in validation.items()})
    test: dict[Prompting, tuple[Answer, ...]] = {}
    missing = ""
    for prompting in sorted(prompts, key=found.ranked(list(prompts)).index):
        try:
            test[prompting] = recorder.ask(prompting, holdout.test.samples)
        except BudgetReached as reached:
            if not test:
                raise
            missing = f"{', '.join(name for name in prompts if name not in test)}: {reached}"
            break
    packs = []
    for prompting, answers in test.items():
        everything = [*answers, *validation.get(prompting, ())]
        packs.append(freeze_pack(client_folder, recorder.describe(spec, prompting, everything), recorder.lines(everything)))
    return Recording(tuple(packs), found, missing)


class _Recorder:
    def __init__(self, endpoint: Endpoint, prompts: Mapping[Prompting, Prompt], asking: Asking, holdout: Holdout) -> None:
        self._endpoint, self._prompts, self._asking = endpoint, prompts, asking
        several = len(prompts) > 1 and holdout.validation is not None
        self.validation: Sequence[Sample] = holdout.validation.samples if several and holdout.validation else ()
        # A validation row that has the id of a test row would take its place.
        ids = {sample.id for sample in holdout.test.samples}
        self.validation = [sample for sample in self.validation if sample.id not in ids]
        self._inputs = asked_of((*self.validation, *holdout.test.samples))
        self._plays = holdout.test.scorer == "role_play"
        self._asked: dict[Prompting, dict[str, Request]] = {prompting: {} for prompting in prompts}
        self._done, self._total = 0, len(prompts) * len(self._inputs)

    def ask(self, prompting: Prompting, samples: Sequence[Sample]) -> tuple[Answer, ...]:
        """All samples with one prompt."""
        asking, done = self._asking, self._done

        def shown(progress: Progress) -> None:
            asking.on_progress(Progress(done + progress.done, self._total, progress.unit, prompting))

        requests = self._played(samples, shown) if self._plays else [self._prompts[prompting](sample) for sample in samples]
        self._asked[prompting] |= {request.sample_id: request for request in requests}
        given = collect(self._endpoint, requests, path=asking.path, max_new_tokens=asking.max_new_tokens, on_progress=shown)
        by_id = {answer.sample_id: answer for answer in given}
        answers = tuple(by_id.get(name) or Answer(name, None, error=NOTHING) for name in asked_of(samples))
        self._done += len(answers)
        failed = [answer for answer in answers if answer.output is None]
        if len(failed) > asking.max_errored * len(answers):
            ((reason, _),) = Counter(answer.error for answer in failed).most_common(1)
            named = ", ".join(answer.sample_id for answer in failed[:NAMED])
            raise EvalIncompleteError(
                f"{prompting}: {len(failed)} of {len(answers)} rows have no answer (first {named}), more "
                f"than evaluation.max_errored={asking.max_errored:g} allows; most often: {reason}; run it again to ask for them"
            )
        return answers

    def _played(self, samples: Sequence[Sample], shown: OnProgress) -> list[Request]:
        """What a role play asks: at every turn also what was replied before."""
        asking = self._asking
        played = play(self._endpoint, samples, path=asking.path, max_new_tokens=asking.max_new_tokens, on_progress=shown)
        return [request for sample, one in zip(samples, played, strict=True) for request in requests_of(sample, one)]

    def describe(self, spec: PackSpec, prompting: Prompting, answers: Sequence[Answer]) -> PackSpec:
        """The specification of one prompt's pack."""
        known = self._asked[prompting]
        asked = [known[answer.sample_id] for answer in answers if answer.sample_id in known]
        stored = read_answers(self._asking.path)
        keys = [key_of(self._endpoint.name, request, self._asking.max_new_tokens) for request in asked]
        days = [stored[key].at[:10] for key in keys if key in stored]
        snapshots = sorted({answer.model for answer in answers if answer.model})
        return replace(
            spec,
            prompting=prompting,
            recorded_on=max(days, default=spec.recorded_on),
            snapshot=", ".join(snapshots) or None,
            prompt_sha256=sha256_json(asked),
        )

    def lines(self, answers: Sequence[Answer]) -> list[OutputLine]:
        """What the pack holds: every answer that came."""
        return [self._line(answer, answer.output) for answer in answers if answer.output is not None]

    def _line(self, answer: Answer, output: str) -> OutputLine:
        asked, said = answer.prompt_tokens, answer.completion_tokens
        counted = asked is not None and said is not None
        return OutputLine(
            id=answer.sample_id,
            input_sha256=self._inputs[answer.sample_id],
            output=output,
            usage=Usage(prompt_tokens=asked or 0, completion_tokens=said or 0) if counted else None,
            latency_ms=round(answer.seconds * 1000, 1) if answer.seconds is not None else None,
        )
