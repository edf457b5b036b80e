"""Finds what cannot be seen: types that an EHR does not show, and feeds that failed or fell behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, func, literal, select

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
REFUSED: Final = "records of one patient could not be taken in; see `fhir-coprod dead-letters list`"
NOT_READABLE: Final = "an element of a record cannot be read; see `fhir-coprod quality`"


def blind_feeds(
    connection: Connection, settings: Settings, pulled_since: datetime | None
) -> tuple[Blind, ...]:
    """Every feed that cannot be relied on, with the departments that the EHR belongs to; and types of which
    too many kept records cannot be read."""
    feeds = observed.unreliable_feeds(connection, pulled_since)
    departments = observed.departments(connection, settings.ehr) if feeds else {}
    paused = observed.paused(connection, settings.site.zone) if feeds else {}
    return tuple(
        Blind(
            feed.type,
            feed.ehr,
            departments.get(feed.ehr, ()),
            feed.since,
            feed.reason or paused.get(feed.ehr, "not pulled for too long"),
            feed.state != "not-observable",
        )
        for feed in feeds
    ) + tuple(_nameless(connection))


NAMELESS_SHARE: Final = 0.001
"""While fewer of a type's records than this say neither what nor whom they belong to, claims go on; those
about urgent referrals always do."""


def _nameless(connection: Connection) -> Iterator[Blind]:
    """Types of which too many records name no patient, and either could not be taken in or say in a form that
    cannot be read what they belong to: each could be the one that any referral waits for. They have no EHR
    here."""
    marked, refused = _nameless_counts(connection), observed.nameless_dead_letters(connection)
    for type in sorted({*marked, *refused} & watched.WATCHED.keys()):
        letters = refused.get(type, 0)
        several = marked.get(type, 0) + letters
        # No need to count further: with more records than that, claims go on.
        some = select(literal(1)).where(_resource.type == type, _resource.deleted.is_(False))
        some = some.limit(round(several / NAMELESS_SHARE) + 1)
        every = connection.execute(select(func.count()).select_from(some.subquery())).scalar_one() + letters
        if several >= every * NAMELESS_SHARE:
            reason = f"{several} of {every} records cannot be read and name no patient"
            where = [*["quality"] * (type in marked), *["dead-letters list"] * (type in refused)]
            see = " and ".join(f"`fhir-coprod {each}`" for each in where)
            yield Blind(type, "", reason=f"{reason}; see {see}", down=True)


def _nameless_counts(connection: Connection) -> dict[str, int]:
    if connection.execute(_ANY_MARK).first() is None:
        return {}
    types = {index.number(*pair): pair[0] for pair in watched.STRAYS}
    counts: dict[str, int] = {}
    for param, several in connection.execute(_NAMELESS, {"params": list(types)}):
        counts[types[param]] = max(counts.get(types[param], 0), several)
    return counts


_resource: Final = core.resource.c
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
    newest version is a dead letter, and patients for whom an EHR did not give a type, or whom records name
    that could not be taken in."""
    found: dict[str, tuple[Blind, ...]] = {}
    for ehr, type, id, since in observed.unread_records(connection):
        name = f"{type}/{id}"
        blind = Blind(type, ehr, since=since, reason=NOT_TAKEN_IN, record=name)
        found[name] = (*found.get(name, ()), blind)
    for ehr, type, id, since in observed.gaps(connection):
        name = f"Patient/{id}"
        blind = Blind(type, ehr, since=since, reason=NOT_GIVEN, record=name)
        found[name] = (*found.get(name, ()), blind)
    for ehr, type, id, made, since in observed.missed_records(connection):
        name = f"Patient/{id}"
        blind = Blind(type, ehr, since=since, reason=REFUSED, record=name, made=made)
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
    for stray in strays:
        made = watched.WATCHED[stray.type].made
        if may_concern(root, stray.data.get(made), zone):
            yield unreadable(stray)


def _leaves_doubt(row: Row) -> bool:
    """Whether something cannot be read on which a claim may rest."""
    return any(gone.partition(".")[0] not in _ONLY_LATER for gone in row.unreadable)


def may_concern(root: Row, made: object, zone: ZoneInfo) -> bool:
    """Whether a record that was made then may belong to the referral: not if it is older."""
    written = moment(root.data.get("authoredOn") or root.data.get("sent"), zone) if made else None
    at = moment(made, zone)
    return written is None or at is None or at >= written


_ONLY_LATER: Final = frozenset({"priority"})
"""Elements that can only bring a deadline forward: without them, what is claimed is claimed later."""
_TIES: Final = frozenset({"basedOn", "replaces", "requisition", "supportingInfo"})
"""Elements by which one referral says that it replaces or answers another."""


def first_read(connection: Connection) -> dict[str, datetime]:
    """When each EHR was first read completely; LAST if it has not been yet.

    What was late by then is not news (it is a backfill).
    """
    return {ehr: moment or LAST for ehr, moment in observed.first_read(connection).items()}
