"""`fhir-coprod dead-letters`: records that could not be taken in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, stdout
from fhir_coprod.cli.options import ByOption, ConfigOption, JsonOption
from fhir_coprod.errors import plain
from fhir_coprod.terminal import shown

dead_letters_app = new_app("Records that could not be taken in.")


# --- dead letters ---------------------------------------------------------------------------------


@dead_letters_app.command("list")
def dead_letters_list(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are dismissed, resolved or superseded.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Records that could not be taken in, in the order received."""
    from fhir_coprod.sync import dead_letters

    table = Table(box=None, pad_edge=False)
    for column in ("id", "ehr", "where", "received", "state", "reason"):
        table.add_column(column)
    with existing_store(settings(context, config)) as store, store.connect() as connection:
        found = dead_letters.read(connection, all=everything)
        if as_json:
            print_json([one.to_json() for one in found])
            return
        for one in found:
            received = one.received.strftime("%Y-%m-%d %H:%M")
            by = f" by {shown(one.dismissed_by)}" if one.state == "dismissed" else ""
            where = one.ehr or "files", shown(one.position)
            table.add_row(str(one.id), *where, received, one.state + by, shown(one.reason))
    stdout.print(table if table.row_count else "no dead letters")


@dead_letters_app.command("show")
def dead_letters_show(
    context: typer.Context,
    id: Annotated[int, typer.Argument(help="As in `dead-letters list`.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """One dead letter with its reason and the bytes as they came (which may hold personal data)."""
    from fhir_coprod.sync import dead_letters

    with existing_store(settings(context, config)) as store, store.connect() as connection:
        one = dead_letters.read_one(connection, id)
    if as_json:
        print_json(one.to_json(body=True))
        return
    head = f"{one.id}: {one.ehr or 'files'}, {one.position}, {one.state}"
    stdout.print(plain(head), style="bold", markup=False, highlight=False, soft_wrap=True)
    for issue in one.outcome["issue"]:
        place = f"{issue['expression'][0]}: " if issue.get("expression") else ""
        text = f"{issue['severity']}: {place}{issue['diagnostics']}"
        stdout.print(plain(text), markup=False, highlight=False, soft_wrap=True)
    sys.stdout.flush()
    if sys.stdout.isatty():
        for line in one.body.decode(errors="replace").splitlines():
            stdout.print(plain(line), markup=False, highlight=False, soft_wrap=True)
        return
    sys.stdout.buffer.write(one.body + b"\n")
    sys.stdout.buffer.flush()


@dead_letters_app.command("replay")
def dead_letters_replay(
    context: typer.Context,
    ids: Annotated[
        list[int] | None, typer.Argument(help="Their ids; all open ones when none is named.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try again to take in dead letters, in the order received."""
    from fhir_coprod.sync import dead_letters

    chosen = settings(context, config)
    with existing_store(chosen) as store:
        found = dead_letters.replay(store, chosen, ids or ())
    if as_json:
        print_json([one.to_json() for one in found])
    elif not found:
        stdout.print("no open dead letters")
    else:
        for one in found:
            reason = f": {one.reason}" if one.state == "open" else ""
            stdout.print(
                plain(f"{one.id}: {one.state}{reason}"), markup=False, highlight=False, soft_wrap=True
            )
    if any(one.state == "open" for one in found):
        raise typer.Exit(1)


@dead_letters_app.command("dismiss")
def dead_letters_dismiss(
    context: typer.Context,
    ids: Annotated[list[int], typer.Argument(help="As in `dead-letters list`.")],
    by: ByOption,
    because: Annotated[str, typer.Option("--because", help="Why: it is written down.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Put dead letters aside: later runs do not count them as faults.

    What they hold is still not seen, and the watch goes on saying so. If the record arrives with other
    content, that is a new dead letter.
    """
    from fhir_coprod.sync import dead_letters

    with existing_store(settings(context, config)) as store:
        found = dead_letters.dismiss(store, ids, by, because)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    for one in found:
        stdout.print(f"{one.id}: {one.state}", markup=False, highlight=False)
