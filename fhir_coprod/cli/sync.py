"""`fhir-coprod sync`: bring in records from the EHRs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.common import (
    check_output,
    ehrs,
    is_missing,
    kept,
    print_json,
    put_json,
    say,
    settings,
    stderr,
    stdout,
)
from fhir_coprod.cli.options import ConfigOption, JsonOption, OutputOption, QuietOption
from fhir_coprod.errors import Conflict, plain
from fhir_coprod.instants import now
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # loading the store and the HTTP stack takes time that other commands need not spend
    from fhir_coprod.logs import Format
    from fhir_coprod.settings import Settings
    from fhir_coprod.store import Store
    from fhir_coprod.sync.reading.shared import Progress
    from fhir_coprod.sync.report import EhrReport

_COLUMNS = ("read", "created", "updated", "unchanged", "deleted", "conflicts", "dead", "merged")


# --- sync -----------------------------------------------------------------------------------------


def sync(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="EHRs to sync; all when none is named.")
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="List everything again: also finds what was deleted where changes do not show it, and "
            "takes records that are older than ours (a restored server).",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")
    ] = False,
    accept_deletions: Annotated[
        bool,
        typer.Option(
            "--accept-deletions",
            help="What has vanished from the EHR is really gone: delete it here, however much it is.",
        ),
    ] = False,
    any_hour: Annotated[
        bool, typer.Option("--any-hour", help="Also read EHRs that are outside their hours (ehr.window).")
    ] = False,
    quiet: QuietOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take what is new from the EHRs.

    Exit code 1: done, but an EHR or a type of it could not be read, or there are records that could not be
    taken in (dead letters) and that nobody has put aside; everything else is taken in all the same. Records
    that break a rule and are kept are no fault: `quality` lists them. An EHR that is paused or outside its
    hours is left out, which is no fault either.
    """
    from fhir_coprod.sync.engine import run
    from fhir_coprod.sync.pace import let_others_go_first
    from fhir_coprod.sync.runs import new_id

    chosen = settings(context, config)
    ehrs(chosen)  # before a store is made, which a sync without EHRs would not need
    check_output(output)
    let_others_go_first()
    run_id = "" if dry_run else new_id(now())
    progressing = nullcontext() if quiet else _progress(chosen.log.format, run_id)
    with _store(chosen, dry_run=dry_run) as store, _alone(quiet=quiet), progressing as progress:
        reports = run(
            store,
            chosen,
            names=names or (),
            full=full,
            dry_run=dry_run,
            accept_deletions=accept_deletions,
            any_hour=any_hour,
            run_id=run_id,
            progress=progress,
        )
    if output is not None:
        put_json([report.to_json() for report in reports], output)
    if as_json:
        print_json([report.to_json() for report in reports])
    if quiet:
        for sentence in (sentence for report in reports for sentence in report.wrong):
            say(sentence)
    elif not as_json:
        for report in reports:
            _print_report(report)
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


@contextmanager
def _alone(*, quiet: bool) -> Iterator[None]:
    """What to do if another sync is in progress: a quiet one (cron) leaves it at the exit code, as the first
    load of an EHR may take hours, and the one in progress tells what is wrong."""
    try:
        yield
    except Conflict:
        if not quiet:
            raise
        raise typer.Exit(1) from None


@contextmanager
def _store(chosen: Settings, *, dry_run: bool) -> Iterator[Store]:
    """The store; if there is none, a dry run works on an empty one that is removed afterwards."""
    from fhir_coprod.store import Store

    if dry_run and is_missing(chosen):
        with TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/coprod.db") as store:
            yield store
    else:
        with Store.open(chosen.store.url) as store:
            yield store


def _print_report(report: EhrReport) -> None:
    if report.left_out:
        say(f"{report.ehr}: left out, {report.left_out}.", style="yellow")
        return
    for difference in report.changes:
        stdout.print(shown(f"{difference.change} {difference.resource}"), style="bold", highlight=False)
        for line in difference.lines:
            if line.before is not None:
                stdout.print(
                    f"  - {line.path}: {_value(line.before)}", style="red", markup=False, highlight=False
                )
            if line.after is not None:
                stdout.print(
                    f"  + {line.path}: {_value(line.after)}", style="green", markup=False, highlight=False
                )
    table = Table(
        title=report.ehr,
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1, 0, 0),  # all columns fit into a terminal of 80 characters
        pad_edge=False,
    )
    table.add_column("type", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for type, counts in report.counts.items():
        row = counts.to_json()
        if any(row.values()):
            table.add_row(type, *(str(row[column] or "·") for column in _COLUMNS))
    if table.row_count or not report.error:
        stdout.print(table)
    _print_identifiers(report)
    if report.error:
        stderr.print(shown(report.error), style="red", soft_wrap=True, highlight=False)
    for type, reason in report.faults.items():
        _say(report, type, reason, "red")
    for type, remark in report.remarks.items():
        _say(report, type, remark, "yellow")
    asked = sum(counts.conflicts for counts in report.counts.values())
    if asked and not report.changes:  # a dry run, which alone lists changes, has asked nobody
        questions = "1 new question waits" if asked == 1 else f"{asked} new questions wait"
        places = "fhir-coprod people list, and Task?code=merge-conflict at the endpoint"
        stderr.print(f"{questions} for a person; see: {places}", highlight=False, soft_wrap=True)
    not_valid = sum(counts.not_valid for counts in report.counts.values())
    if not_valid:
        stderr.print(f"{kept(not_valid)}; see: fhir-coprod quality {report.ehr}", highlight=False)
    if left_out := report.dead_letters or report.dead:
        records = "1 record" if left_out == 1 else f"{left_out} records"
        stderr.print(f"{records} could not be taken in; see: fhir-coprod dead-letters list", style="red")


def _print_identifiers(report: EhrReport) -> None:
    """What the first sync saw of the numbers that name people."""
    if not report.identifiers:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("numbers that name people", overflow="fold")
    for column in ("values", "shared", "by different people", "trusted"):
        table.add_column(column, justify="right")
    for seen in report.identifiers:
        trusted = "yes" if seen.trusted else "[red]no[/]"
        table.add_row(
            shown(seen.system), str(seen.values), str(seen.shared), str(seen.different or "·"), trusted
        )
    stdout.print(table)


_NAMED = 20
"""At most so many of those records and patients are named; --json has all."""


def _say(report: EhrReport, type: str, reason: str, style: str) -> None:
    """A fault or a remark, with the patients or records there that it is about."""
    text = f"{report.ehr}: {type}: {plain(reason.removeprefix(f'{report.ehr}: '))}"
    stderr.print(text, style=style, markup=False, soft_wrap=True, highlight=False)
    unread = list(report.unread.get(type, {}).items()) if style == "red" else []
    for what, why in unread[:_NAMED]:
        stderr.print(f"  {plain(what)}: {plain(why)}", markup=False, soft_wrap=True, highlight=False)
    if len(unread) > _NAMED:
        stderr.print(f"  and {len(unread) - _NAMED} more; --json names all", markup=False, highlight=False)


def _value(value: object) -> str:
    from fhir_coprod import jsontext

    return plain(jsontext.encode(value).decode())


@contextmanager
def _progress(format: Format, run_id: str) -> Iterator[Callable[[Progress], None]]:
    """A bar per EHR and type on a terminal; elsewhere one log line per page. No personal data in either."""
    if not stderr.is_terminal:
        from fhir_coprod.logs import logger
        from fhir_coprod.sync.ehr.export import portion

        log = logger(format)
        if run_id:
            log = log.bind(run=run_id)

        def line(page: Progress) -> None:
            if page.type == "export":
                # The words are the server's own, so that only a number of them goes into the log.
                with suppress(OSError, ValueError):
                    log.info("export", ehr=page.ehr, look=page.page, progress=portion(page.note))
                return
            # If nobody reads the log any more (`| head`), the EHR is not at fault and the sync goes on.
            with suppress(OSError, ValueError):
                log.info(
                    "page", ehr=page.ehr, type=page.type, page=page.page, read=page.read, total=page.total
                )

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=stderr, transient=True) as bars:
        tasks: dict[tuple[str, str], TaskID] = {}

        def move(page: Progress) -> None:
            key = (page.ehr, page.type)
            if key not in tasks:
                tasks[key] = bars.add_task(f"{page.ehr} {page.type}", total=page.total)
            name = f"{page.ehr} {page.type}{f': {shown(page.note)}' * bool(page.note)}"
            bars.update(tasks[key], description=name, completed=page.read, total=page.total)

        yield move
