"""`fhir-coprod demo`: show the main job on an invented hospital."""

from __future__ import annotations

from typing import Annotated

import typer

from fhir_coprod.cli.common import stderr, stdout
from fhir_coprod.cli.options import ConfigOption


def demo(
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Print the stalled referrals and end.")] = False,
    port: Annotated[int, typer.Option(help="Port of endpoint and pages.", min=0, max=65535)] = 8000,
) -> None:
    """An invented hospital: three departments synced, watched, printed; then served on port 8000."""
    del config  # every command takes it, but the demo uses its own settings and touches nothing of yours
    from fhir_coprod.demo.run import run

    run(once=once, port=port, stdout=stdout, stderr=stderr)
