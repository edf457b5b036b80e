"""`fhir-coprod people`: records that may be the same patient, and a person's word on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, short_ids, stderr, stdout
from fhir_coprod.cli.options import ByOption, ConfigOption, JsonOption
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # loading the store takes time that a command's help need not spend
    from fhir_coprod.sync.people import InDoubt, Word

app = new_app("Records that may be the same patient, and a person's word on them.")

NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PAIR | PATIENT PATIENT",
        help="A pair of the list, or its beginning; or two patients, as Patient/ID here or EHR/ID there.",
    ),
]


@app.command("list")
def list_(
    context: typer.Context,
    asked: Annotated[
        bool, typer.Option("--asked", help="Only those on which an open referral or a plan depends.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Pairs of records that may be one person, side by side; those first on which a referral depends."""
    from fhir_coprod.sync import people

    with existing_store(settings(context, config)) as store, store.connect() as connection:
        found = people.in_doubt(connection, asked_only=asked)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    ids = short_ids(one.id for one in found)
    for one in found:
        stdout.print(_side_by_side(one, ids[one.id]))
    stdout.print(
        f"{len(found)} to decide: fhir-coprod people same PAIR --by NAME, or different"
        if found
        else "no pairs in doubt",
        highlight=False,
    )


def _side_by_side(one: InDoubt, id: str) -> Table:
    depends = "a referral or plan depends on it" if one.asked else "nothing open depends on it"
    title = f"{id}: {shown(one.why)} [dim]({depends})[/]"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for side in one.sides:
        table.add_column(shown(f"{side.record.ehr}/{side.record.id}"), overflow="fold")
    for what, mine, theirs, same in one.rows():
        style = "" if same else "[yellow]"
        end = "" if same else "[/]"
        table.add_row(what, f"{style}{shown(mine)}{end}", f"{style}{shown(theirs)}{end}")
    return table


@app.command("same")
def same(
    context: typer.Context,
    names: NamesArgument,
    by: ByOption,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say that two are the same person: they become one patient here, with everything that refers to them."""
    _say(context, names, "same", by, as_json, config)


@app.command("different")
def different(
    context: typer.Context,
    names: NamesArgument,
    by: ByOption,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say that two are not the same person: they are parted if they were one, and not asked about again."""
    _say(context, names, "different", by, as_json, config)


@app.command("joined")
def joined(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Patients that a sync joined by their numbers; until it is confirmed, nobody sees more than before."""
    from fhir_coprod.store import joins

    with existing_store(settings(context, config)) as store:
        found = store.write(joins.waiting)
    if as_json:
        print_json([{"patient": f"Patient/{a}", "former": f"Patient/{b}"} for a, b in found])
        return
    for patient, former in found:
        stdout.print(f"Patient/{patient} was also Patient/{former}", highlight=False, soft_wrap=True)
    stdout.print(f"{len(found)} to confirm: fhir-coprod people confirm PATIENT --by NAME", highlight=False)


@app.command("confirm")
def confirm(
    context: typer.Context,
    patient: Annotated[str, typer.Argument(metavar="PATIENT", help="Patient/ID of `people joined`.")],
    by: ByOption,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say that a patient whom a sync joined is one person: who knew one of the records sees both then."""
    from fhir_coprod.store import joins

    id = patient.removeprefix("Patient/")
    with existing_store(settings(context, config)) as store:
        former = store.write(lambda t: joins.confirm(t, id, by))
    if as_json:
        print_json({"patient": f"Patient/{id}", "former": [f"Patient/{each}" for each in former], "by": by})
        return
    stdout.print(f"Confirmed. Recorded under the name {shown(by)}.", highlight=False, soft_wrap=True)


def _say(
    context: typer.Context, names: list[str], word: Word, by: str, as_json: bool, config: ConfigOption
) -> None:
    from fhir_coprod.sync import people

    chosen = settings(context, config)
    with existing_store(chosen) as store:
        said = people.decide(store, chosen, names, word, by)
    if as_json:
        print_json(said.to_json())
        return
    done = "Done." if said.carried_out else "Noted; the next sync carries it out."
    stdout.print(f"{done} Recorded under the name {shown(said.by)}.", highlight=False, soft_wrap=True)
    for record in said.alone:
        stderr.print(
            f"{shown(record.ehr)}/{shown(record.id)} is like both; say whose it is (fhir-coprod people list)",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
