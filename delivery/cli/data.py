"""``data check``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from delivery.cli.output import Json, emit, say, table

app = typer.Typer(help="A client's labeled data.", no_args_is_help=True)


@app.command("check", epilog="Example: delivery data check demo-insurer")
def check(
    path_or_client: Annotated[str, typer.Argument(help="A client's name, or a data file.")], as_json: Json = False
) -> None:
    """Check labeled data: format, rows, splits, duplicates, leakage. Exits with 3 when the client has to act first."""
    from delivery.errors import ClientDataError
    from flows.preview import check_data

    report = check_data(path_or_client)
    if as_json:
        emit(asdict(report))
    else:
        splits = ", ".join(f"{n} {side}" for side, n in report.splits.items())
        say(f"{report.rows} rows ({splits}), {report.format}, fingerprint {report.fingerprint[:12]}")
        say("")
        table(
            ("check", "status", "count", "what was found"),
            [(c.name, c.status, c.count, " ".join(filter(None, (c.detail, c.remedy)))) for c in report.checks],
        )
    if report.refused:
        names = ", ".join(c.name for c in report.checks if c.status == "refuse")
        raise ClientDataError(f"{path_or_client}: refused by {names}; see above for what to do")
