"""``data check|add|versions|queue``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from delivery.cli.live import Narration
from delivery.cli.output import Json, emit, say, table

SHOWN = 5
"""Rows that are shown for each finding."""

app = typer.Typer(help="A client's labeled data.", no_args_is_help=True)


@app.command("check", epilog="Example: delivery data check demo-insurer")
def check(
    path_or_client: Annotated[str, typer.Argument(help="A client's name, or a data file.")],
    strict: Annotated[bool, typer.Option(help="Refuse warnings, too.")] = False,
    review: Annotated[Path | None, typer.Option(help="Write the suspect labels, the worst first, to this CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Check labeled data: format, duplicates, leakage, labels, identifiers, power. Exits with 3 when the client has to act."""
    from delivery.errors import ClientDataError
    from flows.preview import check_data, write_review

    with Narration(f"checking {path_or_client}", quiet=as_json) as narration:
        report = check_data(path_or_client, on_progress=narration)
    if review is not None:
        write_review(path_or_client, report, review)
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


@app.command("queue", epilog="Example: delivery data queue acme-bank --out to-label.csv --size 150")
def queue(
    client: Annotated[str, typer.Argument(help="The client's name.")],
    out: Annotated[Path, typer.Option(help="Where to write; JSON lines and a CSV of this name.")],
    size: Annotated[int, typer.Option(help="How many rows.", min=1, max=100_000)] = 150,
    as_json: Json = False,
) -> None:
    """Choose what to label next from the client's pool: unsure rows, rows near failures, spread over the pool."""
    from flows.labeling import queue as choose

    found = choose(client, out, size=size)
    weak = [
        {"kind": s.kind, "name": s.name, "n": s.n, "score": s.score, "rest": s.rest, "q_value": s.q_value} for s in found.slices
    ]
    if as_json:
        files = {"jsonl": str(found.jsonl), "csv": str(found.csv)}
        counts = {
            "rows": len(found.queue.rows),
            "pool": found.queue.pool,
            "labeled_already": found.queue.known,
        }
        emit({"client": client, **files, **counts, "evaluated": found.evaluated, "weak_slices": weak})
        return
    say(f"{len(found.queue.rows)} of {found.queue.pool} rows of the pool: {found.csv} and {found.jsonl}")
    if weak:
        say(f"\nwhere delivery {found.evaluated} was weak on its test rows, which steer nothing:")
        table(
            ("weak slice", "", "rows", "score", "the rest", "q"),
            [
                (s["kind"], s["name"], s["n"], f"{s['score']:.1%}", f"{s['rest']:.1%}", f"{s['q_value']:.3f}")
                for s in weak[:SHOWN]
            ],
        )
    say(f"\nfill in the columns label and labeler, then: delivery data add {client} {found.csv}")


@app.command("add", epilog="Example: delivery data add acme-bank to-label.csv")
def add(
    client: Annotated[str, typer.Argument(help="The client's name.")],
    path: Annotated[str, typer.Argument(help="A queue with labels, or further labeled rows in any format.")],
    as_json: Json = False,
) -> None:
    """Take labels back as the next round of the client's data, with the agreement of several labelers."""
    from flows.labeling import add as take_in

    added = take_in(client, path)
    agreed = added.agreed
    if as_json:
        document: dict[str, Any] = {"client": client, "round": added.round, "rows": added.rows, "path": str(added.path)}
        if agreed is not None:
            document |= {
                "pending": agreed.pending,
                "alpha": agreed.alpha,
                "alpha_by_field": dict(agreed.alpha_by_field),
                "alpha_note": agreed.alpha_note,
                "several_labelers": agreed.overlapping,
                "disagreements": [asdict(one) for one in agreed.disagreements],
            }
        emit(document)
        return
    say(f"{client}: round {added.round} has {added.rows} rows: {added.path}")
    if agreed is None:
        return
    alpha = agreed.alpha_note if agreed.alpha is None else f"{agreed.alpha:.3f} over {agreed.overlapping} rows"
    say(f"agreement of the labelers (Krippendorff's alpha): {alpha}")
    if agreed.pending:
        say(f"{agreed.pending} rows have no label yet")
    for one in agreed.disagreements[:SHOWN]:
        said = "; ".join(f"{who}: {what}" for who, what in one.said)
        say(f"  {one.id}: {said} -> {one.settled or 'left out until it is settled'}")
    if added.disagreements is not None:
        say(f"{len(agreed.disagreements)} rows were labeled differently: {added.disagreements}")
