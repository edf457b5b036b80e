"""Options that several commands take; not in `common`, as --help and --version need only these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Settings file; else COPROD_CONFIG, else ./coprod.toml.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say nothing unless something is wrong: one sentence a fault (cron)."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Put the JSON document into this file, whole or not at all; for its owner only.",
    ),
]
AlertArgument = Annotated[str, typer.Argument(help="Id of the alert or of the referral, or its beginning.")]
ByOption = Annotated[str, typer.Option("--by", help="Your name: it is written down.")]
