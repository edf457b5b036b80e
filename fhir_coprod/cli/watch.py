"""`fhir-coprod watch` and `fhir-coprod alerts`: where referrals stand, and what is asked of whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from fhir_coprod.cli.common import (
    ConfigOption,
    JsonOption,
    existing_store,
    print_json,
    settings,
    short_ids,
    stderr,
    stdout,
)
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.terminal import shown
from fhir_coprod.watch import desk, policies, sweep
from fhir_coprod.watch.elements import moment, within_reach
from fhir_coprod.watch.facts import Reader
from fhir_coprod.watch.policies import Policy
from fhir_coprod.watch.present import behind, look
from fhir_coprod.watch.standing import (
    Stall,
    Standing,
    last_moment,
    spoken,
    spoken_end,
    spoken_time,
    urgency,
)
from fhir_coprod.watch.unseen import Limit, what_cannot_be_watched
from fhir_coprod.watch.who import initials_of, names_of, read_names

alerts_app = typer.Typer(
    help="The follow-ups that the watch asks for: list them, look at one, take it, put it aside.",
    no_args_is_help=True,
)

_COLOURS = {"high": "red", "moderate": "yellow", "low": "cyan"}
PolicyOption = Annotated[
    str,
    typer.Option(
        "--policy",
        help="Ask what another deadline policy would say, by name or path of a .toml file; only prints.",
    ),
]
ByOption = Annotated[str, typer.Option("--by", help="Your name: it is written down.")]
WordsOption = Annotated[str, typer.Option("--note", help="What you want to say about it.")]


def watch(
    context: typer.Context,
    config: ConfigOption = None,
    now: Annotated[
        str,
        typer.Option(help="Ask what would be said at this time (2026-03-02 or with a time); only prints."),
    ] = "",
    policy: PolicyOption = "",
    show_all: Annotated[bool, typer.Option("--all", help="Every referral that is not closed.")] = False,
    json: JsonOption = False,
) -> None:
    """Find stalled referrals; raise, keep and resolve the alerts about them.

    With --now, or a --policy that is not the site's own, it only prints.
    """
    site = settings(context, config)
    rules = policies.load(policy or site.watch.policy, site.site)
    what_if = bool(now) or policy not in ("", site.watch.policy)
    at = _time(now, site.site.zone) if now else datetime.now(UTC)
    with existing_store(site) as store:
        found = look(store, rules, at, site) if what_if else sweep(store, rules, at, site)
        unseen = what_cannot_be_watched(store, rules, site, found, at)
        standings = sorted((standing for standing in found if standing.is_open), key=urgency)
        chosen = [standing for standing in standings if show_all or standing.is_stalled]
        if json:
            with store.connect() as connection:
                names = read_names(Reader(connection, site), chosen)
            print_json([standing.to_json(names) for standing in chosen])
            _print_unseen(unseen, stderr)
            return
        _print(store, site, rules, chosen, standings, show_all=show_all, now=at)
        _print_unseen(unseen, stdout)


def _time(text: str, zone: ZoneInfo) -> datetime:
    """A time as people type it; without a zone it is that of the site, without a time the day's beginning."""
    if len(text) > 10 and moment(text, zone) is None:
        try:
            return within_reach(datetime.fromisoformat(text).replace(tzinfo=zone))
        except ValueError:
            pass
    found = moment(text, zone)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-03-02 or 2026-03-02T09:00:00Z.")
    return found


def _print(
    store: Store,
    site: Settings,
    policy: Policy,
    chosen: Sequence[Standing],
    standings: Sequence[Standing],
    *,
    show_all: bool,
    now: datetime,
) -> None:
    with store.connect() as connection:
        reader = Reader(connection, site)
        names = read_names(reader, chosen)
        names |= initials_of(reader, (standing.patient for standing in chosen))
    stalled = sum(standing.is_stalled for standing in standings)
    if chosen:
        stdout.print(_table(chosen, names, policy, now, show_all=show_all))
    elif standings:
        stdout.print("No referral is stalled. Every one that can be seen is moving as agreed.", style="green")
    else:
        stdout.print("There is no open referral here yet. Bring some in with fhir-coprod sync or load.")
    drafts = sum(bool(standing.notes) for standing in standings)
    if standings:
        told = sum(not standing.patient_informed for standing in standings if standing.is_stalled)
        line = f"{len(standings)} open, {stalled} stalled, {told} of those patients not told."
        stdout.print(line + (f" {drafts} drafts left lying." if drafts else ""), highlight=False)


def _print_unseen(unseen: Iterable[Limit], console: Console) -> None:
    """Silence is not safety: what cannot be watched is always said."""
    for each in unseen:
        console.print(f"Cannot be watched: {shown(each.sentence)}", style="yellow", highlight=False)


def _table(
    chosen: Sequence[Standing], names: Mapping[str, str], policy: Policy, now: datetime, *, show_all: bool
) -> Table:
    day = now.astimezone(policy.calendar.zone).date()
    what = "Open" if show_all else "Stalled"
    table = Table(
        title=f"{what} referrals, {spoken(day)} ({shown(policy.label)})",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("Referral", overflow="fold", min_width=14, max_width=16)
    table.add_column("Missing, and who can move it", min_width=22)
    table.add_column("Since, due", no_wrap=True)
    table.add_column("Told", no_wrap=True)
    ids = short_ids(standing.referral.partition("/")[2] for standing in chosen)
    for standing in chosen:
        _add_rows(table, standing, names, ids[standing.referral.partition("/")[2]])
    return table


def _add_rows(table: Table, standing: Standing, names: Mapping[str, str], id: str) -> None:
    """A row for each thing that is missing; what is said of the referral as a whole stands in the first."""
    patient = names.get(standing.patient)
    who = "\n".join([*([f"[bold]{shown(patient)}[/]"] if patient else []), shown(id), str(standing.stage)])
    told = "[green]yes[/]" if standing.patient_informed else "[red]no[/]"
    rows = [
        (
            f"[{_COLOURS[stall.severity]}]{shown(stall.missing)}[/]\n{_mover(stall, names)}",
            _when(standing, stall.since, stall.due, stored=stall.since_stored),
        )
        for stall in standing.stalls
    ]
    if not rows:
        seen = ", ".join(standing.not_observable)
        words = f"not visible: {seen}" if seen else f"next: {standing.next_step}"
        since = _when(standing, standing.since, standing.due, stored=standing.since_stored)
        owner = names.get(standing.owner) or standing.owner
        rows = [(f"[dim]{shown(words)}[/]" + (f"\n→ {shown(owner)}" if owner else ""), since)]
    if standing.guarantee is not None:
        missing, since = rows[-1]
        promised = _day(standing, last_moment(standing.guarantee))
        rows[-1] = (f"{missing}\n[dim]guarantee date {promised}[/]", since)
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        head, tail = (who, told) if number == 0 else ("", "")
        table.add_row(head, *row, tail, end_section=last)


def _mover(stall: Stall, names: Mapping[str, str]) -> str:
    return f"→ {shown(names.get(stall.owner) or stall.owner or _NOBODY)}"


def _when(standing: Standing, since: datetime | None, due: datetime | None, *, stored: bool) -> str:
    """The day it began and the day it is due; a star where the beginning may be older."""
    began = _day(standing, since)
    lines = began + ("*" if stored else "")
    if due is None:
        return lines
    ends = _day(standing, last_moment(due))
    return f"{lines}\n[dim]due {ends[5:] if ends[:4] == began[:4] else ends}[/]"


def _day(standing: Standing, at: datetime | None) -> str:
    return at.astimezone(ZoneInfo(standing.zone)).date().isoformat() if at else ""


# -- alerts ----------------------------------------------------------------------------------------------


@alerts_app.command("list")
def list_alerts(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Open follow-ups, and EHRs that are down; the most urgent first."""
    site = settings(context, config)
    with existing_store(site) as store:
        rows = [desk.as_json(task) for task in desk.worklist(store, site)]
        if json:
            print_json(rows)
            _say_behind(store, site)
            return
        if not rows:
            stdout.print("No alert is open.", style="green")
            _say_behind(store, site)
            return
        with store.connect() as connection:
            names = names_of(Reader(connection, site), (row["owner"] or "" for row in rows))
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("Alert", no_wrap=True)
        table.add_column("Referral", overflow="fold", min_width=9, max_width=16)
        table.add_column("What, and who can move it", min_width=22)
        table.add_column("Act by", no_wrap=True)
        ids = short_ids(row["id"] for row in rows)
        ids |= short_ids(row["referral"].partition("/")[2] for row in rows)
        for row in rows:
            table.add_row(*_alert_row(row, ids, names, site.site.zone), end_section=True)
        stdout.print(table)
        _say_behind(store, site)


def _say_behind(store: Store, site: Settings) -> None:
    """Alerts are as old as the watch that wrote them."""
    policy = policies.load(site.watch.policy, site.site)
    if late := behind(store, policy, datetime.now(UTC), site):
        stderr.print(late, style="yellow", highlight=False)


_STATES = {
    "requested": "asked",
    "received": "taken",
    "accepted": "taken",
    "in-progress": "taken",
    "on-hold": "put aside",
}
_NOBODY = "nobody is named"


def _alert_row(row: Json, ids: Mapping[str, str], names: Mapping[str, str], zone: ZoneInfo) -> list[str]:
    act_by = moment(row["act_by"], zone)
    asked = [last_moment(act_by).astimezone(zone).date().isoformat()] if act_by else []
    asked.append(_state(row))
    if row["step"]:
        asked.append(f"step {row['step']}")
    return [
        shown(ids[row["id"]]),
        "\n".join([shown(ids[row["referral"].partition("/")[2]]), shown(row["stage"])]).strip(),
        _what(row, names),
        "\n".join(asked),
    ]


def _state(row: Json) -> str:
    return shown(_STATES.get(row["status"], str(row["status"])))


def _what(row: Json, names: Mapping[str, str]) -> str:
    if row["ehr_down"]:
        return f"cannot be seen: {shown(row['ehr_down'])}\n[dim]look with fhir-coprod ehr check[/]"
    if row["ehr_backfill"]:
        return f"old stalls of {shown(row['ehr_backfill'])}\n[dim]look with fhir-coprod watch[/]"
    owner = names.get(row["owner"] or "") or row["owner"] or _NOBODY
    return "\n".join([*(shown(rule) for rule in row["rules"]), f"→ {shown(owner)}"])


@alerts_app.command("show")
def show_alert(
    context: typer.Context,
    alert: Annotated[str, typer.Argument(help="Id of the alert or of the referral, or its beginning.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """One follow-up: what is missing, since when, who can move it, and what was noted."""
    site = settings(context, config)
    with existing_store(site) as store:
        task, issues = desk.find(store, site, alert)
    row = desk.as_json(task, issues)
    if json:
        print_json(row)
        return
    zone = site.site.zone
    stdout.print(f"[bold]{shown(row['description'])}[/]", highlight=False)
    for issue in row.get("issues", ()):
        rule = shown(
            f"{issue['rule']} ({issue['severity']}, {_ISSUES.get(issue['status'], issue['status'])})"
        )
        stdout.print(f"[bold]{rule}[/]: {shown(issue['detail'])}", highlight=False)
    for note in row.get("notes", ()):
        at = moment(note["time"], zone)
        said = f"{note['by'] or 'Somebody'}: {note['text'] or ''}"
        stdout.print(shown(f"{spoken_time(at, zone)}, {said}" if at else said), highlight=False)
    act_by = moment(row["act_by"], zone)
    until = " until" if row["status"] in _HELD else "; act by"
    end = f"{until} {spoken_end(act_by, zone)}" if act_by else ""
    stdout.print(f"This alert: {_state(row)}{end}.", highlight=False)


_ISSUES = {"preliminary": "stands", "final": "over", "cancelled": "withdrawn"}
_HELD = frozenset(_STATES) - {"requested"}
"""Whoever has an alert, or put it aside, has it until then."""


@alerts_app.command("ack")
def acknowledge_alert(
    context: typer.Context,
    alert: Annotated[str, typer.Argument(help="Id of the alert or of the referral, or its beginning.")],
    by: ByOption,
    config: ConfigOption = None,
    note: WordsOption = "",
    json: JsonOption = False,
) -> None:
    """Say that you have it. An acknowledgement expires; the alert ends when the missing fact is there."""
    site = settings(context, config)
    policy = policies.load(site.watch.policy, site.site)
    with existing_store(site) as store:
        task = desk.acknowledge(store, site, policy, alert, by, datetime.now(UTC), note)
    _say(task, "is yours", site, json=json)


@alerts_app.command("snooze")
def snooze_alert(
    context: typer.Context,
    alert: Annotated[str, typer.Argument(help="Id of the alert or of the referral, or its beginning.")],
    by: ByOption,
    until: Annotated[str, typer.Option(help="Until when, such as 2026-03-20: to the end of that day.")],
    config: ConfigOption = None,
    note: WordsOption = "",
    json: JsonOption = False,
) -> None:
    """Put it aside for a while: never past the guarantee date, never for asap and stat."""
    site = settings(context, config)
    policy = policies.load(site.watch.policy, site.site)
    end = _until(until, site.site.zone)
    with existing_store(site) as store:
        task = desk.snooze(store, site, policy, alert, by, end, datetime.now(UTC), note)
    _say(task, "is put aside", site, json=json)


def _until(text: str, zone: ZoneInfo) -> datetime:
    """The end of a day, or a time."""
    try:
        return desk.end_of_day(date.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        return _time(text, zone)


def _say(task: Json, what: str, site: Settings, *, json: bool) -> None:
    row = desk.as_json(task)
    if json:
        print_json(row)
        return
    zone = site.site.zone
    act_by = moment(row["act_by"], zone)
    end = f" until {spoken_end(act_by, zone)}" if act_by else ""
    stderr.print(shown(f"{row['id'][:8]} {what}{end}."), highlight=False)
