"""A live view of a delivery's stages, read from the store, so that it is the same wherever the delivery runs."""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.status import Status

    from delivery.artifacts import Progress
    from delivery.store.repository import ClientRepository
    from delivery.store.tables import StageRow

MARKS = {"running": "…", "done": "✓", "reused": "=", "failed": "✗"}


def duration(seconds: float) -> str:
    """Seconds as people read them: 9 s, 1 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def elapsed(stage: StageRow) -> float:
    """Seconds that a stage took, or has taken so far."""
    if stage.state != "running":
        return stage.seconds
    return (datetime.now(UTC) - datetime.fromisoformat(stage.started_at)).total_seconds()


def progress_of(stage: StageRow) -> str:
    """How far a stage is, what remains, and its note."""
    if stage.state != "running" or not stage.total:
        return "from an earlier delivery" if stage.state == "reused" else stage.note
    parts = [f"{stage.done:,} of {stage.total:,} {stage.unit}"]
    if 0 < stage.done < stage.total:
        parts.append(f"{duration(elapsed(stage) / stage.done * (stage.total - stage.done))} left")
    return ", ".join([*parts, stage.note] if stage.note else parts)


class LiveView:
    """Shows the stages while the body of a ``with`` runs: a table in a terminal, plain lines elsewhere, on stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, repository: ClientRepository, delivery_id: str) -> None:
        """Begin to show a delivery."""
        if self._quiet:
            return
        body = self._draw if sys.stderr.isatty() else self._print
        self._thread = threading.Thread(target=body, args=(repository, delivery_id), daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _draw(self, repository: ClientRepository, delivery_id: str) -> None:
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), refresh_per_second=4, transient=False) as live:
            while True:
                stopping = self._stop.wait(0.25)
                live.update(_picture(repository.stages(delivery_id), delivery_id))
                if stopping:
                    return

    def _print(self, repository: ClientRepository, delivery_id: str) -> None:
        shown: dict[str, tuple[str, float]] = {}
        sys.stderr.write(f"delivery {delivery_id}\n")
        while True:
            stopping = self._stop.wait(0.5)
            for stage in repository.stages(delivery_id):
                state, at = shown.get(stage.stage, ("", 0.0))
                if stage.state != state or (stage.state == "running" and time.monotonic() - at > 15):
                    shown[stage.stage] = (stage.state, time.monotonic())
                    sys.stderr.write(f"  {stage.stage}: {stage.state} ({duration(elapsed(stage))}) {progress_of(stage)}\n")
                    sys.stderr.flush()
            if stopping:
                return


def _picture(stages: Sequence[StageRow], delivery_id: str) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    colours = {"running": "cyan", "done": "green", "reused": "green", "failed": "red"}
    grid = Table(box=None, pad_edge=False, show_header=False, title=f"delivery {delivery_id}", title_justify="left")
    for stage in stages:
        colour = colours.get(stage.state, "")
        grid.add_row(
            Text(MARKS.get(stage.state, "?"), style=colour),
            Text(stage.stage.replace("_", " "), style=colour),
            Text(duration(elapsed(stage)), justify="right"),
            Text(progress_of(stage), style="dim"),
        )
    return grid


class Narration:
    """Says on stderr what a command is at: one changing line in a terminal, elsewhere a line every few seconds."""

    EVERY = 5.0

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what, self._quiet = what, quiet
        self._started = self._said = time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> Narration:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status(self._what)
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, progress: Progress) -> None:
        """How far it is."""
        now = time.monotonic()
        left = (now - self._started) / progress.done * (progress.total - progress.done) if progress.done else 0.0
        line = f"{self._what}: {progress.note.replace('_', ' ')} ({progress.done + 1} of {progress.total})"
        line += f", about {duration(left)} left" if left > 1 else ""
        if self._status is not None:
            self._status.update(line)
        elif not self._quiet and now - self._said >= self.EVERY:
            self._said = now
            sys.stderr.write(f"  {line}\n")
