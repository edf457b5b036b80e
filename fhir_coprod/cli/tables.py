"""Terminal tables of the referrals and of the alerts about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.table import Table

from fhir_coprod.cli.common import short_ids
from fhir_coprod.jsontext import Json
from fhir_coprod.terminal import shown
from fhir_coprod.watch.record.fhir import moment
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Stall, Standing, just_before, spoken

_COLOURS = {"high": "red", "moderate": "yellow", "low": "cyan"}
_NOBODY = "nobody is named"
_STATES = {
    "requested": "asked",
    "received": "taken",
    "accepted": "taken",
    "in-progress": "taken",
    "on-hold": "put aside",
}
HELD = frozenset(_STATES) - {"requested"}
"""Statuses of an alert that somebody has taken, or put aside, until its time."""


def standings(
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
    """Add a row for each thing that is missing; the first also shows what concerns the whole referral."""
    patient = names.get(standing.patient)
    who = "\n".join([*([f"[bold]{shown(patient)}[/]"] if patient else []), shown(id), str(standing.stage)])
    told = (
        "[green]yes[/]"
        if standing.patient_informed
        else "unseen"
        if standing.is_telling_unseen
        else "[red]no[/]"
    )
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
        promised = _day(standing, just_before(standing.guarantee))
        rows[-1] = (f"{missing}\n[dim]guarantee date {promised}[/]", since)
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        head, tail = (who, told) if number == 0 else ("", "")
        table.add_row(head, *row, tail, end_section=last)


def _mover(stall: Stall, names: Mapping[str, str]) -> str:
    return f"→ {shown(names.get(stall.owner) or stall.owner or _NOBODY)}"


def _when(standing: Standing, since: datetime | None, due: datetime | None, *, stored: bool) -> str:
    """The day it began and the day it is due; a star if it may have begun earlier."""
    began = _day(standing, since)
    lines = began + ("*" if stored else "")
    if due is None:
        return lines
    ends = _day(standing, just_before(due))
    return f"{lines}\n[dim]due {ends[5:] if ends[:4] == began[:4] else ends}[/]"


def _day(standing: Standing, at: datetime | None) -> str:
    return at.astimezone(ZoneInfo(standing.zone)).date().isoformat() if at else ""


def alerts(rows: Sequence[Json], names: Mapping[str, str], zone: ZoneInfo) -> Table:
    """A row for each follow-up: which referral, what is missing, who can move it, and until when."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("Alert", no_wrap=True)
    table.add_column("Referral", overflow="fold", min_width=9, max_width=16)
    table.add_column("What, and who can move it", min_width=22)
    table.add_column("Act by", no_wrap=True)
    ids = short_ids(row["id"] for row in rows)
    ids |= short_ids(row["referral"].partition("/")[2] for row in rows)
    for row in rows:
        table.add_row(*_alert_row(row, ids, names, zone), end_section=True)
    return table


def _alert_row(row: Json, ids: Mapping[str, str], names: Mapping[str, str], zone: ZoneInfo) -> list[str]:
    act_by = moment(row["act_by"], zone)
    asked = [just_before(act_by).astimezone(zone).date().isoformat()] if act_by else []
    asked.append(state(row))
    if row["step"]:
        asked.append(f"step {row['step']}")
    return [
        shown(ids[row["id"]]),
        "\n".join([shown(ids[row["referral"].partition("/")[2]]), shown(row["stage"])]).strip(),
        _what(row, names),
        "\n".join(asked),
    ]


def state(row: Json) -> str:
    return shown(_STATES.get(row["status"], str(row["status"])))


def _what(row: Json, names: Mapping[str, str]) -> str:
    if row["ehr_down"]:
        return f"cannot be seen: {shown(row['ehr_down'])}\n[dim]look with fhir-coprod ehr check[/]"
    if row["ehr_backfill"]:
        return f"old stalls of {shown(row['ehr_backfill'])}\n[dim]look with fhir-coprod watch[/]"
    if row["kind"] == "scope-shift":
        return "fewer orders are watched than before\n[dim]look with fhir-coprod alerts show[/]"
    if row["kind"] == "practice":
        return "a step is recorded far less often than before\n[dim]look with fhir-coprod alerts show[/]"
    if row["kind"] == "silence":
        owner = names.get(row["owner"] or "") or row["owner"] or _NOBODY
        return f"referrals of which nothing is heard\n→ {shown(owner)}"
    owner = names.get(row["owner"] or "") or row["owner"] or _NOBODY
    return "\n".join([*(shown(rule) for rule in row["rules"]), f"→ {shown(owner)}"])
