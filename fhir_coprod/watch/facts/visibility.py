"""Finds what cannot be seen: types that an EHR does not show, and feeds that failed or fell behind."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from fhir_coprod.settings import Settings
from fhir_coprod.sync import observed
from fhir_coprod.watch.record.fhir import LAST
from fhir_coprod.watch.record.model import Blind

NOT_TAKEN_IN: Final = "the newest word on a record could not be taken in"
NOT_GIVEN: Final = "the EHR did not give it for one patient"


def blind_feeds(
    connection: Connection, settings: Settings, pulled_since: datetime | None
) -> tuple[Blind, ...]:
    """Every feed that cannot be relied on, with the departments that the EHR belongs to."""
    feeds = observed.unreliable_feeds(connection, pulled_since)
    departments = observed.departments(connection, settings.ehr) if feeds else {}
    return tuple(
        Blind(
            feed.type,
            feed.ehr,
            departments.get(feed.ehr, ()),
            feed.since,
            feed.reason or "not pulled for too long",
            feed.state != "not-observable",
        )
        for feed in feeds
    )


def by_reason(feeds: Iterable[tuple[str, str]]) -> str:
    """Types in words, with the reason why each cannot be seen; types with the same reason come together."""
    types: dict[str, list[str]] = {}
    for type, reason in feeds:
        types.setdefault(reason.rstrip("."), []).append(type)
    parts = (
        f"{', '.join(dict.fromkeys(names))}{f' ({reason})' * bool(reason)}" for reason, names in types.items()
    )
    return "; ".join(parts)


def unread_records(connection: Connection) -> dict[str, tuple[Blind, ...]]:
    """What is not seen of single records, by our reference: resources that are out of date, since their EHR's
    newest version is a dead letter, and patients for whom an EHR did not give a type."""
    found: dict[str, tuple[Blind, ...]] = {}
    for ehr, type, id, since in observed.unread_records(connection):
        name = f"{type}/{id}"
        blind = Blind(type, ehr, since=since, reason=NOT_TAKEN_IN, record=name)
        found[name] = (*found.get(name, ()), blind)
    for ehr, type, id, since in observed.gaps(connection):
        name = f"Patient/{id}"
        blind = Blind(type, ehr, since=since, reason=NOT_GIVEN, record=name)
        found[name] = (*found.get(name, ()), blind)
    return found


def first_read(connection: Connection) -> dict[str, datetime]:
    """When each EHR was first read completely; LAST if it has not been yet.

    What was late by then is not news (it is a backfill).
    """
    return {ehr: moment or LAST for ehr, moment in observed.first_read(connection).items()}
