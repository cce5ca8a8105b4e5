"""10,000 calls of which three in ten go wrong, in seven ways: nothing is lost or paid twice, and the budget holds.

The server runs in a process of its own and counts. ``missing``: samples without an answer; ``paid_twice``: answers that
came whole and were asked for again; ``over_budget_usd``: what was charged beyond what the journal counts as spent.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path

from tests.delivery.evaluation.endpoints.faults import PRICE, FaultServer, ask_all, mixed, questions, right

CALLS = 10_000


def _serve(pipe: Connection) -> None:
    with FaultServer(mixed(0.3, seed=1)) as server:
        pipe.send(server.url)
        pipe.recv()
        twice = sum(times - 1 for times in server.answered.values())
        pipe.send((server.calls, twice, server.charged_usd))


def main() -> int:
    """Print one JSON line."""
    from delivery.evaluation import Budget

    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    server.start()
    url = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        answers = ask_all(url, CALLS, Path(folder))
        seconds = time.perf_counter() - start
        spent = Budget(Path(folder, "budget.jsonl"), limit_usd=Decimal(100), price=PRICE).spending.total
    ours.send("done")
    calls, twice, charged = ours.recv()
    server.join()
    figures = {
        "samples": CALLS,
        "calls": calls,
        "missing": sum(answer.output is None for answer in answers),
        "all_right": right(questions(CALLS), answers),
        "paid_twice": twice,
        "charged_usd": str(charged),
        "counted_as_spent_usd": str(spent),
        "over_budget_usd": str(max(Decimal(0), charged - spent)),
        "seconds": round(seconds, 1),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
