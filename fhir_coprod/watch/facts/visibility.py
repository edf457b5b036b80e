"""Finds what cannot be seen: types that an EHR does not show, and feeds that failed or fell behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, func, select

from fhir_coprod import watched
from fhir_coprod.settings import Settings
from fhir_coprod.store import index
from fhir_coprod.store.schema import core
from fhir_coprod.sync import observed
from fhir_coprod.watch.facts.newest import Row
from fhir_coprod.watch.record.fhir import LAST, moment
from fhir_coprod.watch.record.model import Blind

NOT_TAKEN_IN: Final = "the newest word on a record could not be taken in"
NOT_GIVEN: Final = "the EHR did not give it for one patient"
NOT_READABLE: Final = "an element of a record cannot be read; see `fhir-coprod quality`"


def blind_feeds(
    connection: Connection, settings: Settings, pulled_since: datetime | None
) -> tuple[Blind, ...]:
    """Every feed that cannot be relied on, with the departments that the EHR belongs to; and types of which
    too many kept records cannot be read."""
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
    ) + tuple(_nameless(connection))


NAMELESS_SHARE: Final = 0.001
"""While fewer of a type's records than this say neither what nor whom they belong to, claims go on; those
about urgent referrals always do."""


def _nameless(connection: Connection) -> Iterator[Blind]:
    """Types of which too many records name what they belong to in a form that cannot be read, and no patient:
    each could be the one that any referral waits for. They have no EHR here."""
    for type, several in _nameless_counts(connection).items():
        resource = core.resource.c
        statement = select(func.count()).where(resource.type == type, resource.deleted.is_(False))
        every = connection.execute(statement).scalar_one()
        if several >= every * NAMELESS_SHARE:
            reason = f"{several} of {every} records cannot be read and name no patient"
            yield Blind(type, "", reason=f"{reason}; see `fhir-coprod quality`", down=True)


def _nameless_counts(connection: Connection) -> dict[str, int]:
    if connection.execute(_ANY_MARK).first() is None:
        return {}
    types = {index.number(*pair): pair[0] for pair in watched.STRAYS}
    counts: dict[str, int] = {}
    for param, several in connection.execute(_NAMELESS, {"params": list(types)}):
        counts[types[param]] = max(counts.get(types[param], 0), several)
    return counts


_ANY_MARK: Final = select(core.quality.c.key).limit(1)
_NAMELESS: Final = (
    select(core.reference.c.param, func.count())
    .where(core.reference.c.param.in_(bindparam("params", expanding=True)), core.reference.c.target_id == "")
    .group_by(core.reference.c.param)
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


def unreadable(row: Row, about: str = "", *, is_own: bool = False) -> Blind:
    """A record in which something cannot be read that the watch needs, so that what it proves cannot be seen.

    about:  the record that this leaves in doubt, if it is another
    is_own: it belongs to the referral
    """
    ehr = row.source.removeprefix("ehr:") if row.source.startswith("ehr:") else ""
    about = about or row.reference
    return Blind(row.type, ehr, since=row.updated, reason=NOT_READABLE, record=about, is_own=is_own)


def unreadable_around(
    root: Row, rows: Iterable[Row], family: Iterable[Row], strays: Iterable[Row], zone: ZoneInfo
) -> Iterator[Blind]:
    """What cannot be read in the records around a referral, and so cannot be seen.

    family: the patient's referrals; one that may replace or answer this one leaves it in doubt
    strays: records of the patient that may belong to it
    """
    yield from (unreadable(row, is_own=True) for row in (root, *rows) if _leaves_doubt(row))
    for sibling in family:
        if sibling.unreadable and sibling.key != root.key:
            yield unreadable(sibling)
            if any(gone.partition(".")[0] in _TIES for gone in sibling.unreadable):
                yield unreadable(sibling, root.reference)
    written = moment(root.data.get("authoredOn") or root.data.get("sent"), zone)
    for stray in strays:
        at = moment(stray.data.get(_OWN_TIME.get(stray.type, "")), zone)
        if written is None or at is None or at >= written:
            yield unreadable(stray)


def _leaves_doubt(row: Row) -> bool:
    """Whether something cannot be read on which a claim may rest."""
    return any(gone.partition(".")[0] not in _ONLY_LATER for gone in row.unreadable)


_ONLY_LATER: Final = frozenset({"priority"})
"""Elements that can only bring a deadline forward: without them, what is claimed is claimed later."""
_TIES: Final = frozenset({"basedOn", "replaces", "requisition", "supportingInfo"})
"""Elements by which one referral says that it replaces or answers another."""
_OWN_TIME: Final = {
    "Task": "authoredOn",
    "Appointment": "created",
    "DiagnosticReport": "issued",
    "DocumentReference": "date",
    "Communication": "sent",
    "CommunicationRequest": "authoredOn",
}
"""When a record was made: one that is older than a referral cannot belong to it."""


def first_read(connection: Connection) -> dict[str, datetime]:
    """When each EHR was first read completely; LAST if it has not been yet.

    What was late by then is not news (it is a backfill).
    """
    return {ehr: moment or LAST for ehr, moment in observed.first_read(connection).items()}
