"""A pack is written whole or not at all, and never changed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import ValidationError

from delivery.artifacts import BaselinePack, sha256_file
from delivery.client_config import ParseRule
from delivery.documents import describe
from delivery.errors import ConfigError
from delivery.evaluation.baselines.packs import OUTPUTS, PACK, OutputLine, PackFile, load_pack


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

    @property
    def name(self) -> str:
        """The folder of the pack: model, prompting and date."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.model}-{self.prompting}-{self.recorded_on}".casefold()).strip("-")


def pack_folder(client_folder: Path, spec: PackSpec) -> Path:
    """Where the pack of a specification lies.

    Raises:
        ConfigError: the specification is wrong.
    """
    _describe(spec)
    return client_folder / "baselines" / spec.name


def freeze_pack(client_folder: Path, spec: PackSpec, lines: Sequence[OutputLine]) -> BaselinePack:
    """Write the pack. Where the same answers are frozen under its name already, that pack is returned.

    Raises:
        ConfigError: ``spec`` is wrong, or another pack of this name exists.
    """
    document, folder = _describe(spec), pack_folder(client_folder, spec)
    content = b"".join(orjson.dumps(line.model_dump(exclude_none=True)) + b"\n" for line in lines)
    if folder.exists():
        if (folder / OUTPUTS).is_file() and (folder / OUTPUTS).read_bytes() == content:
            return load_pack(folder)
        raise ConfigError(f"{folder}: this pack exists already, and packs do not change; remove it first to make it anew")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _store(partial / OUTPUTS, content)
        document = {**document, "outputs_sha256": sha256_file(partial / OUTPUTS)}
        _store(partial / PACK, yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode())
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
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


def _store(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
