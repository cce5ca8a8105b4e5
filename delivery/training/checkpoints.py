"""Checkpoints that are whole or are not there: a manifest of hashes is written last, then the folder is renamed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from delivery.artifacts import sha256_file

_MANIFEST = "manifest.json"
_KEPT = 2


def commit(partial: Path, final: Path) -> None:
    """Make a written folder durable under its final name, and drop all but the newest checkpoints."""
    names = sorted(p.name for p in partial.iterdir())
    manifest = partial / _MANIFEST
    manifest.write_text(json.dumps({name: sha256_file(partial / name) for name in names}), encoding="utf-8")
    flush(partial)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    flush(final.parent, recurse=False)
    for old in _by_age(final.parent)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint; anything torn or half-written is removed on the way."""
    if not folder.is_dir():
        return None
    for stray in folder.iterdir():
        if stray.name.startswith("."):
            shutil.rmtree(stray, ignore_errors=True)
    for checkpoint in reversed(_by_age(folder)):
        if _is_whole(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def flush(folder: Path, *, recurse: bool = True) -> None:
    """Force a folder's entries, and by default its files' contents, to disk."""
    for path in [*(folder.iterdir() if recurse else ()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_whole(checkpoint: Path) -> bool:
    try:
        hashes = json.loads((checkpoint / _MANIFEST).read_bytes())
        return bool(hashes) and all(sha256_file(checkpoint / name) == sha256 for name, sha256 in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _by_age(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("checkpoint-")))
