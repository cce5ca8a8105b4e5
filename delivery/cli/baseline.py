"""``baseline record|import|list|verify``: frozen answers of the model to beat."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delivery.cli.live import Narration
from delivery.cli.output import Json, emit, say, table

if TYPE_CHECKING:
    from delivery.artifacts import BaselinePack

app = typer.Typer(help="Answers of the model to beat: recorded, imported or published.", no_args_is_help=True)
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


@app.command("record", epilog="Example: delivery baseline record acme")
def record(client: Slug, as_json: Json = False) -> None:
    """Ask the live model (OPENAI_API_KEY, OPENAI_BASE_URL) with every prompt of client.yaml, within baseline.budget_usd, and
    freeze what it answers. Run it again after an interruption: no answer is paid for twice.
    """
    from delivery.settings import find_workspace
    from flows.packs import record_baseline

    with Narration(f"asking the baseline of {client}", quiet=as_json) as narration:
        found = record_baseline(find_workspace(), client, on_progress=narration)
    if as_json:
        emit(found)
        return
    values = found["validation"]["values"]
    if values:
        standing = ", ".join(f"{name} {100 * value:.1f} %" for name, value in values.items())
        say(f"on {found['validation']['n']} validation rows: {standing}")
    say(f"frozen: {', '.join(found['packs'])} (the first is the strongest prompt)")
    say(f"spent ${found['spent_usd']} of ${found['budget_usd']}")
    for line in (found["missing"] and f"not recorded: {found['missing']}", found["notice"]):
        if line:
            say(line)


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
    from flows.packs import import_baseline

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
    from flows.live import sale_notice

    found = list_packs(load_client(find_workspace().clients, client).folder)
    today = datetime.now(UTC).date()
    packs = [
        {**p._asdict(), "notice": ""}
        if isinstance(p, PackProblem)
        else {**_document(p), "notice": sale_notice(p.model, today), "problem": None}
        for p in found
    ]
    if as_json:
        emit({"packs": packs})
    elif packs:
        columns = ("name", "model", "source", "recorded_on", "prompting", "answers", "score", "notice", "problem")
        table([column.replace("_", " ") for column in columns], [[p.get(column) for column in columns] for p in packs])
    else:
        say(f"{client} has no baseline pack: a local stand-in will answer, and the report will say so")


@app.command("verify", epilog="Example: delivery baseline verify acme")
def verify(client: Slug, as_json: Json = False) -> None:
    """Check every pack's hash, and its inputs against the client's holdout."""
    from delivery.settings import find_workspace
    from flows.packs import verify_baselines

    found = verify_baselines(find_workspace(), client)
    if as_json:
        emit({"packs": found})
    elif found:
        columns = ("name", "recorded", "missing", "validation", "notice")
        table(("pack", *columns[1:]), [[f[column] for column in columns] for f in found])
    else:
        say(f"{client} has no baseline pack")
