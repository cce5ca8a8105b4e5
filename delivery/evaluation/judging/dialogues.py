"""Role play: a system speaks as a persona in a scene, turn by turn, with its own earlier replies in its context.

The user's turns are the suite's own, the same for every system, so that systems are compared on the same words: these
dialogues are what counts. ``simulate`` has another model speak as the user instead; how a system fares there also depends on
where the conversation went, so it stands beside and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from delivery.artifacts import Answer, Message, OnProgress, Progress, Sample, no_progress
from delivery.errors import ClientDataError
from delivery.evaluation.endpoints.endpoint import Endpoint, Request, collect

_ROLE = "Speak as the character described here and stay in that role. Answer the user's last message in a few sentences."
_USER = """Someone plays a character, and you are the person who talks with that character. Write your next message to it: one \
or two sentences, in your own voice, and nothing else. Never speak for the character."""
_BEGIN = "The conversation begins. Write your first message."


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user said and what the system replied."""

    user: str
    reply: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A played sample. With ``error`` it broke off after the turns that it has."""

    sample_id: str
    turns: tuple[Turn, ...] = ()
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The dialogue as one text."""
        return "\n\n".join(f"user: {turn.user}\n\ncharacter: {turn.reply}" for turn in self.turns)

    @property
    def answer(self) -> Answer:
        """The dialogue as a system's answer to its sample, with what all turns took together."""
        return Answer(
            self.sample_id,
            None if self.error is not None else self.text,
            error=self.error,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            seconds=self.seconds,
            requests=len(self.turns),
        )


class Scene(NamedTuple):
    """What a role play sample's ``reference`` holds; persona and scene as text."""

    persona: str
    scene: str
    turns: tuple[str, ...]
    rubric: tuple[str, ...]


def scene_of(sample: Sample) -> Scene:
    """A sample's persona, scene, frozen turns of the user and rubric.

    Raises:
        ClientDataError: one of them is missing or of another shape; names the sample and the field.
    """
    reference = sample.reference
    return Scene(
        persona=_text(sample, "persona"),
        scene=_text(sample, "scene") if reference.get("scene") else "",
        turns=_texts(sample, "turns"),
        rubric=_texts(sample, "rubric"),
    )


def play(
    endpoint: Endpoint,
    samples: Sequence[Sample],
    *,
    path: Path,
    max_new_tokens: int,
    on_progress: OnProgress = no_progress,
    offline: bool | None = None,
) -> tuple[Dialogue, ...]:
    """Every sample played with its frozen turns, in the order of the samples. All dialogues take a turn together.

    Replies are kept in ``path`` as they come, under ``<sample>#<turn>``, so a killed call goes on where it stopped;
    ``offline`` as for ``collect``. A dialogue whose reply failed goes no further and has an error.

    Raises:
        ClientDataError: a sample is no role play.
        ConfigError, RetryableError: from the endpoint; replies given before are kept.
    """
    scenes = {sample.id: scene_of(sample) for sample in samples}

    def speak(turn: int, going: Sequence[_Going]) -> list[_Said]:
        return [_Said(scenes[one.dialogue.sample_id].turns[turn], None) for one in going]

    asking = _Asking(endpoint, path, max_new_tokens, offline)
    return _play(asking, samples, speak, on_progress=on_progress)


def simulate(
    endpoint: Endpoint,
    user: Endpoint,
    samples: Sequence[Sample],
    *,
    folder: Path,
    max_new_tokens: int,
    on_progress: OnProgress = no_progress,
) -> tuple[Dialogue, ...]:
    """Every sample played with ``user`` in the user's place: as many turns as are frozen, of which the first is kept.

    Replies and the user's turns are kept in two files under ``folder``. Errors as for ``play``.
    """
    scenes = {sample.id: scene_of(sample) for sample in samples}

    def speak(turn: int, going: Sequence[_Going]) -> list[_Said]:
        if turn == 0:
            return [_Said(scenes[one.dialogue.sample_id].turns[0], None) for one in going]
        requests = []
        for one in going:
            name, scene = one.dialogue.sample_id, scenes[one.dialogue.sample_id]
            about = _described(_USER, scene, persona="The character")
            mirrored = [
                message
                for turn_taken in one.dialogue.turns
                for message in (Message("assistant", turn_taken.user), Message("user", turn_taken.reply))
            ]
            # Some chat templates refuse a conversation that the assistant begins.
            opening = (Message("system", about), Message("user", _BEGIN))
            requests.append(Request(f"{name}#{turn}#user", (*opening, *mirrored)))
        answers = collect(user, requests, path=folder / "user.jsonl", max_new_tokens=max_new_tokens)
        return [_Said(answer.output or "", answer.error and f"the simulated user: {answer.error}") for answer in answers]

    asking = _Asking(endpoint, folder / "replies.jsonl", max_new_tokens, None)
    return _play(asking, samples, speak, on_progress=on_progress)


def turn_id(sample_id: str, turn: int) -> str:
    """What the reply to a turn (counted from 0) is stored and recorded under."""
    return f"{sample_id}#{turn}"


def requests_of(sample: Sample, dialogue: Dialogue) -> tuple[Request, ...]:
    """What was asked at each turn that a dialogue with frozen turns has."""
    opening, messages = _opening(sample, scene_of(sample)), [Message("user", turn.user) for turn in dialogue.turns]
    replies = [Message("assistant", turn.reply) for turn in dialogue.turns]
    taken = [part for turn in zip(messages, replies, strict=True) for part in turn]
    return tuple(Request(turn_id(sample.id, turn), (opening, *taken[: 2 * turn + 1])) for turn in range(len(messages)))


def constant(samples: Sequence[Sample], reply: str) -> tuple[Dialogue, ...]:
    """Dialogues in which one and the same reply follows every frozen turn."""
    return tuple(Dialogue(sample.id, tuple(Turn(user, reply) for user in scene_of(sample).turns)) for sample in samples)


class _Said(NamedTuple):
    text: str
    error: str | None


@dataclass(slots=True)
class _Going:
    opening: Message
    turns: int
    dialogue: Dialogue
    messages: list[Message] = field(default_factory=list)


_Speak = Callable[[int, Sequence[_Going]], Sequence[_Said]]


class _Asking(NamedTuple):
    endpoint: Endpoint
    path: Path
    max_new_tokens: int
    offline: bool | None


def _play(asking: _Asking, samples: Sequence[Sample], speak: _Speak, *, on_progress: OnProgress) -> tuple[Dialogue, ...]:
    all_of_them = []
    for sample in samples:
        scene = scene_of(sample)
        all_of_them.append(_Going(_opening(sample, scene), len(scene.turns), Dialogue(sample.id)))
    total, before = sum(one.turns for one in all_of_them), 0
    for turn in range(max((one.turns for one in all_of_them), default=0)):
        going = [one for one in all_of_them if turn < one.turns and one.dialogue.error is None]
        for one, said in zip(going, speak(turn, going), strict=True):
            if said.error is not None:
                one.dialogue = replace(one.dialogue, error=said.error)
            else:
                one.messages.append(Message("user", said.text))
        going = [one for one in going if one.dialogue.error is None]
        requests = [Request(turn_id(one.dialogue.sample_id, turn), (one.opening, *one.messages)) for one in going]

        def progress(done: Progress, before: int = before) -> None:
            on_progress(Progress(before + done.done, total, "turns"))

        answers = collect(
            asking.endpoint,
            requests,
            path=asking.path,
            max_new_tokens=asking.max_new_tokens,
            on_progress=progress,
            offline=asking.offline,
        )
        for one, answer in zip(going, answers, strict=True):
            _take(one, answer, turn)
        before += len(going)
    return tuple(one.dialogue for one in all_of_them)


def _take(one: _Going, answer: Answer, turn: int) -> None:
    if answer.output is None:
        one.dialogue = replace(one.dialogue, error=f"turn {turn + 1}: {answer.error}")
        return
    said = one.messages[-1].content
    one.messages.append(Message("assistant", answer.output))
    one.dialogue = replace(
        one.dialogue,
        turns=(*one.dialogue.turns, Turn(said, answer.output)),
        prompt_tokens=one.dialogue.prompt_tokens + (answer.prompt_tokens or 0),
        completion_tokens=one.dialogue.completion_tokens + (answer.completion_tokens or 0),
        seconds=one.dialogue.seconds + (answer.seconds or 0.0),
    )


def _opening(sample: Sample, scene: Scene) -> Message:
    given = "\n\n".join(message.content for message in sample.messages if message.role == "system")
    # A loader may have put the persona into the system prompt already.
    return Message("system", given if scene.persona in given else _described(given or _ROLE, scene, persona="You are"))


def _described(before: str, scene: Scene, *, persona: str) -> str:
    parts = [before, f"{persona}: {scene.persona}", f"The scene: {scene.scene}" if scene.scene else ""]
    return "\n\n".join(part for part in parts if part)


def _text(sample: Sample, name: str) -> str:
    value: Any = sample.reference.get(name)
    if isinstance(value, Mapping):
        value = "\n".join(f"{key}: {each}" for key, each in value.items())
    if not isinstance(value, str) or not value.strip():
        raise ClientDataError(f"sample {sample.id!r}: reference.{name}: must be a text or keys and values; write it")
    return value


def _texts(sample: Sample, name: str) -> tuple[str, ...]:
    value = sample.reference.get(name)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(one, str) and one.strip() for one in value):
        raise ClientDataError(f"sample {sample.id!r}: reference.{name}: must be a list of texts, at least one; write it")
    return tuple(value)
