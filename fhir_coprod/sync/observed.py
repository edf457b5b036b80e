"""Tells the watch and the pages what sync can see of each EHR: feeds, unread records, dead letters.

The tables belong to sync (`store/schema/sync.py`); other packages read them only through this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, bindparam, case, exists, func, literal_column, or_, select

from fhir_coprod.instants import from_milliseconds, now, to_milliseconds
from fhir_coprod.settings import EhrSettings
from fhir_coprod.store.schema.sync import crosswalk, dead_letter, feed, letter_patient, unread
from fhir_coprod.sync import pauses


class Unreliable(NamedTuple):
    """A type of an EHR whose absence proves nothing at present."""

    ehr: str
    type: str
    state: str
    """See `staging.feed.State`."""
    since: datetime
    """The time up to which the type is known, or when that state began."""
    reason: str


class Unread(NamedTuple):
    """A resource of ours that is out of date: its EHR's newest version is a dead letter."""

    ehr: str
    type: str
    id: str
    since: datetime


class Gap(NamedTuple):
    """A patient of ours for whom an EHR did not give the records of a type, although it gave the others'."""

    ehr: str
    type: str
    patient: str
    """Our id."""
    since: datetime


class Missed(NamedTuple):
    """Records of a type that could not be taken in, that we never had, and that name a patient of ours."""

    ehr: str
    """"" for a file."""
    type: str
    patient: str
    """Our id."""
    made: str
    """When the records say that they were made, as they say it; "" if they do not."""
    since: datetime


class Waiting(NamedTuple):
    """An EHR with records that could not be taken in."""

    ehr: str
    records: int
    newest: int
    """The number of the last dead letter."""


MOST_COUNTED: Final = 10_000

# Built once: they run whenever the watch looks at anything, and building them takes longer than running them.
_UNRELIABLE: Final = select(
    feed.c.ehr, feed.c.type, feed.c.state, feed.c.since, feed.c.reason, feed.c.last_success
).where(or_(feed.c.state.not_in(("observable", "failed")), feed.c.last_success < bindparam("stale")))
_STANDING: Final = dead_letter.c.state.in_([literal_column("'open'"), literal_column("'dismissed'")])
"""What a person has put aside is not seen either. Worded as in dead_letter_standing_idx, so that SQLite uses
that index."""
_UNREAD: Final = (
    select(dead_letter.c.ehr, dead_letter.c.type, crosswalk.c.id, dead_letter.c.received)
    .join(
        crosswalk,
        and_(
            crosswalk.c.ehr == dead_letter.c.ehr,
            crosswalk.c.type == dead_letter.c.type,
            crosswalk.c.foreign_id == dead_letter.c.foreign_id,
        ),
    )
    .where(_STANDING, dead_letter.c.foreign_id != "", crosswalk.c.id != "")
    .order_by(dead_letter.c.received)
)

_GAPS: Final = (
    select(unread.c.ehr, unread.c.type, crosswalk.c.id, unread.c.since)
    .outerjoin(  # so that SQLite begins with what is unread, and not with all patients
        crosswalk,
        and_(
            crosswalk.c.ehr == unread.c.ehr,
            crosswalk.c.type == "Patient",
            crosswalk.c.foreign_id == func.substr(unread.c.what, len("Patient/") + 1),
        ),
    )
    .where(
        unread.c.what.startswith("Patient/"),
        unread.c.type != "Patient",
        func.coalesce(crosswalk.c.id, "") != "",
    )
)

_own = crosswalk.alias("own")
_IS_NEW: Final = ~exists().where(
    _own.c.ehr == dead_letter.c.ehr,
    _own.c.type == dead_letter.c.type,
    _own.c.foreign_id == dead_letter.c.foreign_id,
    _own.c.id != "",
)
"""No earlier version of the record is here."""
_patient = case((letter_patient.c.ehr == "", letter_patient.c.foreign_id), else_=crosswalk.c.id)
_MISSED: Final = (
    select(dead_letter.c.ehr, dead_letter.c.type, _patient, letter_patient.c.made, dead_letter.c.received)
    .outerjoin(letter_patient, letter_patient.c.letter == dead_letter.c.id)
    .outerjoin(
        crosswalk,
        and_(
            crosswalk.c.ehr == letter_patient.c.ehr,
            crosswalk.c.type == "Patient",
            crosswalk.c.foreign_id == letter_patient.c.foreign_id,
        ),
    )
    .where(_STANDING, _IS_NEW, _patient != "")
    .order_by(dead_letter.c.received)
)
_NAMELESS: Final = (
    select(dead_letter.c.type, func.count())
    .where(_STANDING, _IS_NEW, ~exists().where(letter_patient.c.letter == dead_letter.c.id))
    .group_by(dead_letter.c.type)
)
_WAITING: Final = (
    select(dead_letter.c.ehr, func.count(), func.max(dead_letter.c.id))
    .where(dead_letter.c.state == literal_column("'open'"))  # as in dead_letter_open_idx
    .group_by(dead_letter.c.ehr)
    .order_by(dead_letter.c.ehr)
)


def unreliable_feeds(connection: Connection, pulled_since: datetime | None) -> list[Unreliable]:
    """Every feed that does not show its type, is behind, or has not been pulled completely since
    `pulled_since`.

    A pull without an answer does not undo what the pull before it saw: we rely on such a feed for as long as
    on one that nobody has tried to pull. Until then `struggling` reports it.
    """
    stale = max(to_milliseconds(pulled_since) if pulled_since else 0, 1)
    return [
        Unreliable(
            ehr,
            type,
            state,
            from_milliseconds(last_success if state == "observable" else since),
            reason if state != "observable" else "",  # what is remarked there is no reason for that
        )
        for ehr, type, state, since, reason, last_success in connection.execute(_UNRELIABLE, {"stale": stale})
    ]


def remarks(connection: Connection) -> list[tuple[str, str, str]]:
    """What is good to know of feeds that were read whole: EHR, type and words, in order.

    Of a type that an EHR did not give for some patients, `gaps` tells.
    """
    f, u = feed.c, unread.c
    statement = (
        select(f.ehr, f.type, f.reason)
        .where(f.state == "observable", f.reason != "")
        .where(~exists().where(u.ehr == f.ehr, u.type == f.type))
        .order_by(f.ehr, f.type)
    )
    return [(ehr, type, words) for ehr, type, words in connection.execute(statement)]


def struggling(connection: Connection, pulled_since: datetime) -> dict[str, tuple[datetime, str]]:
    """EHRs whose last pull failed, but not long ago: the time since which nothing new is known, and why."""
    statement = (
        select(feed.c.ehr, func.min(feed.c.last_success), func.min(feed.c.reason))
        .where(feed.c.state == "failed", feed.c.last_success >= to_milliseconds(pulled_since))
        .group_by(feed.c.ehr)
    )
    return {ehr: (from_milliseconds(known), reason) for ehr, known, reason in connection.execute(statement)}


def paused(connection: Connection, zone: ZoneInfo) -> dict[str, str]:
    """EHRs that a person has told us to leave alone, with since when, until when and why, in words."""
    return {ehr: one.words(zone) for ehr, one in pauses.pauses(connection, now()).items()}


def known_until(connection: Connection) -> dict[str, datetime]:
    """Up to when each EHR was last read, for those of which something was read at all."""
    statement = (
        select(feed.c.ehr, func.min(feed.c.last_success))
        .where(feed.c.state != "not-observable", feed.c.last_success > 0)
        .group_by(feed.c.ehr)
    )
    return {ehr: from_milliseconds(known) for ehr, known in connection.execute(statement)}


def first_read(connection: Connection) -> dict[str, datetime | None]:
    """When each EHR was first read completely; None if it has not been yet."""
    statement = (
        select(feed.c.ehr, func.min(feed.c.first_success), func.max(feed.c.first_success))
        .where(feed.c.state != "not-observable")
        .group_by(feed.c.ehr)
    )
    return {
        ehr: from_milliseconds(latest) if earliest else None
        for ehr, earliest, latest in connection.execute(statement)
    }


def unread_records(connection: Connection) -> Iterator[Unread]:
    """Resources of ours for which the EHR has sent a newer version that could not be taken in."""
    found: dict[tuple[str, str, str], int] = {}
    for *resource, received in connection.execute(_UNREAD):
        found.setdefault((*resource,), received)  # the first is the oldest
    for (ehr, type, id), received in sorted(found.items()):
        yield Unread(ehr, type, id, from_milliseconds(received))


def gaps(connection: Connection) -> Iterator[Gap]:
    """Patients for whom a type could not be read, although it could for others."""
    for ehr, type, id, since in connection.execute(_GAPS):
        yield Gap(ehr, type, id, from_milliseconds(since))


def missed_records(connection: Connection) -> Iterator[Missed]:
    """Patients of ours named by records that could not be taken in, and of which we have no earlier
    version."""
    found: dict[tuple[str, str, str, str], int] = {}
    for *records, received in connection.execute(_MISSED):
        found.setdefault((*records,), received)  # the first is the oldest
    for (ehr, type, patient, made), received in sorted(found.items()):
        yield Missed(ehr, type, patient, made, from_milliseconds(received))


def nameless_dead_letters(connection: Connection) -> dict[str, int]:
    """By type: how many such records name no patient, so that they may concern anybody."""
    return dict(connection.execute(_NAMELESS).all())


def waiting_dead_letters(connection: Connection) -> list[Waiting]:
    """EHRs with open dead letters, in order of name."""
    return [Waiting(*row) for row in connection.execute(_WAITING).all()]


def waiting_records(connection: Connection) -> int:
    """Records that are taken and not yet linked or written, counted up to `MOST_COUNTED`."""
    some = select(crosswalk.c.state).where(crosswalk.c.state > 0).limit(MOST_COUNTED)
    return int(connection.execute(select(func.count()).select_from(some.subquery())).scalar_one())


def departments(connection: Connection, ehrs: Iterable[EhrSettings]) -> dict[str, tuple[str, ...]]:
    """From an EHR's name to our references to the department whose records it holds."""
    found: dict[str, tuple[str, ...]] = {}
    for ehr in ehrs:
        type, _, foreign_id = ehr.department.partition("/")
        if not foreign_id:
            continue
        statement = select(crosswalk.c.type, crosswalk.c.id).where(
            crosswalk.c.ehr == ehr.name,
            crosswalk.c.type == type,
            crosswalk.c.foreign_id == foreign_id,
        )
        found[ehr.name] = tuple(f"{type}/{id}" for type, id in connection.execute(statement) if id)
    return found
