"""What keeping answers costs: 10,000 calls through store and budget, beside the same calls answered in memory.

``milliseconds_per_call``: storing an answer; ``budget_milliseconds_per_call``: reserving and settling it as well.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from delivery.artifacts import Message
from delivery.evaluation import Budget, FakeEndpoint, Request, TokenPrice, collect

CALLS = 10_000


def main() -> int:
    """Print one JSON line."""
    asked = [Request(f"r-{i}", (Message("system", "s" * 400), Message("user", f"question {i} " * 40))) for i in range(CALLS)]
    endpoint = FakeEndpoint({request.sample_id: "an answer of some length " * 8 for request in asked})
    start = time.perf_counter()
    endpoint.answer(asked, max_new_tokens=99, on_answer=lambda _: None)
    bare = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answers.jsonl")
        start = time.perf_counter()
        collect(endpoint, asked, path=path, max_new_tokens=99)
        stored = time.perf_counter() - start
        start = time.perf_counter()
        collect(endpoint, asked, path=path, max_new_tokens=99)
        reading = time.perf_counter() - start
        budget = Budget(Path(folder, "budget"), limit_usd=Decimal(10_000), price=TokenPrice(Decimal(30), Decimal(60)))
        start = time.perf_counter()
        for request in asked:
            held = budget.reserve(request.sample_id, budget.worst(request.messages, 99))
            assert held is not None
            budget.settle(held, Decimal("0.001"))
        budgeted = time.perf_counter() - start
    per_call = 1000 * (stored - bare) / CALLS
    figures = {
        "calls": CALLS,
        "milliseconds_per_call": round(per_call, 3),
        "budget_milliseconds_per_call": round(per_call + 1000 * budgeted / CALLS, 3),
        "seconds_to_read_all": round(reading, 2),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
