"""Answers that a baseline gave elsewhere, taken in as a pack of the client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from delivery.artifacts import BaselinePack, Suite
from delivery.documents import describe
from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation.baselines.freezing import PackSpec, freeze_pack, pack_folder
from delivery.evaluation.baselines.packs import OutputLine, Usage, asked_of


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str = Field(min_length=1)
    output: str
    usage: Usage | None = None
    latency_ms: float | None = Field(default=None, ge=0)


class _Numbered(NamedTuple):
    number: int
    line: _Source


def import_pack(
    client_folder: Path,
    source: Path,
    *,
    spec: PackSpec,
    suite: Suite,
    validation: Suite | None = None,
    max_errored: float = 0.05,
) -> BaselinePack:
    """Freeze the answers of ``source`` (JSON lines ``{"id", "output", "usage"?, "latency_ms"?}``) as a pack.

    Ids are those of the samples; of a role play, which is asked turn by turn, ``<sample>#0``, ``<sample>#1`` and so on.

    The pack is named after model, prompting and date, and appears whole or not at all. At most a share ``max_errored``
    of the suite's samples may be missing. Answers to samples of ``validation`` are taken, too, for the choice of a prompt.

    Raises:
        ClientDataError: a broken line, an id twice or one that no sample has (file and line), or too few ids.
        ConfigError: ``spec`` is wrong, or a pack of this name exists.
    """
    folder = pack_folder(client_folder, spec)
    if folder.exists():
        raise ConfigError(f"{folder}: this pack exists already, and packs do not change; remove it first to import it anew")
    asked, others = asked_of(suite.samples), asked_of(validation.samples if validation is not None else ())
    lines = _matched(source, asked, others, turns=suite.scorer == "role_play")
    missing = [name for name in asked if name not in lines]
    if len(missing) > max_errored * len(asked):
        rows = "turns" if suite.scorer == "role_play" else "test rows"
        raise ClientDataError(
            f"{source}: {len(missing)} of {len(asked)} {rows} have no answer (first: id {missing[0]!r}), more than "
            f"evaluation.max_errored={max_errored:g} allows; add them"
        )
    return freeze_pack(client_folder, spec, [lines[name] for name in (*asked, *others) if name in lines])


def _matched(source: Path, test: Mapping[str, str], validation: Mapping[str, str], *, turns: bool) -> dict[str, OutputLine]:
    inputs = {**validation, **test}
    lines: dict[str, OutputLine] = {}
    first: dict[str, int] = {}
    for number, line in _read(source):
        if line.id in first:
            raise ClientDataError(f"{source}:{number}: id: {line.id!r} stands on line {first[line.id]} too; remove one")
        if line.id not in inputs:
            what = "turns of test rows, each named ROW#0, ROW#1 and so on" if turns else "test rows"
            rows = f"{len(test)} {what}" + (f" or {len(validation)} validation rows" if validation else "")
            raise ClientDataError(f"{source}:{number}: id: {line.id!r} is none of the {rows}; remove the line")
        first[line.id] = number
        lines[line.id] = OutputLine(
            id=line.id, input_sha256=inputs[line.id], output=line.output, usage=line.usage, latency_ms=line.latency_ms
        )
    return lines


def _read(source: Path) -> Iterator[_Numbered]:
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ClientDataError(f"{source}: cannot be read ({error.strerror or error})") from error
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            yield _Numbered(number, _Source.model_validate(orjson.loads(raw)))
        except orjson.JSONDecodeError as error:
            raise ClientDataError(f"{source}:{number}: is no JSON ({error}); correct the line") from None
        except ValidationError as error:
            raise ClientDataError(f"{source}:{number}: {describe(error)}; correct the line") from error
