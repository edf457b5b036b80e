"""`fhir-coprod quality`: what is wrong in the records that are kept although they are not valid."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.common import existing_store, print_json, settings, stderr, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import ConfigError
from fhir_coprod.terminal import shown


def quality(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(help="One EHR, or files for what was loaded or written by clients; all without it."),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--check-again",
            help="First judge these records again: newer rules or code lists may find them sound.",
        ),
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What is wrong in the records of each EHR, by type, rule and element: a list to send to its vendor.

    These records are kept as they came. What cannot be read at all is in `dead-letters`.
    """
    from fhir_coprod.store.recheck import recheck

    chosen = settings(context, config)
    known = [ehr.name for ehr in chosen.ehr]
    with existing_store(chosen) as store:
        if again:
            done = recheck(store)
            stderr.print(f"{done.judged} judged again, {done.sound} of them sound now", highlight=False)
        every = store.faults()
    asked = "" if name == "files" else name
    found = [fault for fault in every if asked is None or fault.ehr == asked]
    if asked and not found and asked not in known:
        raise ConfigError(f"There is no EHR named {asked!r}; known: {', '.join(known) or 'none'}.")
    if json:
        print_json([fault.to_json() for fault in found])
        return
    if not found:
        stdout.print("nothing is wrong in the records", highlight=False)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("ehr", "where", "what is wrong"):
        table.add_column(column, overflow="fold")
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("since", no_wrap=True)
    table.add_column("such as", overflow="fold")
    for fault in found:
        table.add_row(
            fault.ehr or "files",
            shown(fault.element or fault.type),
            shown(f"{fault.message} [{fault.rule}]"),
            str(fault.resources),
            f"{fault.since:%Y-%m-%d}",
            shown(" ".join(f"{fault.type}/{id}" for id in fault.ids)),
        )
    stdout.print(table)
