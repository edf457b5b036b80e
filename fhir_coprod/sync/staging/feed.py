"""Stores which resource types of each EHR can be seen at present: the table `feed`, with state and watermark.

There is one row for each EHR and type. The watch reads it before it claims a stall: what is not observable,
or behind, is unknown, not stalled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, select

from fhir_coprod.instants import from_milliseconds, instant, to_milliseconds
from fhir_coprod.store import guarded
from fhir_coprod.store.schema.sync import (
    bulk_file,
    bulk_job,
    ehr_base,
    feed,
    pause,
    sync_run,
    unfinished,
    unread,
)
from fhir_coprod.sync.ehr.plan import EhrPlan

State = Literal["observable", "not-observable", "failed", "behind"]
"""observable: the last pull saw everything; not-observable: the server does not show this type;
failed: the last pull got no usable answer; behind: the last pull got answers but did not see everything, or
there has been none yet."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What we know about one type at one EHR. Times are aware UTC."""

    ehr: str
    type: str
    state: State
    since: datetime
    """When that state began."""
    reason: str
    first_success: datetime | None
    """When the type was first seen completely: what was already late then is a backfill, not news."""
    last_success: datetime | None
    """The start of the last pull that saw everything: up to then the type is known."""
    watermark: str = ""
    """Where the next incremental pull may start; "" if everything has to be read."""
    last_full: datetime | None = None
    """When the last pull that listed everything and saw it ended."""
    short_looks: int = 0
    """How many of the last such pulls in a row saw fewer records than the EHR counts."""

    @property
    def words(self) -> str:
        """The state for people: what is known of the type, since when, and why."""
        if self.state == "observable":
            known = instant(self.last_success) if self.last_success else "never"
            return f"whole as of {known}{f'; {self.reason}' * bool(self.reason)}"
        name = {"not-observable": "cannot be seen", "failed": "failed", "behind": "not whole"}[self.state]
        return f"{name} since {instant(self.since)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Success:
    """A finished pull of one type; `watermark` is where the next one may start, or ""."""

    watermark: str
    started: datetime
    behind: str = ""
    """What it nevertheless could not see; "" if it saw everything."""
    remark: str = ""
    """What a person should know of it although everything was seen."""
    fault: str = ""
    """What a person should mend, although it hides nothing else."""
    is_full: bool = False
    """It listed everything."""
    began: datetime | None = None
    """When it began, by our clock; `started` may be earlier, by the EHR's."""
    short_looks: int = 0
    """How many of these in a row, with this one, saw fewer records than the EHR counts."""
    gaps: tuple[tuple[str, str], ...] = ()
    """What the EHR did not give although it gave the rest: `Patient/id` there or a record, and why."""

    @property
    def whole_since(self) -> datetime | None:
        """When this look began, if it listed everything and nothing stayed unseen."""
        return self.began if self.is_full and not self.behind and not self.gaps else None


def feeds(connection: Connection, ehr: str | None = None) -> list[Feed]:
    """All feeds, or the feeds of one EHR, in order of name and type."""
    statement = select(feed).order_by(feed.c.ehr, feed.c.type)
    if ehr is not None:
        statement = statement.where(feed.c.ehr == ehr)
    return [_from_row(row) for row in connection.execute(statement).mappings()]


def _from_row(row: Any) -> Feed:
    return Feed(
        row["ehr"],
        row["type"],
        row["state"],
        from_milliseconds(row["since"]),
        row["reason"],
        from_milliseconds(row["first_success"]) if row["first_success"] else None,
        from_milliseconds(row["last_success"]) if row["last_success"] else None,
        row["watermark"],
        from_milliseconds(row["last_full"]) if row["last_full"] else None,
        row["short_looks"],
    )


def read(connection: Connection, ehr: str, type: str) -> Feed | None:
    """One feed, if there is one."""
    statement = select(feed).where(feed.c.ehr == ehr, feed.c.type == type)
    row = connection.execute(statement).mappings().first()
    return _from_row(row) if row is not None else None


def forget_others(connection: Connection, ehrs: Sequence[str]) -> None:
    """Drop the feeds of EHRs that are no longer in the settings, and what else reading them left."""
    for table in (feed, unfinished, unread, ehr_base, bulk_job, bulk_file, pause, sync_run):
        guarded.take(connection, table, table.c.ehr.not_in(list(ehrs)))


def planned(connection: Connection, plan: EhrPlan, now: datetime) -> None:
    """Store the plan as feed rows: types that cannot be seen are marked at once, the others are behind until
    they are pulled.

    Feeds of types that are no longer in the plan are dropped. One that was lost, or altered from outside, is
    begun anew: everything of that type is read again.
    """
    types = [type_plan.type for type_plan in plan.types]
    for table in (feed, unfinished, unread):
        guarded.take(connection, table, (table.c.ehr == plan.ehr) & table.c.type.not_in(types))
    altered = {type for _, type in guarded.unfit(connection, feed, feed.c.ehr == plan.ehr)}
    states = {row.type: row for row in feeds(connection, plan.ehr) if row.type not in altered}
    for type_plan in plan.types:
        before = states.get(type_plan.type)
        if not type_plan.observable:
            _set(connection, plan.ehr, type_plan.type, "not-observable", type_plan.reason, before, now)
        elif before is None or before.state == "not-observable":
            _set(connection, plan.ehr, type_plan.type, "behind", "not pulled yet", before, now)


def failed(
    connection: Connection, ehr: str, types: Iterable[str], state: State, reason: str, now: datetime
) -> None:
    """Note that the last pull of these types did not see everything; `since` stays at the beginning of an
    earlier failure."""
    states = {row.type: row for row in feeds(connection, ehr)}
    for type in types:
        before = states.get(type)
        if before is None or before.state != "not-observable":
            _set(connection, ehr, type, state, reason, before, now)


def succeeded(connection: Connection, ehr: str, type: str, success: Success, now: datetime) -> None:
    """Note that a pull of this type has finished. If it is still behind, `since` stays at the time it first
    was."""
    before = next((row for row in feeds(connection, ehr) if row.type == type), None)
    state: State = "behind" if success.behind else "observable"
    reason = success.behind or "; ".join(filter(None, (success.fault, success.remark)))
    _set(connection, ehr, type, state, reason, before, now)
    values: dict[str, Any] = {"watermark": success.watermark}
    started = to_milliseconds(success.started)
    if success.is_full:
        # One that did not see everything is followed by another.
        full = 0 if success.behind else to_milliseconds(now)
        values |= {"last_full": full, "short_looks": success.short_looks}
    if not success.behind:
        first = before.first_success if before is not None else None
        values |= {"last_success": started, "first_success": to_milliseconds(first) if first else started}
    guarded.change(connection, feed, (feed.c.ehr == ehr) & (feed.c.type == type), **values)
    _note_gaps(connection, ehr, type, success.gaps, now)


def _note_gaps(
    connection: Connection, ehr: str, type: str, gaps: Sequence[tuple[str, str]], now: datetime
) -> None:
    """Store what was not given; what was not given before either keeps the time since which."""
    u = unread.c
    own = (u.ehr == ehr) & (u.type == type)
    since = dict(connection.execute(select(u.what, u.since).where(own)).all())
    guarded.take_all(connection, unread, ehr, type)
    rows = [
        (ehr, type, what, reason, since.get(what, to_milliseconds(now)))
        for what, reason in dict(gaps).items()
    ]
    guarded.put(connection, unread, rows)


def _set(
    connection: Connection,
    ehr: str,
    type: str,
    state: State,
    reason: str,
    before: Feed | None,
    now: datetime,
) -> None:
    if before is None:
        row = (ehr, type, state, to_milliseconds(now), reason, "", 0, 0, 0, 0)
        guarded.put(connection, feed, [row])
        return
    since = to_milliseconds(before.since if before.state == state else now)
    own = (feed.c.ehr == ehr) & (feed.c.type == type)
    guarded.change(connection, feed, own, state=state, reason=reason, since=since)
