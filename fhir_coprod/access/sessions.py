"""Keeps who is signed in to the pages, in the store: all processes know it, and an end is one for all.

The cookie holds 256 unguessable bits; the store only their hash, so that who reads the table can be nobody. A
row may be lost at any time: the person signs in again. A row that is not as it was written is no sign-in.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from fhir_coprod import jsontext
from fhir_coprod.access_settings import SignInSettings
from fhir_coprod.instants import from_milliseconds, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store, Transaction, seals
from fhir_coprod.store.schema.sign_in import session as table

_ID = re.compile(r"[A-Za-z0-9_-]{43}")
_FIND = select(table).where(table.c.hash == bindparam("hash"))
_MINUTE = timedelta(minutes=1)


class Person(NamedTuple):
    """Somebody, as the provider names them.

    name:        issuer|subject: what stays the same
    shown:       what the pages call them
    roles:       those of the settings that the provider's claims stand for
    departments: those that they stand for
    patient:     id of the Patient who it is; "" for none
    related:     ids of the RelatedPersons who it is
    practitioner: id of the Practitioner who it is; "" for none
    """

    name: str
    shown: str
    roles: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    patient: str = ""
    related: tuple[str, ...] = ()
    practitioner: str = ""


class Session(NamedTuple):
    """One browser in which a person is signed in. Times are aware UTC.

    hash:   of what its cookie holds
    proven: when the person last proved who they are; None: the provider does not say
    acr:    how they did; "": the provider does not say
    acting: which of several ways to act was chosen; "" for none
    """

    hash: str
    person: Person
    began: datetime
    proven: datetime | None
    acr: str
    used: datetime
    ends: datetime
    acting: str

    def is_recent(self, now: datetime, settings: SignInSettings) -> bool:
        """Whether the person proved who they are just now, in the way that the settings ask for."""
        if settings.recent_acr and self.acr != settings.recent_acr:
            return False
        return self.proven is not None and now - self.proven <= timedelta(minutes=settings.recent_minutes)

    @property
    def label(self) -> str:
        """What tells it from others in the audit, and opens nothing."""
        return self.hash[:16]


def hash_of(id: str) -> str:
    """The hash of what a cookie holds; "" for what can be no cookie of ours."""
    return hashlib.sha256(id.encode()).hexdigest() if _ID.fullmatch(id) else ""


def begin(
    store: Store,
    settings: SignInSettings,
    person: Person,
    now: datetime,
    *,
    proven: datetime | None = None,
    acr: str = "",
    instead_of: str = "",
    acting: str = "",
) -> str:
    """Let somebody be signed in; returns what their cookie is to hold, which nobody knew before.

    instead_of: what the cookie held until now, which no longer opens anything
    """
    id = secrets.token_urlsafe(32)
    claimed = jsontext.encode(list(person[2:])).decode()
    when = (to_milliseconds(now), to_milliseconds(proven) if proven else 0)
    known = (hash_of(id), person.name, person.shown, claimed, *when, acr)
    row = (*known, to_milliseconds(now), to_milliseconds(_end(settings, now, now)), acting, seals.seal(known))

    def write(transaction: Transaction) -> None:
        run = transaction.session.run
        run("DELETE FROM session WHERE ends <= ? OR hash = ?", (to_milliseconds(now), hash_of(instead_of)))
        run(f"INSERT INTO session VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - marks only

    store.write(write)
    return id


def find(connection: Connection, settings: SignInSettings, id: str, now: datetime) -> Session | None:
    """The sign-in that a cookie stands for; None if it has ended, or never was."""
    hash = hash_of(id)
    row = connection.execute(_FIND, {"hash": hash}).first() if hash else None
    if row is None or row.seal != seals.seal(tuple(row)[:7]):
        return None
    roles, departments, patient, related, practitioner = jsontext.decode(row.claimed)
    person = Person(
        row.name, row.shown, tuple(roles), tuple(departments), patient, tuple(related), practitioner
    )
    began, used = from_milliseconds(row.began), from_milliseconds(row.used)
    ends = min(from_milliseconds(row.ends), _end(settings, began, used))
    if not began - _MINUTE <= now < ends or person.name.rpartition("|")[0] != settings.issuer:
        return None
    proven = from_milliseconds(row.proven) if row.proven else None
    return Session(hash, person, began, proven, row.acr, used, ends, row.acting)


def touch(store: Store, settings: SignInSettings, session: Session, now: datetime) -> None:
    """Note that a page was asked for, once a minute, and without waiting for it."""
    if now - session.used < min(_MINUTE, timedelta(minutes=settings.idle_minutes / 10)):
        return
    used, ends = to_milliseconds(now), to_milliseconds(_end(settings, session.began, now))
    store.submit(
        lambda t: t.session.run(
            "UPDATE session SET used = ?, ends = ? WHERE hash = ? AND used < ?",
            (used, ends, session.hash, used),
        )
    )


def act_as(store: Store, session: Session, acting: str) -> None:
    """Note which way to act was chosen."""
    store.write(
        lambda t: t.session.run("UPDATE session SET acting = ? WHERE hash = ?", (acting, session.hash))
    )


def end(store: Store, id: str) -> None:
    """End one sign-in: at once, whichever process is asked."""
    store.write(lambda t: t.session.run("DELETE FROM session WHERE hash = ?", (hash_of(id),)))


def end_all(transaction: Transaction, name: str) -> int:
    """End all of a person; returns how many there were."""
    return int(transaction.session.run("DELETE FROM session WHERE name = ?", (name,)))


def forget_old(transaction: Transaction) -> None:
    """Remove those that have ended."""
    transaction.session.run("DELETE FROM session WHERE ends <= ?", (transaction.session.milliseconds(),))


def present(connection: Connection, now: datetime) -> list[Json]:
    """Who is signed in at present: name, shown, and since when."""
    columns = (table.c.name, table.c.shown, table.c.began)
    found = connection.execute(
        select(*columns).where(table.c.ends > to_milliseconds(now)).order_by(table.c.name, table.c.began)
    )
    return [{"name": row.name, "shown": row.shown, "since": from_milliseconds(row.began)} for row in found]


def _end(settings: SignInSettings, began: datetime, used: datetime) -> datetime:
    return min(began + timedelta(hours=settings.hours), used + timedelta(minutes=settings.idle_minutes))
