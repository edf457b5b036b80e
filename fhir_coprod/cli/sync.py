"""`fhir-coprod sync`, `ehr check` and `dead-letters`: bring in records from the EHRs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import (
    existing_store,
    is_missing,
    kept,
    print_json,
    settings,
    stderr,
    stdout,
)
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import ConfigError, EhrError, plain
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # loading the store and the HTTP stack takes time that other commands need not spend
    from fhir_coprod.settings import EhrSettings, Settings
    from fhir_coprod.store import Store
    from fhir_coprod.sync.ehr.plan import EhrPlan
    from fhir_coprod.sync.pull import Progress
    from fhir_coprod.sync.report import EhrReport
    from fhir_coprod.watch.facts.habits import Habit

ehr_app = new_app("The EHRs in the settings.")
dead_letters_app = new_app("Records that could not be taken in.")

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
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take what is new from the EHRs.

    Exit code 1: done, but an EHR or a type of it could not be read, or records could not be taken in (dead
    letters); everything else is taken in all the same.
    """
    from fhir_coprod.sync.engine import run
    from fhir_coprod.sync.pace import let_others_go_first

    chosen = settings(context, config)
    _named(chosen, None)  # before a store is made, which a sync without EHRs would not need
    let_others_go_first()
    with _store(chosen, dry_run=dry_run) as store, _progress() as progress:
        reports = run(store, chosen, names=names or (), full=full, dry_run=dry_run, progress=progress)
    if as_json:
        print_json([report.to_json() for report in reports])
    else:
        for report in reports:
            _print_report(report)
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


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
    for difference in report.changes:
        stdout.print(f"{difference.change} {difference.resource}", style="bold", highlight=False)
        for line in difference.lines:
            if line.before is not None:
                stdout.print(
                    f"  - {line.path}: {_value(line.before)}", style="red", markup=False, highlight=False
                )
            if line.after is not None:
                stdout.print(
                    f"  + {line.path}: {_value(line.after)}", style="green", markup=False, highlight=False
                )
    table = Table(title=report.ehr, title_justify="left", title_style="bold", box=None, pad_edge=False)
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
        stderr.print(f"{type}: {shown(reason)}", style="red", soft_wrap=True, highlight=False)
    not_valid = sum(counts.not_valid for counts in report.counts.values())
    if not_valid:
        stderr.print(f"{kept(not_valid)}; see: fhir-coprod quality {report.ehr}", highlight=False)
    dead = sum(counts.dead for counts in report.counts.values())
    if dead:
        records = "1 record" if dead == 1 else f"{dead} records"
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


def _value(value: object) -> str:
    from fhir_coprod import jsontext

    return plain(jsontext.encode(value).decode())


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar per EHR and type on a terminal; elsewhere one log line per page. No personal data in either."""
    if not stderr.is_terminal:
        from fhir_coprod.jobs import logger

        log = logger()

        def line(page: Progress) -> None:
            # If nobody reads the log any more (`| head`), the EHR is not at fault and the sync goes on.
            with suppress(OSError, ValueError):
                log.info(
                    "page", ehr=page.ehr, type=page.type, page=page.page, read=page.read, total=page.total
                )

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=stderr, transient=True) as bars:
        tasks: dict[tuple[str, str], int] = {}

        def move(page: Progress) -> None:
            key = (page.ehr, page.type)
            if key not in tasks:
                tasks[key] = bars.add_task(f"{page.ehr} {page.type}", total=page.total)
            bars.update(tasks[key], completed=page.read, total=page.total)  # type: ignore[arg-type]

        yield move


# --- ehr check ------------------------------------------------------------------------------------


@ehr_app.command("check")
def ehr_check(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="One EHR; all when none is named.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask the EHRs what they can do, and show how each type will be read."""
    from fhir_coprod.sync.engine import check

    plans: list[EhrPlan | EhrError | ConfigError] = []
    site = settings(context, config)
    chosen = _named(site, name)
    learned = _learned(site)
    for ehr in chosen:
        try:
            plans.append(check(ehr))
        except (EhrError, ConfigError) as error:
            plans.append(error)
    if as_json:
        print_json(
            [
                {"ehr": ehr.name, "url": ehr.url, "error": plan.message}
                if isinstance(plan, EhrError | ConfigError)
                else plan.to_json() | _practice(learned.get(ehr.name, ()))
                for ehr, plan in zip(chosen, plans, strict=True)
            ]
        )
    else:
        for plan in plans:
            if isinstance(plan, EhrError | ConfigError):
                stderr.print(shown(plan.message), style="red", soft_wrap=True, highlight=False)
            else:
                _print_plan(plan)
                for each in learned.get(plan.ehr, ()):
                    stdout.print(shown(f"{each.use}: {each.sentence}"), highlight=False)
    if any(isinstance(plan, EhrError | ConfigError) for plan in plans):
        raise typer.Exit(1)


def _practice(learned: Sequence[Habit]) -> dict[str, object]:
    return {"practice": [each.to_json() for each in learned]} if learned else {}


def _learned(site: Settings) -> dict[str, list[Habit]]:
    """What the watch has learned of each EHR: which steps of referrals are recorded there."""
    from fhir_coprod.watch.facts.habits import habits

    found: dict[str, list[Habit]] = {}
    if not is_missing(site):
        with existing_store(site) as store, store.connect() as connection:
            for each in habits(connection):
                found.setdefault(each.ehr, []).append(each)
    return found


def _named(chosen: Settings, name: str | None) -> list[EhrSettings]:
    if not chosen.ehr:
        raise ConfigError("No EHR is set up; add an [[ehr]] section with name and url to coprod.toml.")
    found = [ehr for ehr in chosen.ehr if name in (None, ehr.name)]
    if not found:
        known = ", ".join(ehr.name for ehr in chosen.ehr)
        raise ConfigError(f"There is no EHR named {name!r}; known: {known}.")
    return found


def _print_plan(plan: EhrPlan) -> None:
    vendor = f" · deviations of {plan.vendor_name}" if plan.vendor_name else ""
    title = shown(f"{plan.ehr}: {plan.software}, FHIR {plan.fhir_version}{vendor}")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("type", "changes found by", "takes from us", "why"):
        table.add_column(column)
    for row in plan.types:
        found = row.find if row.observable else "[red]cannot be seen[/red]"
        table.add_row(row.type, found, ", ".join(row.write) or "·", shown(row.reason))
    stdout.print(table)


# --- dead letters ---------------------------------------------------------------------------------


@dead_letters_app.command("list")
def dead_letters_list(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are resolved or superseded.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Records that could not be taken in, in the order received."""
    from fhir_coprod.sync import dead_letters

    with existing_store(settings(context, config)) as store, store.connect() as connection:
        found = dead_letters.read(connection, all=everything)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "ehr", "where", "received", "state", "reason"):
        table.add_column(column)
    for one in found:
        received = one.received.strftime("%Y-%m-%d %H:%M")
        table.add_row(
            str(one.id), one.ehr or "files", shown(one.position), received, one.state, shown(one.reason)
        )
    stdout.print(table if found else "no dead letters")


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
    stdout.print(
        f"{one.id}: {one.ehr or 'files'}, {one.position}, {one.state}", style="bold", highlight=False
    )
    for issue in one.outcome["issue"]:
        place = f"{issue['expression'][0]}: " if issue.get("expression") else ""
        text = f"{issue['severity']}: {place}{issue['diagnostics']}"
        stdout.print(text, markup=False, highlight=False, soft_wrap=True)
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
            stdout.print(f"{one.id}: {one.state}{reason}", markup=False, highlight=False, soft_wrap=True)
    if any(one.state == "open" for one in found):
        raise typer.Exit(1)
