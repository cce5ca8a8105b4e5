"""What a sample holds for its scorer beside ``expected``, checked when the suite is read."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from delivery.artifacts import Scorer
from delivery.documents import Section, describe
from delivery.evaluation.scoring.choices import LETTERS
from delivery.evaluation.scoring.instructions import problem_with

Text = Annotated[str, Field(min_length=1)]


ROLE_PLAY_RUBRIC = (
    "Speaks and acts as this character would, in its voice.",
    "Contradicts nothing that the character's description or the scene says.",
    "Answers what the user has just said, and never speaks as a program or as the user.",
)
"""What is looked at in a role play whose author did not say."""


class Choice(Section):
    """``expected`` is the letter of one of the options."""

    options: tuple[Text, ...] = Field(min_length=1, max_length=len(LETTERS))


class Preference(Section):
    """``expected`` is ``A`` or ``B``, the option that people preferred."""

    options: tuple[str, str]


class QA(Section):
    """``answers`` are accepted beside ``expected``; numbers are compared by value, within ``tolerance`` of it."""

    answers: tuple[Text, ...] = ()
    numeric: bool = False
    tolerance: float = Field(default=0.0, ge=0)


class Instruction(Section):
    """One rule that a program checks, with its arguments."""

    id: str
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Self:
        problem = problem_with(self.id, self.kwargs)
        if problem:
            raise ValueError(problem)
        return self


class Instructions(Section):
    """All the rules that an answer has to follow."""

    instructions: tuple[Instruction, ...] = Field(min_length=1)


class RolePlay(Section):
    """Who is played, where, what the user says turn by turn whatever is answered, and what is looked at."""

    persona: Text
    scene: str = ""
    turns: tuple[Text, ...] = Field(min_length=1)
    rubric: tuple[Text, ...] = Field(min_length=1)


class Nothing(Section):
    """The scorer needs ``expected`` alone."""


REFERENCES: dict[Scorer, type[Section]] = {
    "choice": Choice,
    "preference": Preference,
    "qa": QA,
    "instructions": Instructions,
    "role_play": RolePlay,
}


def checked_reference(scorer: Scorer, reference: dict[str, Any]) -> dict[str, Any]:
    """The reference with its defaults filled in.

    Raises:
        ValueError: a key is missing, unknown or wrong; names it.
    """
    try:
        found = REFERENCES.get(scorer, Nothing).model_validate(reference)
    except ValidationError as error:
        raise ValueError(f"reference: {describe(error)}") from error
    return found.model_dump(mode="json")


def with_options(text: str, options: tuple[str, ...] | list[str]) -> str:
    """A question with its options below it, one a line: ``A. text``."""
    return "\n".join([text, *(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))])
