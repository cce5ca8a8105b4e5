"""The command line. Nothing heavy is imported here or in a command's module: only in the body of a command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from delivery.cli import baseline, client, data, doctor, model, report, run
from delivery.cli.output import fail

app = typer.Typer(
    name="delivery",
    help="From a client's labeled data to a measured, quantized, registered model and its report.",
    epilog="Start with: delivery demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from delivery import __version__

        typer.echo(f"delivery {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


run.register(app)
doctor.register(app)
report.register(app)
app.add_typer(client.app, name="client")
app.add_typer(data.app, name="data")
app.add_typer(baseline.app, name="baseline")
app.add_typer(model.app, name="model")


def main() -> None:
    """Run a command: one line for an error, its exit code, and the trace in the log."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(fail(error, as_json="--json" in sys.argv))
