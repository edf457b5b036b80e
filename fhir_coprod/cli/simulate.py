"""`fhir-coprod simulate`: make a simulated hospital whose stalls are known."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fhir_coprod.cli.common import print_json, stderr, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import readable


def simulate(
    out: Annotated[
        Path, typer.Argument(help="A new folder for NDJSON by type, truth.csv and simulation.toml.")
    ],
    config: ConfigOption = None,
    patients: Annotated[int, typer.Option(help="How many; most have one referral.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same hospital.")] = 1,
    noise: Annotated[
        str, typer.Option(help="What happens to records on the way: clean, usual or bad.")
    ] = "clean",
    until: Annotated[str, typer.Option(help="Last day of the 400 that are simulated.")] = "2026-06-30",
    json: JsonOption = False,
) -> None:
    """Make a hospital that never was, whose referrals stall at published rates, and the truth about each."""
    del config  # every command takes it, but a simulation has no settings
    from fhir_coprod.simulate import writing
    from fhir_coprod.simulate.noise import MODELS

    if noise not in MODELS:
        raise typer.BadParameter(f"there is no noise model {noise!r}; use {', '.join(MODELS)}.")
    try:
        last = date.fromisoformat(until)
    except ValueError:
        raise typer.BadParameter(f"{until!r} is not a date; write 2026-06-30.") from None
    if not 1950 <= last.year <= 2150:
        raise typer.BadParameter(f"{until} is out of reach; name a day between 1950 and 2150.")
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    )
    with bar:
        task = bar.add_task("patients", total=patients)
        counts = writing.write(out, patients, seed, MODELS[noise], last, lambda: bar.advance(task))
    resources = {name: count for name, count in counts.items() if name[0].isupper()}
    stalls = {name: count for name, count in counts.items() if name not in resources}
    if json:
        print_json({"out": str(out), "resources": resources, "stalls": stalls})
        return
    stdout.print(
        f"{sum(resources.values()):,} resources of {patients:,} patients in {readable(out)}; "
        f"{sum(stalls.values()):,} true stalls in {readable(out / 'truth.csv')}.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
