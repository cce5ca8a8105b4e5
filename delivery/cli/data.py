"""``data check|versions``."""

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


@app.command("versions", epilog="Example: delivery data versions demo-insurer --diff 1 2")
def versions(
    client: Annotated[str, typer.Argument(help="The client's name.")],
    diff: Annotated[tuple[int, int] | None, typer.Option(help="Name the rows that differ between two versions.")] = None,
    as_json: Json = False,
) -> None:
    """List the versions of a client's rows, what changed with each, and the models that were trained on it."""
    from flows.data import data_diff, data_versions

    if diff is not None:
        found = data_diff(client, *diff)
        if as_json:
            emit({"client": client, "older": diff[0], "newer": diff[1], **found})
        else:
            for kind, ids in found.items():
                say(f"{kind} ({len(ids)}): {', '.join(ids[:20])}{', …' if len(ids) > 20 else ''}")
        return
    listed = data_versions(client)
    if as_json:
        emit({"client": client, "versions": listed})
    elif listed:
        rows = [
            (
                v["number"],
                v["created_at"][:16],
                v["rows"],
                ", ".join(f"{n} {side.replace('_', ' ')}" for side, n in v["sides"].items() if n),
                ", ".join(f"{n} {kind}" for kind, n in v["changes"].items() if n),
                ", ".join(map(str, v["models"])) or ("" if v["delivered"] else "only looked at"),
                v["fingerprint"][:12],
            )
            for v in listed
        ]
        table(("version", "made", "rows", "sides", "changes", "models", "fingerprint"), rows)
    else:
        say(f"{client} has no data versions yet: 'delivery data check {client}' makes one")
