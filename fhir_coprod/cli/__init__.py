"""The command `fhir-coprod`.

Exit codes: 0 done, 1 done with faults, 2 wrong use or cannot start. An error is one sentence on stderr.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from fhir_coprod.cli import db, demo, serve, sync
from fhir_coprod.cli.common import ConfigOption, stderr
from fhir_coprod.errors import CoprodError

app = typer.Typer(
    name="fhir-coprod",
    help="The shared part of care, beside the EHRs: profiles, endpoint, sync, and a watch over referrals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(db.app, name="db")
app.command()(demo.demo)
app.command()(serve.serve)
app.command()(sync.sync)
app.add_typer(sync.ehr_app, name="ehr")
app.add_typer(sync.dead_letters_app, name="dead-letters")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("fhir-coprod"))
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: ConfigOption = None,
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    context.obj = {"config": config}


def main() -> None:
    """Entry point: a CoprodError becomes one sentence on stderr and its exit code."""
    try:
        app()
    except CoprodError as error:
        stderr.print(f"fhir-coprod: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        stderr.print("fhir-coprod: interrupted")
        sys.exit(130)
