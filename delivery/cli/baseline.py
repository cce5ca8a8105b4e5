"""``baseline import|list|verify``: frozen answers of the model to beat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delivery.cli.output import Json, emit, say, table

if TYPE_CHECKING:
    from delivery.artifacts import BaselinePack

app = typer.Typer(help="Recorded and published answers of the model to beat.", no_args_is_help=True)
Slug = Annotated[str, typer.Argument(help="The client's name.")]


def _document(pack: BaselinePack) -> dict[str, Any]:
    return {
        "name": pack.name,
        "model": pack.model,
        "source": pack.source,
        "recorded_on": pack.recorded_on,
        "prompting": pack.prompting,
        "parse": pack.parse,
        "answers": len(pack.outputs),
        "score": pack.score,
        "n": pack.n,
        "sha256": pack.sha256,
        "path": pack.path,
    }


@app.command("import", epilog="Example: delivery baseline import acme gpt4.jsonl --model gpt-4 --recorded-on 2023-07-06")
def import_(
    client: Slug,
    file: Annotated[Path, typer.Argument(help='One {"id", "output"} a line; ids are the samples\' own.')],
    model: Annotated[str, typer.Option(help="The model that answered, such as gpt-4.")],
    recorded_on: Annotated[str, typer.Option(help="The day of the answers, YYYY-MM-DD.")],
    prompting: Annotated[str, typer.Option(help="zero_shot | few_shot | retrieval_few_shot")] = "zero_shot",
    parse: Annotated[str | None, typer.Option(help="exact | first_word | first_label | json; the client's by default.")] = None,
    as_json: Json = False,
) -> None:
    """Freeze a file of recorded answers as a baseline pack, checked against the client's holdout."""
    from typing import get_args

    from delivery.client_config import ParseRule
    from delivery.errors import ConfigError
    from delivery.evaluation import PackSpec
    from delivery.settings import find_workspace
    from flows.preview import import_baseline

    rule = next((known for known in get_args(ParseRule) if known == parse), None)
    if parse is not None and rule is None:
        raise ConfigError(f"--parse: {parse!r} is none of {', '.join(get_args(ParseRule))}")
    spec = PackSpec(model=model, recorded_on=recorded_on, prompting=prompting, parse=rule)
    pack = import_baseline(find_workspace(), client, file, spec=spec)
    if as_json:
        emit(_document(pack))
    else:
        say(f"{pack.path}: {len(pack.outputs)} answers of {pack.model}, recorded on {pack.recorded_on}")


@app.command("list", epilog="Example: delivery baseline list acme")
def list_all(client: Slug, as_json: Json = False) -> None:
    """List a client's baseline packs."""
    from delivery.client_config import load_client
    from delivery.evaluation import PackProblem, list_packs
    from delivery.settings import find_workspace

    found = list_packs(load_client(find_workspace().clients, client).folder)
    packs = [p._asdict() if isinstance(p, PackProblem) else {**_document(p), "problem": None} for p in found]
    if as_json:
        emit({"packs": packs})
    elif packs:
        columns = ("name", "model", "source", "recorded_on", "prompting", "answers", "score", "problem")
        table([column.replace("_", " ") for column in columns], [[p.get(column) for column in columns] for p in packs])
    else:
        say(f"{client} has no baseline pack: a local stand-in will answer, and the report will say so")


@app.command("verify", epilog="Example: delivery baseline verify acme")
def verify(client: Slug, as_json: Json = False) -> None:
    """Check every pack's hash, and its inputs against the client's holdout."""
    from delivery.settings import find_workspace
    from flows.preview import verify_baselines

    found = verify_baselines(find_workspace(), client)
    if as_json:
        emit({"packs": found})
    elif found:
        table(("pack", "recorded", "missing"), [(f["name"], f["recorded"], f["missing"]) for f in found])
    else:
        say(f"{client} has no baseline pack")
