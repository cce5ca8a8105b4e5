"""Which prompt is the baseline's strongest, decided on validation rows so that the test rows have no say in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from delivery.artifacts import Answer, BaselinePack, Suite
from delivery.client_config import ParseRule
from delivery.evaluation.scoring.scorers import score
from delivery.evaluation.system import System


@dataclass(frozen=True, slots=True)
class Holdout:
    """The rows that decide (``test``), and those that choose between prompts, where there are any."""

    test: Suite
    validation: Suite | None


class Contest(NamedTuple):
    """The primary metric of each contestant on the ``n`` validation samples that all of them answered."""

    n: int
    values: dict[str, float]

    def ranked(self, names: Sequence[str]) -> list[str]:
        """The strongest first; of equals, and of those that took no part, in the order given."""
        return sorted(names, key=lambda name: -self.values.get(name, -1.0))


def contest(
    validation: Suite | None, answers: Mapping[str, Sequence[Answer]], parse: Mapping[str, ParseRule | None] | None = None
) -> Contest:
    """Score contestants by name on the samples that all of them answered. Without two of them there is nothing to decide.

    ``parse``: the rule of those whose prompt asked for another form of answer than the suite's.
    """
    if validation is None or len(answers) < 2:
        return Contest(0, {})
    given = {name: {a.sample_id: a for a in said if a.output is not None} for name, said in answers.items()}
    common = tuple(s for s in validation.samples if all(s.id in said for said in given.values()))
    if not common:
        return Contest(0, {})
    from delivery.evaluation.scoring.metrics import summarise

    part = replace(validation, samples=common)
    values = {}
    for name, said in given.items():
        scored = score(part, [said[sample.id] for sample in common], parse=(parse or {}).get(name))
        values[name] = summarise(part, scored, system=System("baseline", name)).metrics[part.primary_metric].value
    return Contest(len(common), values)


def contest_of_packs(validation: Suite | None, packs: Sequence[BaselinePack]) -> Contest:
    """The same for packs by name. One without answers to the validation rows, as they are now, takes no part."""
    if validation is None:
        return Contest(0, {})
    answers = {pack.name: said for pack in packs if (said := _validation_answers(pack, validation))}
    return contest(validation, answers, {pack.name: pack.parse for pack in packs})


def _validation_answers(pack: BaselinePack, validation: Suite) -> list[Answer]:
    found = [(sample, pack.outputs.get(sample.id)) for sample in validation.samples]
    return [Answer(sample.id, said[1]) for sample, said in found if said is not None and said[0] == sample.input_sha256]
