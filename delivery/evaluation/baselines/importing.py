"""Answers that a baseline gave elsewhere, taken in as a pack of the client."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from delivery.artifacts import BaselinePack, Suite, sha256_file
from delivery.client_config import ParseRule, describe
from delivery.errors import ClientDataError, ConfigError
from delivery.evaluation.baselines.packs import OUTPUTS, PACK, OutputLine, PackFile, Usage, load_pack


@dataclass(frozen=True, slots=True)
class PackSpec:
    """Who answered, when (ISO date) and how it was asked. ``price``: US dollars per million tokens, in and out."""

    model: str
    recorded_on: str
    prompting: str = "zero_shot"
    parse: ParseRule | None = None
    provider: str = ""
    snapshot: str | None = None
    licence: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    prompt_sha256: str | None = None
    price: tuple[Decimal, Decimal] | None = None


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str = Field(min_length=1)
    output: str
    usage: Usage | None = None
    latency_ms: float | None = Field(default=None, ge=0)


class _Numbered(NamedTuple):
    number: int
    line: _Source


def import_pack(client_folder: Path, source: Path, *, spec: PackSpec, suite: Suite, max_errored: float = 0.05) -> BaselinePack:
    """Freeze the answers of ``source`` (JSON lines ``{"id", "output", "usage"?, "latency_ms"?}``) as a pack.

    The pack is named after model, prompting and date, and appears whole or not at all. At most a share ``max_errored``
    of the suite's samples may be missing.

    Raises:
        ClientDataError: a broken line, an id twice or one that the suite does not have (file and line), or too few ids.
        ConfigError: ``spec`` is wrong, or a pack of this name exists.
    """
    described = _describe(spec)
    name = _slug(f"{spec.model}-{spec.prompting}-{spec.recorded_on}")
    folder = client_folder / "baselines" / name
    if folder.exists():
        raise ConfigError(f"{folder}: this pack exists already, and packs do not change; remove it first to import it anew")
    lines = _matched(source, suite)
    missing = [sample.id for sample in suite.samples if sample.id not in lines]
    if len(missing) > max_errored * len(suite.samples):
        raise ClientDataError(
            f"{source}: {len(missing)} of {len(suite.samples)} test rows have no answer (first: id {missing[0]!r}), more than "
            f"evaluation.max_errored={max_errored:g} allows; add them"
        )
    _write(folder, described, [lines[sample.id] for sample in suite.samples if sample.id in lines])
    return load_pack(folder)


def _describe(spec: PackSpec) -> dict[str, Any]:
    document: dict[str, Any] = {
        "source": "recorded",
        "model": spec.model,
        "snapshot": spec.snapshot,
        "provider": spec.provider,
        "recorded_on": spec.recorded_on,
        "prompting": spec.prompting,
        "parameters": spec.parameters,
        "prompt_sha256": spec.prompt_sha256,
        "parse": spec.parse,
        "licence": spec.licence,
        "price_per_million_tokens": spec.price and {"input": str(spec.price[0]), "output": str(spec.price[1])},
        "outputs_sha256": "0" * 64,
    }
    document = {key: value for key, value in document.items() if value not in (None, {}, "")}
    try:
        PackFile.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"the baseline pack cannot be made: {describe(error)}") from error
    return document


def _matched(source: Path, suite: Suite) -> dict[str, OutputLine]:
    inputs = {sample.id: sample.input_sha256 for sample in suite.samples}
    lines: dict[str, OutputLine] = {}
    first: dict[str, int] = {}
    for number, line in _read(source):
        if line.id in first:
            raise ClientDataError(f"{source}:{number}: id: {line.id!r} stands on line {first[line.id]} too; remove one")
        if line.id not in inputs:
            raise ClientDataError(f"{source}:{number}: id: {line.id!r} is none of the {len(inputs)} test rows; remove the line")
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


def _write(folder: Path, document: dict[str, Any], lines: list[OutputLine]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        dumped = [orjson.dumps(line.model_dump(exclude_none=True)) + b"\n" for line in lines]
        _store(partial / OUTPUTS, b"".join(dumped))
        document = {**document, "outputs_sha256": sha256_file(partial / OUTPUTS)}
        _store(partial / PACK, yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode())
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _store(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")
