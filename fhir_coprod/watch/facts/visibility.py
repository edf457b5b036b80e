"""What cannot be seen: feeds of EHRs that do not show a type, failed, or fell behind."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from fhir_coprod.settings import Settings
from fhir_coprod.store.schema import sync as sync_tables
from fhir_coprod.store.versions import from_milliseconds, to_milliseconds
from fhir_coprod.watch.record.fhir import LAST
from fhir_coprod.watch.record.model import Blind

NOT_TAKEN_IN: Final = "the newest word on a record could not be taken in"

# Made once: they are asked whenever anything is looked at, and making them takes longer than asking.
_feed, _letter, _crosswalk = sync_tables.feed.c, sync_tables.dead_letter.c, sync_tables.crosswalk.c
_UNRELIABLE: Final = select(
    _feed.ehr, _feed.type, _feed.since, _feed.reason, _feed.last_success, _feed.state
).where(or_(_feed.state.not_in(("observable", "failed")), _feed.last_success < bindparam("stale")))
_UNREAD: Final = (
    select(_letter.ehr, _letter.type, _crosswalk.id, func.min(_letter.received))
    .join(
        sync_tables.crosswalk,
        and_(
            _crosswalk.ehr == _letter.ehr,
            _crosswalk.type == _letter.type,
            _crosswalk.foreign_id == _letter.foreign_id,
        ),
    )
    .where(_letter.state == "open", _letter.foreign_id != "", _crosswalk.id != "")
    .group_by(_letter.ehr, _letter.type, _crosswalk.id)
)


def blind_feeds(
    connection: Connection, settings: Settings, pulled_since: datetime | None
) -> tuple[Blind, ...]:
    """Every feed that cannot be relied on, with the departments whose EHR it is.

    A pull that got no answer takes nothing away from what the one before it saw: such a feed is relied on for
    as long as one that nobody has tried to pull. `struggling` tells of it meanwhile.
    """
    stale = max(to_milliseconds(pulled_since) if pulled_since else 0, 1)
    rows = connection.execute(_UNRELIABLE, {"stale": stale}).all()
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


def by_reason(feeds: Iterable[tuple[str, str]]) -> str:
    """Types with the reason why each cannot be seen, a reason that they share said once."""
    types: dict[str, list[str]] = {}
    for type, reason in feeds:
        types.setdefault(reason.rstrip("."), []).append(type)
    parts = (
        f"{', '.join(dict.fromkeys(names))}{f' ({reason})' * bool(reason)}" for reason, names in types.items()
    )
    return "; ".join(parts)


def struggling(connection: Connection, pulled_since: datetime) -> dict[str, tuple[datetime, str]]:
    """EHRs whose last pull failed, but not long ago: from when on nothing new is known, and why."""
    feed = sync_tables.feed.c
    statement = (
        select(feed.ehr, func.min(feed.last_success), func.min(feed.reason))
        .where(feed.state == "failed", feed.last_success >= to_milliseconds(pulled_since))
        .group_by(feed.ehr)
    )
    return {
        ehr: (from_milliseconds(known), reason) for ehr, known, reason in connection.execute(statement).all()
    }


def unread_records(connection: Connection) -> dict[str, Blind]:
    """By reference, resources of ours that stand as they were: their EHR's newest word is a dead letter."""
    return {
        f"{type}/{id}": Blind(
            type, ehr, since=from_milliseconds(received), reason=NOT_TAKEN_IN, record=f"{type}/{id}"
        )
        for ehr, type, id, received in connection.execute(_UNREAD)
    }


def first_read(connection: Connection) -> dict[str, datetime]:
    """When each EHR was first read whole: what was late by then is no news (a backfill).

    LAST while it has not been yet.
    """
    feed = sync_tables.feed.c
    statement = (
        select(feed.ehr, func.min(feed.first_success), func.max(feed.first_success))
        .where(feed.state != "not-observable")
        .group_by(feed.ehr)
    )
    return {
        ehr: from_milliseconds(latest) if earliest else LAST
        for ehr, earliest, latest in connection.execute(statement)
    }


def _departments(connection: Connection, settings: Settings) -> dict[str, tuple[str, ...]]:
    """From an EHR's name to our references of the department whose records it holds."""
    crosswalk = sync_tables.crosswalk.c
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
