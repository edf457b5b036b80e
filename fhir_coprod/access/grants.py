"""The roles that people were given by `fhir-coprod users grant`, in the guarded table `user_grant`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from fhir_coprod.access import sessions
from fhir_coprod.access_settings import is_department
from fhir_coprod.errors import BadRequest, NotFound
from fhir_coprod.instants import from_milliseconds, instant, to_milliseconds
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, guarded
from fhir_coprod.store.schema.sign_in import user_grant as table

_OF = select(table).where(table.c.name == bindparam("name"))


class Grant(NamedTuple):
    """A role that somebody has in a department. Times are aware UTC.

    name:  issuer|subject
    until: None: until it is taken back
    """

    name: str
    role: str
    department: str
    since: datetime
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        return self.until is None or now < self.until

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "role": self.role,
            "department": self.department,
            "since": instant(self.since),
            "until": instant(self.until),
        }


def of(connection: Connection, name: str, now: datetime) -> list[Grant]:
    """Those of one person that hold at `now`. One that is not as it was written gives nothing."""
    found = [_read(row) for row in connection.execute(_OF, {"name": name})]
    if not found:
        return []
    altered = guarded.unfit(connection, table, table.c.name == name)
    return [each for each in found if each.holds(now) and tuple(each[:3]) not in altered]


def everybody(connection: Connection) -> list[Grant]:
    """All of them, also those that are over."""
    order = (table.c.name, table.c.role, table.c.department)
    return [_read(row) for row in connection.execute(select(table).order_by(*order))]


def grant(
    store: Store,
    settings: Settings,
    grants: list[tuple[str, str, str]],
    until: datetime | None,
    now: datetime,
) -> list[Grant]:
    """Give roles, as (name, role, department). One that is there already is given anew.

    Raises BadRequest if a role is not in the settings, or what is named is no department.
    """
    for _, role, department in grants:
        if role not in settings.access.roles:
            known = ", ".join(sorted(settings.access.roles)) or "none; add [access.roles.NAME] with scopes"
            raise BadRequest(f"The settings have no role {role!r}; known: {known}.")
        if not is_department(department):
            raise BadRequest(
                "Name a department as it is here, such as Organization/orthopaedics, or '*' for all."
            )
    if until is not None and until <= now:
        raise BadRequest("That end is over already; name a day to come, or leave --until out.")
    given = [Grant(*each, now, until) for each in grants]
    rows = [(*each[:3], to_milliseconds(now), to_milliseconds(until) if until else 0) for each in given]
    store.write(lambda t: guarded.put(t.connection, table, rows))
    return given


def revoke(store: Store, name: str) -> tuple[int, int]:
    """Take back all that somebody was given, and end all their sign-ins; returns how many of each there were.

    Raises NotFound if there are none.
    """

    def write(transaction: Transaction) -> tuple[int, int]:
        given = len(transaction.connection.execute(_OF, {"name": name}).all())
        guarded.take_all(transaction.connection, table, name)
        return given, sessions.end_all(transaction, name)

    done = store.write(write)
    if done == (0, 0):
        raise NotFound(
            "Nobody of that name has a role from here, or is signed in; see fhir-coprod users list."
        )
    return done


def full_name(settings: Settings, who: str) -> str:
    """A person as issuer|subject; the subject alone is of the issuer of the settings. Raises BadRequest."""
    issuer, bar, subject = who.rpartition("|")
    if not bar:
        if settings.access.sign_in is None:
            raise BadRequest(
                "Write ISSUER|SUBJECT, or set access.sign_in first, so that the issuer is known."
            )
        issuer = settings.access.sign_in.issuer
    if not issuer or not subject or len(subject) > 255 or not who.isprintable():
        raise BadRequest("Write ISSUER|SUBJECT: the page of a person without a role shows it.")
    return f"{issuer}|{subject}"


def _read(row: Any) -> Grant:
    until = from_milliseconds(row.until) if row.until else None
    return Grant(row.name, row.role, row.department, from_milliseconds(row.since), until)
