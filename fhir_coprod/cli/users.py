"""`fhir-coprod users`: the people who have a role and a department, or are signed in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, stderr, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.terminal import shown

app = new_app("The people who have a role and a department, or are signed in.")

WhoArgument = Annotated[
    str,
    typer.Argument(
        metavar="WHO",
        help="ISSUER|SUBJECT, or the subject alone at the provider of the settings; the page of a person "
        "without a role shows it.",
    ),
]


@app.command("list")
def list_(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Who was given which role in which department, and who is signed in at present."""
    from fhir_coprod.access import grants, sessions
    from fhir_coprod.instants import instant

    chosen, now = settings(context, config), datetime.now(UTC)
    with existing_store(chosen) as store, store.connect() as connection:
        given = grants.everybody(connection)
        present = sessions.present(connection, now)
    if as_json:
        print_json(
            {
                "grants": [each.to_json() for each in given],
                "signed_in": [{**each, "since": instant(each["since"])} for each in present],
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("who", "role", "department", "until"):
        table.add_column(heading, overflow="fold")
    zone = chosen.site.zone
    for each in given:
        over = "" if each.holds(now) else "[yellow]over since[/] "
        until = f"{over}{each.until.astimezone(zone):%Y-%m-%d %H:%M}" if each.until else "taken back"
        table.add_row(shown(each.name), shown(each.role), shown(each.department), until)
    if given:
        stdout.print(table)
    for one in present:
        at = one["since"].astimezone(zone)
        stdout.print(
            f"signed in since {at:%Y-%m-%d %H:%M}: {shown(one['shown'])}, {shown(one['name'])}",
            highlight=False,
            soft_wrap=True,
        )
    stdout.print(f"{len(given)} given, {len(present)} signed in", highlight=False)


@app.command("grant")
def grant(
    context: typer.Context,
    who: WhoArgument,
    role: Annotated[list[str], typer.Option("--role", help="A role of [access.roles.NAME].")],
    department: Annotated[
        list[str], typer.Option("--department", help="Organization/ID as it is here, or '*' for all.")
    ],
    until: Annotated[
        str, typer.Option("--until", metavar="DATE", help="The last day on which it holds, as 2026-12-31.")
    ] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Give somebody a role in a department; both options may be repeated."""
    from fhir_coprod.access import grants
    from fhir_coprod.cli.times import end_of

    chosen, now = settings(context, config), datetime.now(UTC)
    name = grants.full_name(chosen, who)
    wanted = [(name, one, where) for one in role for where in department]
    with existing_store(chosen) as store:
        end = end_of(until, chosen.site.zone) if until else None
        given = grants.grant(store, chosen, wanted, end, now)
    if as_json:
        print_json([each.to_json() for each in given])
        return
    stdout.print("Given; it holds from the person's next page on.", highlight=False)


@app.command("revoke")
def revoke(
    context: typer.Context, who: WhoArgument, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Take back all roles that somebody was given here, and end all their sign-ins at once."""
    from fhir_coprod.access import grants

    chosen = settings(context, config)
    with existing_store(chosen) as store:
        given, ended = grants.revoke(store, grants.full_name(chosen, who))
    if as_json:
        print_json({"grants": given, "sign_ins": ended})
        return
    stdout.print(f"{given} taken back, {ended} signed out.", highlight=False)
    sign_in = chosen.access.sign_in
    if sign_in is not None and (sign_in.roles_claim or sign_in.patient_claim):
        stderr.print(
            "What the provider says of them still holds: bar them there, too, or they sign in again.",
            style="yellow",
            soft_wrap=True,
        )
