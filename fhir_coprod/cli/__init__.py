"""The command `fhir-coprod`.

Exit codes: 0 done, 1 done with faults, 2 wrong use or cannot start. An error is one sentence on stderr.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from fhir_coprod import faults, stopping
from fhir_coprod.cli.commands import AllCommands, new_app
from fhir_coprod.cli.options import ConfigOption
from fhir_coprod.errors import ConfigError, CoprodError

app = new_app(
    "The shared part of care, beside the EHRs: profiles, endpoint, sync, and a watch over referrals.",
    AllCommands,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

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
    """Entry point: whatever goes wrong is one sentence on stderr and an exit code, never a traceback."""
    _make_streams_safe()
    try:
        with stopping.interrupted_by_sigterm() as told:
            _run(told)
    except CoprodError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        from fhir_coprod.cli.common import abandon_output

        abandon_output()
        sys.exit(1)
    except Exception as error:
        if os.environ.get("COPROD_TRACEBACK"):
            raise
        _say(
            f"{faults.said(error)} With COPROD_TRACEBACK=1 the same command prints everything, "
            "which may include personal data."
        )
        sys.exit(1)


def _run(told: list[int]) -> None:
    """Run the command; if a signal ends it, say so and end with 128 and the signal's number."""
    _refuse_odd_options()
    try:
        app()
    except (KeyboardInterrupt, SystemExit) as ended:  # Typer makes the one into the other, with code 130
        if isinstance(ended, SystemExit) and ended.code != 128 + signal.SIGINT:
            raise
        code = 128 + (signal.SIGTERM if told else signal.SIGINT)
        stopping.end_in_time(code)  # threads may still be at work
        _say("stopped before it was done." if told else "interrupted.")
        sys.exit(code)


def _refuse_odd_options() -> None:
    """The parser repeats an option that it does not know, and file names may look like one."""
    options = takewhile(lambda argument: argument != "--", sys.argv[1:])
    if any(one.startswith("-") and not one.partition("=")[0].isprintable() for one in options):
        raise ConfigError(
            "An option holds characters that none of ours has. If it is a file's name, write ./ before it."
        )


def _make_streams_safe() -> None:
    """Print `?` for characters that a bare locale (cron) lacks, and do not fail if output is closed."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as we run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _say(sentence: str) -> None:
    from fhir_coprod.cli.common import say

    say(f"fhir-coprod: {sentence}", style="red")
