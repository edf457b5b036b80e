"""`fhir-coprod load`: many resources from files into the store."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from fhir_coprod.cli.common import (
    kept,
    limits,
    print_json,
    say,
    settings,
    standard_input,
    stderr,
    stdout,
    tell_twice,
)
from fhir_coprod.cli.options import ConfigOption, JsonOption

SHOWN = 20
"""How many dead records are printed one by one."""


def load(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="NDJSON, Bundle or resource files, also as .gz, folders of them, or - for standard input.",
        ),
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Load NDJSON, Bundles or single resources; each is validated, ids are kept, killed loads can resume.

    A record that breaks a rule of FHIR is loaded too; that is no fault, and `quality` lists it. Ends with 1
    if some records could not be loaded: they are kept as dead letters, the first are named; all others are
    loaded.
    """
    from fhir_coprod.files import finding
    from fhir_coprod.store import Store, loading
    from fhir_coprod.store.recheck import recheck_by_newer_rules
    from fhir_coprod.sync.staging.again import bury

    chosen = settings(context, config)
    found = finding.find(files, empty=True)
    size = finding.size(found)
    tell_twice(found)
    with Store.open(chosen.store.url) as store:
        bar = Progress(
            TextColumn("loading"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=stderr,
            transient=True,
            disable=size is None or not stderr.is_terminal,
        )
        with bar:
            task = bar.add_task("", total=size)
            done = loading.load(
                store,
                found,
                lambda size: bar.advance(task, size),
                bury,
                stdin=standard_input(),
                limits=limits(chosen),
            )
        recheck_by_newer_rules(store)
    for dead in done.named[:SHOWN]:
        for issue in dead.outcome.errors[:SHOWN]:
            say(f"{dead.place}: {issue}")
    if done.dead:
        more = f"… and {done.dead - SHOWN} more; " if done.dead > SHOWN else ""
        say(f"{more}see: fhir-coprod dead-letters list")
    if done.not_valid:
        say(f"{kept(done.not_valid)}; see: fhir-coprod quality")
    counts = {
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
        "skipped": done.skipped,
        "dead": done.dead,
        "not_valid": done.not_valid,
    }
    if json:
        records = [{"place": dead.place, "outcome": dead.outcome.to_fhir()} for dead in done.named]
        print_json({**counts, "records": records})
    else:
        stdout.print(
            ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
            or "nothing to load"
        )
    if done.dead:
        raise typer.Exit(1)
