"""``data check|versions``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from delivery.cli.output import Json, emit, say, table

SHOWN = 5
"""Rows that are shown for each finding."""

app = typer.Typer(help="A client's labeled data.", no_args_is_help=True)


@app.command("check", epilog="Example: delivery data check demo-insurer")
def check(
    path_or_client: Annotated[str, typer.Argument(help="A client's name, or a data file.")],
    strict: Annotated[bool, typer.Option(help="Refuse warnings, too.")] = False,
    as_json: Json = False,
) -> None:
    """Check labeled data: format, duplicates, leakage, labels, identifiers, power. Exits with 3 when the client has to act."""
    from delivery.errors import ClientDataError
    from flows.preview import check_data

    report = check_data(path_or_client)
    if as_json:
        emit(asdict(report))
    else:
        splits = ", ".join(f"{n} {side}" for side, n in report.splits.items())
        say(f"{report.rows} rows ({splits or 'not divided'}), {report.format}, fingerprint {report.fingerprint[:12]}")
        say("")
        table(
            ("check", "status", "count", "what was found"),
            [(c.name, c.status, c.count or "", c.detail + (f" -> {c.remedy}" if c.remedy else "")) for c in report.checks],
        )
        for found in report.checks:
            if found.status != "ok" and found.examples:
                say(f"\n{found.name}, the first of {found.count}:")
                for example in found.examples[:SHOWN]:
                    say(f"  {example}")
    refused = [c.name for c in report.checks if c.status == "refuse" or (strict and c.status == "warn")]
    if refused:
        how = "refused by" if report.refused else "refused, as --strict asks, by"
        raise ClientDataError(f"{path_or_client}: {how} {', '.join(refused)}; see above for what to do")


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
