"""`fhir-coprod glass`: who has broken the glass, and who has looked at it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, stdout
from fhir_coprod.cli.options import ByOption, ConfigOption, JsonOption
from fhir_coprod.terminal import shown

app = new_app("Who has broken the glass, for whom and why, and who has looked at it.")


@app.command("list")
def list_(
    context: typer.Context,
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Only those that nobody has looked at.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Every time that somebody broke the glass, the newest first."""
    from fhir_coprod.access import glass

    chosen = settings(context, config)
    with existing_store(chosen) as store, store.connect() as connection:
        found = glass.listed(connection, unreviewed=unreviewed)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "when", "who", "patient", "reason", "in their words", "looked at by"):
        table.add_column(heading, overflow="fold")
    for one in found:
        when = f"{one.began.astimezone(chosen.site.zone):%Y-%m-%d %H:%M}"
        said = (one.id, when, one.shown, f"Patient/{one.patient}", one.reason, one.note, one.reviewer)
        table.add_row(*map(shown, said))
    if found:
        stdout.print(table)
    waiting = sum(not one.reviewer for one in found)
    stdout.print(
        f"{len(found)} times, {waiting} to look at: fhir-coprod glass reviewed ID --by NAME", highlight=False
    )


@app.command("reviewed")
def reviewed(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="As `glass list` shows it.")],
    by: ByOption,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Note that you have looked at it; somebody else has to than who broke the glass."""
    from fhir_coprod.access import glass

    with existing_store(settings(context, config)) as store:
        glass.review(store, id, by, datetime.now(UTC))
    if as_json:
        print_json({"id": id, "reviewer": by})
        return
    stdout.print(f"Noted under the name {shown(by)}.", highlight=False, soft_wrap=True)
