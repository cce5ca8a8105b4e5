"""``client new|list|show|erase``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from delivery.cli.output import Json, emit, say, table

app = typer.Typer(help="The clients of this workspace.", no_args_is_help=True)


@app.command("new", epilog="Example: delivery client new acme-bank --vertical finance")
def new(
    slug: Annotated[str, typer.Argument(help="The client's name: lower-case letters, digits, hyphens.")],
    vertical: Annotated[str, typer.Option(help="games | education | sales | finance | insurance | other")],
    as_json: Json = False,
) -> None:
    """Scaffold a client from the template."""
    from typing import get_args

    from delivery.client_config import SLUG, Vertical, load_client
    from delivery.errors import ConfigError
    from delivery.settings import Workspace, bundled, find_workspace

    if not SLUG.fullmatch(slug) or len(slug) > 63:
        raise ConfigError(f"{slug!r}: a client's name has lower-case letters, digits and single hyphens, at most 63")
    if vertical not in get_args(Vertical):
        raise ConfigError(f"--vertical: {vertical!r} is none of {', '.join(get_args(Vertical))}")
    try:
        workspace = find_workspace()
    except ConfigError:
        workspace = Workspace(Path.cwd())
    folder = workspace.clients / slug
    if folder.exists():
        raise ConfigError(f"{folder}: is there already")
    partial = workspace.clients / f".{slug}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(bundled("clients", "_template"), partial)
    for path in (partial / "client.yaml", partial / "README.md"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("__CLIENT__", slug).replace("__VERTICAL__", vertical), encoding="utf-8")
    partial.rename(folder)
    load_client(workspace.clients, slug)
    if as_json:
        emit({"client": slug, "vertical": vertical, "folder": str(folder)})
        return
    say(f"{folder}: now edit client.yaml, put the labeled rows into data/, and run 'delivery data check {slug}'")


@app.command("list", epilog="Example: delivery client list")
def list_all(as_json: Json = False) -> None:
    """List the clients, with what is wrong where a client.yaml is."""
    from delivery.client_config import list_clients, load_client
    from delivery.errors import ConfigError
    from delivery.settings import find_workspace

    workspace = find_workspace()
    rows = []
    for slug in list_clients(workspace.clients):
        try:
            config = load_client(workspace.clients, slug)
            rows.append({"client": slug, "vertical": config.vertical, "use_case": config.use_case.name, "problem": None})
        except ConfigError as error:
            rows.append({"client": slug, "vertical": None, "use_case": None, "problem": str(error)})
    if as_json:
        emit({"clients": rows})
    elif rows:
        table(("client", "vertical", "use case", "problem"), [tuple(row.values()) for row in rows])
    else:
        say("no clients yet: 'delivery client new SLUG --vertical V' makes one")


@app.command("show", epilog="Example: delivery client show demo-insurer")
def show(slug: Annotated[str, typer.Argument(help="The client's name.")], as_json: Json = False) -> None:
    """Show a client's whole configuration, defaults included."""
    from delivery.client_config import load_client
    from delivery.settings import find_workspace

    config = load_client(find_workspace().clients, slug).model_dump(mode="json", by_alias=True)
    if as_json:
        emit(config)
        return
    import yaml

    say(yaml.safe_dump(config, sort_keys=False, allow_unicode=True).rstrip())


@app.command("erase", epilog="Example: delivery client erase acme-bank --yes")
def erase(
    slug: Annotated[str, typer.Argument(help="The client's name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this, only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a client's rows and all that came of them, and list the models that were trained on them."""
    from dataclasses import asdict

    from flows.erase import erase as take_away
    from flows.erase import preview_erasure

    found = take_away(slug) if yes else preview_erasure(slug)
    if as_json:
        emit({"erased": yes, **asdict(found)})
        return
    said = "removed" if yes else "would be removed"
    say(f"{slug}: {len(found.removed)} files and folders {said}" + (":" if found.removed else ""))
    for path in found.removed:
        say(f"  {path}")
    if found.models:
        say(f"\nmodels trained on these rows, {said} here; copies that were delivered are with their holders:")
        table(
            ("version", "delivery", "made", "shipped", "SHA-256"),
            [(m.number, m.delivery, m.created_at, m.shipped, m.sha256[:16]) for m in found.models],
        )
    for path in found.elsewhere:
        say(f"not removed, because it lies outside the client's folder: {path}")
    if not yes:
        say(f"nothing has been removed yet: 'delivery client erase {slug} --yes' does it, for good")
