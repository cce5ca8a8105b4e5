"""``doctor``: what this machine can do, and what is missing for the rest."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import typer

from delivery.cli.output import Json, emit, table

GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``ok``, ``note`` (works without it) or ``problem``."""

    name: str
    status: str
    detail: str


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(epilog="Example: delivery doctor --json")(doctor)


def doctor(as_json: Json = False) -> None:
    """Look at this machine: Python, cores, memory, disk, accelerator, base model, tools, keys. Exits with 2 on a problem."""
    findings = [*_machine(), *_engine(), *_workspace()]
    if as_json:
        emit({"findings": [asdict(finding) for finding in findings]})
    else:
        table(("", "status", "what was found"), [(f.name, f.status, f.detail) for f in findings])
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(2)


def _machine() -> Iterator[Finding]:
    import psutil

    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("python", "ok" if fits else "problem", version if fits else f"{version}; 3.11 to 3.13 is needed")
    system = platform.system()
    supported = system in ("Linux", "Darwin")
    yield Finding("system", "ok" if supported else "problem", f"{system} {platform.machine()}")
    yield Finding("cores", "ok", f"{os.cpu_count()}")
    memory = psutil.virtual_memory()
    detail = f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB"
    enough = memory.available >= 4 * GIB
    yield Finding("memory", "ok" if enough else "note", detail if enough else f"{detail}; the demo needs up to 4 GiB")


def _engine() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("accelerator", "ok", names)
    else:
        yield Finding("accelerator", "note", "none: training and serving run on the CPU")
    from delivery.training import measure_machine

    machine = measure_machine()
    precision = "bfloat16" if machine.bf16 else "float32 (the processor has no bfloat16 products)"
    yield Finding("matrix rate", "ok", f"{machine.matrix_flops / 1e9:.0f} GFLOP/s in {precision}")
    found = shutil.which("llama-quantize")
    yield Finding("llama-quantize", "ok" if found else "note", found or "not on PATH: K-quants (gguf-q4_k_m) cannot be made")


def _workspace() -> Iterator[Finding]:
    from delivery.errors import ConfigError
    from delivery.settings import find_workspace, get_settings

    settings = get_settings()
    cached = sorted(p.name for p in (settings.cache / "base-models").glob("*") if (p / "manifest.json").is_file())
    yield Finding(
        "base models",
        "ok" if cached else "note",
        ", ".join(cached) or f"none in {settings.cache} yet: the first run fetches one",
    )
    key = settings.openai_api_key is not None
    yield Finding("OPENAI_API_KEY", "ok" if key else "note", "set" if key else "not set: recorded packs or a stand-in answer")
    try:
        workspace = find_workspace()
    except ConfigError as error:
        yield Finding("workspace", "note", str(error))
        return
    free = shutil.disk_usage(workspace.root).free
    detail = f"{workspace.root}, {free / GIB:.1f} GiB free"
    enough = free >= 3 * GIB
    yield Finding("workspace", "ok" if enough else "problem", detail if enough else f"{detail}; a delivery needs about 3 GiB")
