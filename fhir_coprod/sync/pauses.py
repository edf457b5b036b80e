"""Leaves an EHR alone while a person says so: its server is being upgraded, or it fails for days.

A pause is kept in the store, so that every process heeds it. It ends by itself if it was given an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from fhir_coprod.instants import from_milliseconds, instant, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store, guarded
from fhir_coprod.store.schema.sync import pause as table


class Pause(NamedTuple):
    """A pause of one EHR. Times are aware UTC."""

    ehr: str
    since: datetime
    until: datetime | None
    """None: until a person says so."""
    because: str

    def words(self, zone: ZoneInfo) -> str:
        """Since when, until when and why, in the local time in which people said it."""
        since, *end = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (self.since, self.until) if at)
        until = f" until {end[0]}" if end else ""
        return f"paused since {since}{until}{f': {self.because}' * bool(self.because)}"

    def to_json(self) -> Json:
        return {"since": instant(self.since), "until": instant(self.until), "because": self.because}


def pauses(connection: Connection, now: datetime) -> Mapping[str, Pause]:
    """The EHRs that are paused at `now`."""
    found = {}
    for ehr, since, until, because in connection.execute(select(table).order_by(table.c.ehr)):
        if not until or until > to_milliseconds(now):
            end = from_milliseconds(until) if until else None
            found[ehr] = Pause(ehr, from_milliseconds(since), end, because)
    return found


def pause(store: Store, ehr: str, until: datetime | None, because: str, now: datetime) -> Pause:
    """Pause an EHR; if it is paused already, only the end and the reason change."""
    with store.connect() as connection:
        before = pauses(connection, now).get(ehr)
    since = before.since if before else now
    row = (ehr, to_milliseconds(since), to_milliseconds(until) if until else 0, because)
    store.write(lambda t: guarded.put(t.connection, table, [row]))
    return Pause(ehr, since, until, because)


def resume(store: Store, ehr: str, now: datetime) -> Pause | None:
    """End the pause of an EHR; returns it, or None if there is none."""
    with store.connect() as connection:
        before = pauses(connection, now).get(ehr)
    store.write(lambda t: guarded.take_all(t.connection, table, ehr))
    return before
