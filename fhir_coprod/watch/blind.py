"""What cannot be seen: feeds of EHRs that do not show a type, failed, or fell behind."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, or_, select

from fhir_coprod.settings import Settings
from fhir_coprod.store import schema
from fhir_coprod.store.versions import from_milliseconds, to_milliseconds
from fhir_coprod.watch.records import Blind


def blind_feeds(
    connection: Connection, settings: Settings, pulled_since: datetime | None
) -> tuple[Blind, ...]:
    """Every feed that cannot be relied on, with the departments whose EHR it is."""
    feed = schema.feed.c
    stale = to_milliseconds(pulled_since) if pulled_since else 0
    statement = select(feed.ehr, feed.type, feed.since, feed.reason, feed.last_success, feed.state).where(
        or_(feed.state != "observable", feed.last_success < stale)
    )
    rows = connection.execute(statement).all()
    departments = _departments(connection, settings) if rows else {}
    return tuple(
        Blind(
            type,
            ehr,
            departments.get(ehr, ()),
            from_milliseconds(last_success if state == "observable" else since),
            reason or "not pulled for too long",
            state != "not-observable",
        )
        for ehr, type, since, reason, last_success, state in rows
    )


def _departments(connection: Connection, settings: Settings) -> dict[str, tuple[str, ...]]:
    """From an EHR's name to our references of the department whose records it holds."""
    crosswalk = schema.crosswalk.c
    found: dict[str, tuple[str, ...]] = {}
    for ehr in settings.ehr:
        type, _, foreign_id = ehr.department.rpartition("/")
        if not foreign_id:
            continue
        statement = select(crosswalk.type, crosswalk.id).where(
            crosswalk.ehr == ehr.name,
            crosswalk.type == (type or "Organization"),
            crosswalk.foreign_id == foreign_id,
        )
        found[ehr.name] = tuple(f"{type}/{id}" for type, id in connection.execute(statement) if id)
    return found
