"""``python -m delivery.training.nursery``: imports what training needs once, then starts an attempt for each order.

Imports are most of what a start takes. An attempt is forked, and shares them; one that ends, however it ends, takes
nothing with it. Where there is an accelerator, which does not survive a fork, an attempt is an interpreter of its own.
Several processes are torchrun's: its agent starts them, joins them with other nodes, and ends all when one ends.

Orders come as JSON lines on standard input. It ends with its input, so with the process that gives the orders, or when
none has come for a while; an attempt that runs then is asked to save and leave.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# What is imported stays: collections would look at its million objects again and again, a tenth of the time, and find nothing.
gc.disable()

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: E402
from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: E402

from delivery.training import worker  # noqa: E402

gc.freeze()
gc.enable()

_IDLE_SECONDS = 30.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt: the job's file, where a trace goes, and the processes to start here and elsewhere."""

    job: str
    log: str
    device: str
    processes: int
    nodes: int = 1
    rendezvous: str = ""


def main(arguments: list[str]) -> int:
    """Serve orders; with an order as argument, be that attempt."""
    # The pipe to the parent is ours alone: whatever a library prints goes to the log.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if arguments:
        return _attempt(Order(**json.loads(arguments[0])), os.getppid(), out)
    running: list[int] = []

    def forward(number: int, _: object) -> None:
        if not running:
            sys.exit(0)
        os.kill(running[0], number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while line := _next_line():
        parent = os.getpid()
        # Who asks it to stop between the two lines would ask nobody.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            os._exit(_child(Order(**json.loads(line)), line, parent, out))
        running.append(child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        code = _wait(child)
        running.clear()
        worker.write_line(out, {"ended": code})
    return 0


def _next_line() -> str:
    ready, _, _ = select.select([0], [], [], _IDLE_SECONDS)
    return sys.stdin.readline() if ready else ""


def _wait(child: int) -> int:
    """The code that an attempt ends with, negative for a signal."""
    asked = False
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        # No order comes while an attempt runs: readable is closed.
        if not asked and select.select([0], [], [], 0)[0]:
            asked = True
            os.kill(child, signal.SIGTERM)
        time.sleep(_LOOK_SECONDS)


def _child(order: Order, line: str, parent: int, out: IO[str]) -> int:
    try:
        if order.device == "cpu":
            return _attempt(order, parent, out)
        os.dup2(out.fileno(), 1)
        os.execv(sys.executable, [sys.executable, "-m", "delivery.training.nursery", line])
    except BaseException as error:
        worker.write_line(out, {"crash": f"{type(error).__name__}: {error}"})
    return 1


def _attempt(order: Order, parent: int, out: IO[str]) -> int:
    log = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 2)
    os.dup2(log, 1)
    if order.processes * order.nodes == 1:
        return worker.attempt(order.job, parent, out.fileno())
    worker.follow(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        elastic_launch(_torchrun(order), worker.attempt_or_raise)(order.job, os.getpid(), out.fileno())
    except ChildFailedError as failed:
        codes = [failure.exitcode for failure in failed.failures.values()]
        return 128 + signal.SIGKILL if -signal.SIGKILL in codes else 1
    return 0


def _torchrun(order: Order) -> LaunchConfig:
    options: dict[str, Any] = {"rdzv_endpoint": order.rendezvous or "localhost:0", "rdzv_backend": "c10d"}
    return LaunchConfig(
        min_nodes=order.nodes,
        max_nodes=order.nodes,
        nproc_per_node=order.processes,
        # Nodes that are to meet need one name; alone, a name of our own keeps strangers out.
        run_id=Path(order.job).parent.name if order.nodes > 1 else f"{Path(order.job).parent.name}-{os.getpid()}",
        # Restarts are the supervisor's: it knows what went wrong and what to change.
        max_restarts=0,
        local_addr=None if order.nodes > 1 else "127.0.0.1",
        start_method="fork" if order.device == "cpu" else "spawn",
        **options,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
