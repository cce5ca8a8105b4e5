"""Makes formats one after another, each whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from delivery.artifacts import (
    Artifact,
    BaseModel,
    OnProgress,
    Progress,
    describe_folder,
    sha256_file,
    sha256_json,
    verify_artifact,
    write_atomic,
)
from delivery.client_config import Format
from delivery.errors import ConfigError
from delivery.quantization.plan import SOURCE, ModelSize, predicted_bytes, production_order

MANIFEST = "manifest.json"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Job:
    """What one format is made of: the base, the adapter's folder (None: the base as it is), and its source's folder."""

    base: BaseModel
    adapter: Path | None
    source: Path


def _adapter(job: Job, out: Path) -> None:
    if job.adapter is None:
        raise ConfigError("an untuned base model has no adapter to ship: leave the format adapter out")
    out.mkdir()
    for name in ADAPTER_FILES:
        shutil.copyfile(job.adapter / name, out / name)


def _merged(job: Job, out: Path) -> None:
    from delivery.weights.hf import merge

    if job.adapter is None:
        shutil.copytree(job.source, out, ignore=shutil.ignore_patterns(MANIFEST, ".*"))
    else:
        merge(job.base, job.adapter, out)


def _nf4(job: Job, out: Path) -> None:
    from delivery.quantization.hf import quantize_nf4

    quantize_nf4(job.source, out)


def _gguf(job: Job, out: Path) -> None:
    from delivery.quantization.gguf import convert_q8_0

    convert_q8_0(job.source, out, model_name=job.base.name)


MAKERS: dict[Format, Callable[[Job, Path], None]] = {"adapter": _adapter, "merged": _merged, "nf4": _nf4, "gguf-q8_0": _gguf}


def make_formats(
    formats: Sequence[Format], *, base: BaseModel, adapter: Artifact | None, out: Path, on_progress: OnProgress
) -> tuple[Artifact, ...]:
    """See ``delivery.quantization.quantize``."""
    if adapter is not None:
        verify_artifact(adapter)
    trained = None if adapter is None else {name: adapter.files.get(name) for name in ADAPTER_FILES}
    made_from = sha256_json({"base": base.sha256, "adapter": trained})
    order = production_order(formats, tuned=adapter is not None)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):
        for left in out.glob(".staging-*"):
            shutil.rmtree(left, ignore_errors=True)
        done = {format: found for format in order if (found := _complete(format, out / format, made_from)) is not None}
        missing = [format for format in order if format not in done]
        sizes = _predicted(missing, base, adapter)
        _require_space(out, sizes)
        for position, format in enumerate(missing):
            on_progress(Progress(position, len(missing), "formats", format))
            job = _job(format, base, adapter, out)
            # A name of its own: a converter that outlived a killed run may still write under the old one.
            with _one_line_when_full(out, sizes[format]), TemporaryDirectory(prefix=".staging-", dir=out) as staging:
                partial = Path(staging, format)
                MAKERS[format](job, partial)
                done[format] = _publish(format, partial, out / format, made_from)
            on_progress(Progress(position + 1, len(missing), "formats", format))
    return tuple(done[format] for format in formats)


def _job(format: Format, base: BaseModel, adapter: Artifact | None, out: Path) -> Job:
    source = SOURCE[format]
    if adapter is None:
        return Job(base, adapter=None, source=Path(base.path))
    return Job(base, adapter=Path(adapter.path), source=out / source if source else Path(adapter.path))


def _predicted(formats: Sequence[Format], base: BaseModel, adapter: Artifact | None) -> dict[Format, int]:
    size = _model_size(base)
    return {f: predicted_bytes(f, model=size, adapter_bytes=adapter.bytes if adapter else 0) for f in formats}


def _complete(format: Format, folder: Path, made_from: str) -> Artifact | None:
    """The format in a folder when its manifest is of this adapter and every file is as it says, else None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files: dict[str, str] = manifest["files"]
        if (manifest["format"], manifest["made_from"]) != (format, made_from):
            return None
        if any(sha256_file(folder / name) != expected for name, expected in files.items()):
            return None
        return describe_folder(format, folder, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _publish(format: Format, partial: Path, folder: Path, made_from: str) -> Artifact:
    """Write the manifest, bring everything to disk, and give the folder its name in one step."""
    made = describe_folder(format, partial)
    manifest = {"format": format, "made_from": made_from, "files": made.files}
    write_atomic(partial / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True).encode())
    for name in made.files:
        _sync(partial / name)
    _sync(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    _sync(folder.parent)
    return Artifact(format=format, path=str(folder), bytes=made.bytes, sha256=made.sha256, files=made.files)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _model_size(base: BaseModel) -> ModelSize:
    try:
        config = json.loads(Path(base.path, "config.json").read_bytes())
        embedding = int(config["vocab_size"]) * int(config["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError):
        # Some architectures nest these: everything then counts at the larger width.
        return ModelSize(base.parameters, base.parameters)
    copies = 1 if config.get("tie_word_embeddings") else 2
    return ModelSize(base.parameters, min(base.parameters, embedding * copies))


def _require_space(out: Path, sizes: dict[Format, int]) -> None:
    needed, free = sum(sizes.values()), shutil.disk_usage(out).free
    if needed > free:
        names = ", ".join(sizes)
        raise ConfigError(
            f"{out}: {needed / 2**20:.0f} MiB are needed for {names}, but {free / 2**20:.0f} MiB are free; "
            "free some space, or ask for fewer artifacts in client.yaml"
        )


@contextmanager
def _one_line_when_full(out: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise ConfigError(
            f"{out}: the disk is full; {needed / 2**20:.0f} MiB are needed here: free some space and run 'delivery resume'"
        ) from error


def _is_disk_full(error: Exception) -> bool:
    """Whether the disk is full. safetensors and the converter say so in words only."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT))
