"""``model list|promote|rollback``: which version is in service."""

from __future__ import annotations

from typing import Annotated

import typer

from delivery.cli.output import Json, emit, say, table

app = typer.Typer(help="A client's model versions, and which one is in service.", no_args_is_help=True)
Slug = Annotated[str, typer.Argument(help="The client's name.")]


@app.command("list", epilog="Example: delivery model list demo-insurer")
def list_all(client: Slug, as_json: Json = False) -> None:
    """List the versions with their aliases and what was decided about each."""
    from flows.versions import versions

    found = versions(client)
    if as_json:
        emit({"versions": found})
    elif found:
        rows = [(v["number"], ", ".join(v["aliases"]), v["delivery"], v["shipped"], v["decision"]) for v in found]
        table(("version", "aliases", "delivery", "shipped", "decision"), rows)
    else:
        say(f"{client} has no versions yet: 'delivery run {client}' makes one")


@app.command("promote", epilog="Example: delivery model promote demo-insurer 2")
def promote(
    client: Slug,
    number: Annotated[int, typer.Argument(help="The version, as 'delivery model list' shows it.", min=1)],
    override: Annotated[str | None, typer.Option(help="Promote against the gates, for this reason.")] = None,
    as_json: Json = False,
) -> None:
    """Put a version into service as champion. Exits with 4 when its gates were not passed and no reason overrides them."""
    from flows.versions import promote as put_into_service

    before = put_into_service(client, number, override=override)
    if as_json:
        emit({"client": client, "champion": number, "before": before})
    else:
        say(f"{client}: version {number} is champion" + (f"; before it was version {before}" if before else ""))


@app.command("rollback", epilog="Example: delivery model rollback demo-insurer")
def rollback(client: Slug, as_json: Json = False) -> None:
    """Put the champion before this one back into service."""
    from flows.versions import rollback as put_back

    number = put_back(client)
    if as_json:
        emit({"client": client, "champion": number})
    else:
        say(f"{client}: version {number} is champion again")
