"""`fhir-coprod patient`: what a patient may ask for, a copy of all that is held on them, and its erasure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, stderr, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import BadRequest
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # loading the store takes time that a command's help need not spend
    from fhir_coprod.subject.erasure import Plan

app = new_app("What a patient may ask for: a copy of all that is held about them, and its erasure.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the Patient here.")]


@app.command()
def export(
    context: typer.Context,
    patient: IdArgument,
    out: Annotated[Path, typer.Argument(help="Folder to make, whole or not at all; for its owner only.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Copy everything about a patient into a folder, with a page that a person can read.

    Every version of every record, the bytes as they came, alerts, letters, what the sync holds, and who has
    read it. What a person has to look at before it is handed over is named. That is a call of the audit.
    """
    from fhir_coprod.audit.trail import at_the_machine, remember
    from fhir_coprod.subject.copying import copy

    id = patient.removeprefix("Patient/")
    chosen = settings(context, config)
    with existing_store(chosen) as store:
        remember(store, chosen, at_the_machine("patient-export", id))
        copied = copy(store, chosen, id, out)
    if as_json:
        print_json(copied.to_json())
        return
    resources = sum(copied.resources.values())
    stdout.print(
        f"{resources:,} resources in {copied.versions:,} versions, {sum(copied.sync.values()):,} rows of the"
        f" sync, {copied.audit:,} looks: {shown(str(out / 'index.html'))}",
        highlight=False,
        soft_wrap=True,
    )
    for reference in copied.first:
        stderr.print(shown(f"{reference}: labelled; look at it before it is handed over."), soft_wrap=True)
    for reference in copied.shared:
        stderr.print(shown(f"{reference}: about others too, so it is left out."), soft_wrap=True)


@app.command()
def erase(
    context: typer.Context,
    patient: IdArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help="Why before its time, such as the decision of an authority; it stays, so name nobody in it.",
        ),
    ] = "",
    unname: Annotated[
        bool, typer.Option("--unname", help="Take the references out of what is about others too.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Let the next sync take the records of the EHRs again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Erase everything about a patient, for good: all versions, received bytes, and what the sync holds.

    Refused while the record has to be kept (retention.clinical_years), unless a reason is given. What is
    about others too is named. Backups, logs of other machines and exports that were made keep what they have.
    """
    from fhir_coprod.subject.erasure import erase as erased

    id = patient.removeprefix("Patient/")
    chosen = settings(context, config)
    with existing_store(chosen) as store:
        if not dry_run and not yes:
            _ask(erased(store, chosen, id, dry_run=True), as_json=as_json)
        plan = erased(store, chosen, id, reason=reason, unname=unname, again=again, dry_run=dry_run)
    if as_json:
        print_json({"dryRun": dry_run, **plan.to_json()})
        return
    stdout.print(f"{'would erase' if dry_run else 'erased'}: {_told(plan)}", highlight=False, soft_wrap=True)
    if dry_run:
        stdout.print(
            f"The last entry is of {plan.last.date()}; it has to be kept until {plan.until.date()}.",
            highlight=False,
        )
        for reference in plan.shared:
            stdout.print(shown(f"{reference}: about others too."), highlight=False)


def _told(plan: Plan) -> str:
    return (
        f"{sum(plan.resources.values()):,} resources in {plan.versions:,} versions,"
        f" {plan.records:,} records of EHRs, {plan.letters:,} dead letters;"
        f" {plan.blanked:,} old versions of what is about others"
    )


def _ask(plan: Plan, *, as_json: bool) -> None:
    if as_json or not stderr.is_terminal:
        raise BadRequest("Nobody can be asked here whether to erase it; look with --dry-run, then say --yes.")
    stderr.print(f"This erases for good {_told(plan)}.", highlight=False, soft_wrap=True)
    if not typer.confirm("Go on?", err=True):
        raise typer.Exit(1)
