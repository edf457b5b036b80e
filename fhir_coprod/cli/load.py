"""`fhir-coprod load`: many resources from files into the store."""

from __future__ import annotations

from pathlib import Path
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

from fhir_coprod.cli.common import kept, print_json, settings, stderr, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption

SHOWN = 20
"""How many dead records are printed one by one."""


def load(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(help="NDJSON, Bundle or resource files, or folders of them.")
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Load NDJSON, Bundles or single resources; each is validated, ids are kept, killed loads can resume.

    A record that breaks a rule of FHIR is loaded too; that is no fault, and `quality` lists it. Ends with 1
    if some records could not be loaded: they are named and kept as dead letters; all others are loaded.
    """
    from fhir_coprod.store import Store, loading
    from fhir_coprod.store.recheck import recheck_by_newer_rules
    from fhir_coprod.sync.staging.again import bury

    with Store.open(settings(context, config).store.url) as store:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=stderr,
            transient=True,
            disable=not stderr.is_terminal,
        )
        with bar:
            task = bar.add_task("loading", total=loading.total_size(paths))
            done = loading.load(store, paths, lambda size: bar.advance(task, size), bury)
        recheck_by_newer_rules(store)
    for dead in done.dead[:SHOWN]:
        for issue in dead.outcome.errors:
            stderr.print(f"{dead.place}: {issue}", markup=False, highlight=False, soft_wrap=True)
    if done.dead:
        more = f"… and {len(done.dead) - SHOWN} more; " if len(done.dead) > SHOWN else ""
        stderr.print(f"{more}see: fhir-coprod dead-letters list", highlight=False)
    if done.not_valid:
        stderr.print(f"{kept(done.not_valid)}; see: fhir-coprod quality")
    counts = {
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
        "skipped": done.skipped,
        "dead": len(done.dead),
        "not_valid": done.not_valid,
    }
    if json:
        records = [{"place": dead.place, "outcome": dead.outcome.to_fhir()} for dead in done.dead]
        print_json({**counts, "records": records})
    else:
        stdout.print(
            ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
            or "nothing to load"
        )
    if done.dead:
        raise typer.Exit(1)
