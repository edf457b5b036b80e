"""What every command shares: settings, the store, JSON on stdout, words on stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fhir_coprod import jsontext
from fhir_coprod.settings import Settings

stdout = Console()
"""Results for a person."""
stderr = Console(stderr=True)
"""Logs, progress and errors; never results."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Settings file; else COPROD_CONFIG, else ./coprod.toml.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]


def settings(context: typer.Context, config: Path | None) -> Settings:
    """The settings; --config may stand before or after the command."""
    return Settings.load(config or (context.find_root().obj or {}).get("config"))


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.buffer.write(jsontext.encode(document) + b"\n")
    sys.stdout.buffer.flush()
