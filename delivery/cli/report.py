"""``report``: the evidence of a delivery, in the format that the reader wants."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from delivery.cli.output import Json, emit, say

FILES = {"html": "report.html", "json": "report.json", "csv": "samples.csv"}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(epilog="Example: delivery report demo-insurer --format html --out report.html")(report)


def report(
    client: Annotated[str, typer.Argument(help="The client's name.")],
    delivery: Annotated[str | None, typer.Option(help="The delivery's id; the newest one with a report by default.")] = None,
    format: Annotated[str, typer.Option(help="html | json | csv")] = "html",
    out: Annotated[Path | None, typer.Option(help="Copy it to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Say where a report lies, or copy it."""
    from delivery.client_config import load_client
    from delivery.errors import ConfigError
    from delivery.settings import find_workspace
    from flows.line import store_of

    if format not in FILES:
        raise ConfigError(f"--format: {format!r} is none of {', '.join(FILES)}")
    workspace = find_workspace()
    load_client(workspace.clients, client)
    reports = store_of(workspace).client(client).reports()
    wanted = next((row for row in reports if delivery in (None, row.delivery_id)), None)
    if wanted is None:
        which = f"delivery {delivery}" if delivery else "a finished delivery"
        raise ConfigError(f"{client}: there is no report of {which}; 'delivery status {client}' lists what ran")
    source = Path(wanted.folder) / FILES[format]
    if not source.is_file():
        raise ConfigError(f"{source}: is gone; 'delivery run {client}' makes a new report from what is kept")
    target = source
    if out is not None:
        target = out / source.name if out.is_dir() else out
        partial = target.with_name(f".{target.name}.partial")
        try:
            shutil.copyfile(source, partial)
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise ConfigError(f"--out: {target} cannot be written ({error.strerror})") from error
    if as_json:
        emit({"client": client, "delivery": wanted.delivery_id, "format": format, "path": str(target.resolve())})
    else:
        say(str(target))
