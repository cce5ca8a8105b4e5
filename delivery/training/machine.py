"""Engine on torch: what this machine is and how fast it multiplies."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from delivery.artifacts import Machine
from delivery.settings import get_settings
from delivery.weights.hf import native_dtype

_SIZE = 2048


def measure(seconds: float = 1.0) -> Machine:
    """This machine, with the rate of a 2048-cubed matrix product in the training precision (about ``seconds``)."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = native_dtype()
    threads = available_threads()
    with _threads(threads):
        rate = matrix_rate(dtype, device=device, seconds=seconds)
    memory = int(torch.cuda.mem_get_info()[0]) if device == "cuda" else _available_memory()
    return Machine(device=device, threads=threads, memory_bytes=memory, bf16=dtype == torch.bfloat16, matrix_flops=rate)


def matrix_rate(dtype: torch.dtype, *, device: str, seconds: float = 1.0) -> float:
    """Floating-point operations per second of a 2048-cubed product: the fastest quarter over about ``seconds``.

    What the machine can do, not what it is left with while something else runs for a moment.
    """
    # A generator of its own: measuring must not move the state that training draws from.
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(_SIZE, _SIZE, generator=draw).to(device, dtype) for _ in range(2))
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < until:
        started = time.perf_counter()
        torch.nn.functional.linear(left, right)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2.0 * _SIZE**3 / statistics.quantiles(times, n=4)[0]


def available_threads() -> int:
    """CPU threads to use: the configured number, else the cores that this process may use, a container's limit included."""
    configured = get_settings().threads
    if configured is not None:
        return configured
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _control_group("cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def _available_memory() -> int:
    free = psutil.virtual_memory().available
    limit, used = _control_group("memory.max"), _control_group("memory.current")
    return min(free, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else free


def _control_group(name: str) -> str:
    with suppress(OSError):
        return Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
    return ""


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
