"""Lists all referrals, a portion at a time, each with what the watch last said about it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, and_, exists, or_, select

from fhir_coprod.store import index
from fhir_coprod.store.schema import core
from fhir_coprod.store.schema import watch as watch_tables
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.record import followup


class Root(NamedTuple):
    """A referral, or a message by which a patient may ask for one."""

    key: int
    name: str
    held: rows.Held | None
    """The row of its standing; None if it has none."""


def roots_from(connection: Connection, start: int, portion: int) -> list[Root]:
    """The next `portion` referrals whose key is at least `start`; empty if there are no more."""
    resource, reference = core.resource.c, core.reference.c
    here = [resource.deleted.is_(False), resource.key >= start]
    name = (resource.type + "/" + resource.id).label("name")
    roots = (
        select(resource.key, name, *rows.HELD)
        .select_from(core.resource.outerjoin(watch_tables.standing, watch_tables.standing.c.referral == name))
        .order_by(resource.key)
        .limit(portion)
    )
    found = connection.execute(roots.where(resource.type == "ServiceRequest", *here)).all()
    if len(found) == portion:
        # Messages beyond these referrals belong to the next portion, so that each is returned once.
        here.append(resource.key <= found[-1][0])
    from_persons = exists().where(
        reference.key == resource.key,
        reference.param == index.number("Communication", "sender"),
        reference.target_type.in_(("Patient", "RelatedPerson")),
    )
    messages = connection.execute(roots.where(resource.type == "Communication", from_persons, *here)).all()
    if messages:
        found = sorted([*found, *messages], key=lambda row: row[0])[:portion]
    return [
        Root(key, name, None if due is None else rows.Held(due, *rest)) for key, name, due, *rest in found
    ]


def forgotten(connection: Connection) -> set[str]:
    """References of former referrals, now deleted or something else, that still have open follow-ups.

    The watch keeps a standing of every existing referral once it has looked at all of them, so a follow-up
    about something without a standing is such a one.
    """
    code, status = core.token.alias().c, core.token.alias().c
    reference, resource = core.reference.c, core.resource.c
    statement = (
        select(reference.target_type, reference.target_id)
        .join(code.key.table, code.key == reference.key)
        .join(status.key.table, status.key == reference.key)
        .outerjoin(
            core.resource,
            and_(
                resource.type == reference.target_type,
                resource.id == reference.target_id,
                resource.deleted.is_(False),
            ),
        )
        .outerjoin(
            watch_tables.standing,
            watch_tables.standing.c.referral == reference.target_type + "/" + reference.target_id,
        )
        .where(
            code.param == index.number("Task", "code"),
            code.code == followup.FOLLOWUP,
            status.param == index.number("Task", "status"),
            status.code.not_in(followup.CLOSED),
            reference.param == index.number("Task", "focus"),
            or_(resource.key.is_(None), watch_tables.standing.c.referral.is_(None)),
        )
    )
    return {f"{type}/{id}" for type, id in connection.execute(statement)}
