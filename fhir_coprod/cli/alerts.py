"""`fhir-coprod alerts`: the follow-ups that the watch asks for, and what people do with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fhir_coprod.cli import letters
from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, stderr, stdout
from fhir_coprod.cli.options import AlertArgument, ByOption, ConfigOption, JsonOption
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # the watch takes a second to load, which a command's help need not spend
    from fhir_coprod.jsontext import Json
    from fhir_coprod.settings import Settings
    from fhir_coprod.store import Store

app = new_app("The follow-ups that the watch asks for: list them, look at one, take it, put it aside.")

WordsOption = Annotated[str, typer.Option("--note", help="What you want to say about it.")]


@app.command("list")
def list_alerts(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Open follow-ups, and EHRs that are down; the most urgent first."""
    from fhir_coprod.cli import tables
    from fhir_coprod.watch.facts.names import names_of
    from fhir_coprod.watch.facts.reader import Reader
    from fhir_coprod.watch.worklist import desk

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
        stdout.print(tables.alerts(rows, names, site.site.zone))
        _say_behind(store, site)


def _say_behind(store: Store, site: Settings) -> None:
    """Warn if nobody has watched lately: alerts are only as fresh as the last watch."""
    from fhir_coprod.watch.live.present import behind
    from fhir_coprod.watch.rules import policies

    policy = policies.load(site.watch.policy, site.site)
    if late := behind(store, policy, datetime.now(UTC), site):
        stderr.print(late, style="yellow", highlight=False)


@app.command("show")
def show_alert(
    context: typer.Context,
    alert: AlertArgument,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """One follow-up: what is missing, since when, who can move it, and what was noted."""
    from fhir_coprod.audit.trail import at_the_machine, remember
    from fhir_coprod.cli.tables import HELD, state
    from fhir_coprod.watch.record.fhir import moment
    from fhir_coprod.watch.rules.standing import spoken_end, spoken_time
    from fhir_coprod.watch.worklist import desk

    site = settings(context, config)
    with existing_store(site) as store:
        task, issues = desk.find(store, site, alert)
        patient = str(task.get("for", {}).get("reference", ""))
        remember(store, site, at_the_machine("alerts-show", patient))
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
    until = " until" if row["status"] in HELD else "; act by"
    end = f"{until} {spoken_end(act_by, zone)}" if act_by else ""
    stdout.print(f"This alert: {state(row)}{end}.", highlight=False)


_ISSUES = {"preliminary": "stands", "final": "over", "cancelled": "withdrawn"}


@app.command("ack")
def acknowledge_alert(
    context: typer.Context,
    alert: AlertArgument,
    by: ByOption,
    config: ConfigOption = None,
    note: WordsOption = "",
    json: JsonOption = False,
) -> None:
    """Say that you are on it. An acknowledgement expires; the alert ends when the missing fact appears."""
    from fhir_coprod.watch.rules import policies
    from fhir_coprod.watch.worklist import desk

    site = settings(context, config)
    policy = policies.load(site.watch.policy, site.site)
    with existing_store(site) as store:
        task = desk.acknowledge(store, site, policy, alert, by, datetime.now(UTC), note)
    _say(task, "is yours", site, json=json)


@app.command("looked-at")
def look_at_referral(
    context: typer.Context,
    referral: Annotated[str, typer.Argument(help="Id of the referral.")],
    by: ByOption,
    config: ConfigOption = None,
    note: WordsOption = "",
    json: JsonOption = False,
) -> None:
    """Say that you have looked at a referral of which nothing was heard; its silence starts again."""
    from fhir_coprod.watch.worklist import desk

    site = settings(context, config)
    with existing_store(site) as store:
        task = desk.looked_at(store, site, referral, by, datetime.now(UTC), note)
    if json:
        print_json(task)
        return
    stdout.print(f"Noted: {shown(by)} has looked at {shown(task['focus']['reference'])}.", highlight=False)


@app.command("snooze")
def snooze_alert(
    context: typer.Context,
    alert: AlertArgument,
    by: ByOption,
    until: Annotated[str, typer.Option(help="Until when, such as 2026-03-20: to the end of that day.")],
    config: ConfigOption = None,
    note: WordsOption = "",
    json: JsonOption = False,
) -> None:
    """Put it aside for a while: never past the guarantee date, never for asap and stat."""
    from fhir_coprod.cli.times import end_of
    from fhir_coprod.watch.rules import policies
    from fhir_coprod.watch.worklist import desk

    site = settings(context, config)
    policy = policies.load(site.watch.policy, site.site)
    end = end_of(until, site.site.zone)
    with existing_store(site) as store:
        task = desk.snooze(store, site, policy, alert, by, end, datetime.now(UTC), note)
    _say(task, "is put aside", site, json=json)


def _say(task: Json, what: str, site: Settings, *, json: bool) -> None:
    from fhir_coprod.watch.record.fhir import moment
    from fhir_coprod.watch.rules.standing import spoken_end
    from fhir_coprod.watch.worklist import desk

    row = desk.as_json(task)
    if json:
        print_json(row)
        return
    zone = site.site.zone
    act_by = moment(row["act_by"], zone)
    end = f" until {spoken_end(act_by, zone)}" if act_by else ""
    stderr.print(shown(f"{row['id'][:8]} {what}{end}."), highlight=False)


app.command("letter")(letters.letter)
app.command("release")(letters.release_letter)
