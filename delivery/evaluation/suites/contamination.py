"""A suite's score on the samples that the training rows do not hold, beside its score on all.

Which samples they hold is found by the data stage, which knows the rows: ``asked_texts`` here, ``dataset.held_by_rows`` there,
and with the ids ``without`` and ``restricted`` here again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from delivery.artifacts import Sample, Suite, SystemResult
from delivery.evaluation.suites.freezing import frozen
from delivery.evaluation.suites.references import with_options
from delivery.evaluation.system import System


def asked_texts(suite: Suite) -> tuple[str, ...]:
    """What each sample asks, in their order: the user's words without options, or a role play's persona and scene."""
    return tuple(_asked(sample, sample.scorer or suite.scorer) for sample in suite.samples)


def without(suite: Suite, contaminated: Collection[str]) -> Suite:
    """The suite without the samples of these ids; it may have none left."""
    return frozen(
        replace(suite, samples=tuple(one for one in suite.samples if one.id not in contaminated)), part_of=suite.sha256
    )


def restricted(result: SystemResult, suite: Suite) -> SystemResult:
    """A system's result on the samples that ``suite`` holds, from its outcomes; tokens and seconds stay those of all.

    Raises:
        EvalIncompleteError: it has an outcome of none of them.
    """
    from delivery.evaluation.scoring import metrics

    ids = {sample.id for sample in suite.samples}
    system = System(result.system, result.model, result.artifact, result.source, result.prompting, result.note)
    found = metrics.summarise(suite, [one for one in result.samples if one.sample_id in ids], system=system)
    return replace(
        found,
        prompt_tokens=result.prompt_tokens,
        completion_tokens=result.completion_tokens,
        seconds=result.seconds,
        requests=result.requests,
        pack_sha256=result.pack_sha256,
    )


def _asked(sample: Sample, scorer: str) -> str:
    if scorer == "role_play":
        return f"{sample.reference['persona']}\n{sample.reference['scene']}".strip()
    text = "\n".join(message.content for message in sample.messages if message.role != "system")
    return text.removesuffix(with_options("", sample.reference["options"])) if scorer == "choice" else text
