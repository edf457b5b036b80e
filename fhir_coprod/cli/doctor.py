"""`fhir-coprod doctor`: everything that somebody checks who is called at night."""

from __future__ import annotations

import typer

from fhir_coprod.cli.common import print_json, say, settings, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption, QuietOption
from fhir_coprod.terminal import shown

_MARKS = {"ok": "[green]ok[/]   ", "note": "note ", "warn": "[yellow]warn[/] ", "fault": "[red]FAULT[/]"}


def doctor(
    context: typer.Context,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check what a night operator would: settings, secrets, store, EHRs, sync, watch, service.

    One line for each check, with what to do if something is wrong. It asks each EHR for what it can do and,
    signed in, how many records of one type it has; it reads none, and changes nothing. Exit code 1: something
    is wrong; what may become wrong is only told.
    """
    from fhir_coprod.doctor import examine
    from fhir_coprod.instants import now

    found = []
    for each in examine(settings(context, config), now()):
        found.append(each)
        if quiet and each.grade == "fault":
            say(f"{each.about}: {each.words.rstrip('.')}{f'. {each.cure}' * bool(each.cure)}")
        elif not quiet and not as_json:
            line = f"{_MARKS[each.grade]} {shown(each.about)}: {shown(each.words)}"
            stdout.print(line, highlight=False, soft_wrap=True)
            if each.cure and each.grade != "ok":
                stdout.print(f"      → {shown(each.cure)}", highlight=False, soft_wrap=True)
    if as_json:
        print_json([each.to_json() for each in found])
    wrong = sum(each.grade == "fault" for each in found)
    if not quiet and not as_json:
        many = "1 fault" if wrong == 1 else f"{wrong} faults"
        stdout.print("Nothing is wrong." if not wrong else f"{many}.", highlight=False)
    if wrong:
        raise typer.Exit(1)
