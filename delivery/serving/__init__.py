"""OpenAI-compatible serving of an artifact on this machine, and what load it bears."""

from __future__ import annotations

from collections.abc import Sequence

from delivery.artifacts import Latency, Message, OnProgress, no_progress
from delivery.serving.server import RunningServer, serve

__all__ = ["RunningServer", "measure_load", "serve"]


def measure_load(
    server: RunningServer,
    prompts: Sequence[tuple[Message, ...]],
    *,
    concurrency: int,
    max_new_tokens: int,
    on_progress: OnProgress = no_progress,
) -> Latency:
    """Send every prompt once, ``concurrency`` at a time, and measure (closed loop, streaming, greedy).

    A closed loop sends the next request when one has ended, so latency is that of a server which is always busy with
    ``concurrency`` requests. Time to the first token counts from sending the request to its first piece of text.
    Percentiles are by nearest rank. As many requests as are sent at once go first, with another question, and are not
    counted. Prompts must differ: the server starts from what a slot's last prompt shares with the next, so a prompt that
    is sent twice costs nearly nothing the second time.

    Raises:
        RetryableError: a request failed; no figure is made from the rest.
        ValueError: no prompts, or a concurrency below one.
    """
    from delivery.serving.load import run_closed_loop

    return run_closed_loop(server, prompts, concurrency=concurrency, max_new_tokens=max_new_tokens, on_progress=on_progress)
