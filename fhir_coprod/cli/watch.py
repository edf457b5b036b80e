"""`fhir-coprod watch`: find stalled referrals, print them, and keep the alerts about them up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fhir_coprod.cli.common import (
    check_output,
    existing_store,
    print_json,
    put_json,
    settings,
    stderr,
    stdout,
)
from fhir_coprod.cli.options import ConfigOption, JsonOption, OutputOption, QuietOption
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # the watch takes a second to load, which its help need not spend
    from fhir_coprod.settings import Settings
    from fhir_coprod.store import Store
    from fhir_coprod.watch.rules.policies import Policy
    from fhir_coprod.watch.rules.standing import Standing
    from fhir_coprod.watch.worklist.apart import Group
    from fhir_coprod.watch.worklist.unwatched import Limit

PolicyOption = Annotated[
    str,
    typer.Option(
        "--policy",
        help="Ask what another deadline policy would say, by name or path of a .toml file; only prints.",
    ),
]


def watch(
    context: typer.Context,
    config: ConfigOption = None,
    now: Annotated[
        str,
        typer.Option(help="Ask what would be said at this time (2026-03-02 or with a time); only prints."),
    ] = "",
    policy: PolicyOption = "",
    show_all: Annotated[bool, typer.Option("--all", help="Every referral that is not closed.")] = False,
    quiet: QuietOption = False,
    output: OutputOption = None,
    json: JsonOption = False,
) -> None:
    """Find stalled referrals; raise, keep and resolve the alerts about them.

    With --now, or a --policy that is not the site's own, it only prints.
    """
    from fhir_coprod.cli.times import time_of
    from fhir_coprod.watch import sweep
    from fhir_coprod.watch.facts.names import read_names
    from fhir_coprod.watch.facts.reader import Reader
    from fhir_coprod.watch.live.present import look
    from fhir_coprod.watch.rules import policies
    from fhir_coprod.watch.rules.standing import urgency
    from fhir_coprod.watch.worklist.apart import orders_apart
    from fhir_coprod.watch.worklist.unwatched import what_cannot_be_watched

    site = settings(context, config)
    check_output(output)
    rules = policies.load(policy or site.watch.policy, site.site)
    what_if = bool(now) or policy not in ("", site.watch.policy)
    at = time_of(now, site.site.zone) if now else datetime.now(UTC)
    with existing_store(site) as store:
        found = look(store, rules, at, site) if what_if else sweep(store, rules, at, site)
        unseen = what_cannot_be_watched(store, rules, site, found, at)
        apart = [] if what_if else orders_apart(store, site, at)
        standings = sorted((standing for standing in found if standing.is_open), key=urgency)
        chosen = [standing for standing in standings if show_all or standing.is_stalled]
        if json or output is not None:
            with store.connect() as connection:
                names = read_names(Reader(connection, site), chosen)
            document = [standing.to_json(names) for standing in chosen]
            if output is not None:
                put_json(document, output)
            if json:
                print_json(document)
        if quiet:
            return
        if json:
            _print_unseen(unseen, stderr)
            _print_apart(apart, stderr)
            return
        _print(store, site, rules, chosen, standings, show_all=show_all, now=at)
        _print_unseen(unseen, stdout)
        _print_apart(apart, stdout)


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
    from fhir_coprod.cli import tables
    from fhir_coprod.watch.facts.names import initials_of, read_names
    from fhir_coprod.watch.facts.reader import Reader

    with store.connect() as connection:
        reader = Reader(connection, site)
        names = read_names(reader, chosen)
        names |= initials_of(reader, (standing.patient for standing in chosen))
    standings = [standing for standing in standings if not standing.is_unclear]
    stalled = sum(standing.is_stalled for standing in standings)
    if chosen:
        stdout.print(tables.standings(chosen, names, policy, now, show_all=show_all))
    elif standings:
        stdout.print("No referral is stalled. Every one that can be seen is moving as agreed.", style="green")
    else:
        stdout.print("There is no open referral here yet. Bring some in with fhir-coprod sync or load.")
    drafts = sum(bool(standing.notes) for standing in standings)
    if standings:
        untold = sum(
            standing.is_stalled and not standing.patient_informed and not standing.is_telling_unseen
            for standing in standings
        )
        line = f"{len(standings)} open, {stalled} stalled, {untold} of those patients not told."
        stdout.print(line + (f" {drafts} drafts left lying." if drafts else ""), highlight=False)


def _print_unseen(unseen: Iterable[Limit], console: Console) -> None:
    """Always print what cannot be watched: silence is not safety."""
    for each in unseen:
        console.print(f"Cannot be watched: {shown(each.sentence)}", style="yellow", highlight=False)


def _print_apart(groups: Iterable[Group], console: Console) -> None:
    """Always print what is not watched as a referral: no order disappears."""
    for each in groups:
        console.print(f"Apart: {shown(each.sentence)}", style="dim", highlight=False)
