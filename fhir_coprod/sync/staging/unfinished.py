"""Remembers how far a pull of one type came that was cut off, so that the next one goes on there."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from fhir_coprod.store import guarded
from fhir_coprod.store.schema.sync import unfinished


class Unfinished(msgspec.Struct, frozen=True):
    """A pull that was cut off, by a quota, a failure or a kill."""

    began: str
    """When it began, as a FHIR instant: up to then the type is known when it ends."""
    since: str
    """The watermark from which it reads changes; "" if it reads everything."""
    accepts_older: bool
    """It is a full run, which a person asked for."""
    done: tuple[str, ...] = ()
    """Addresses of the searches that are read to their end."""
    at: str = ""
    """If there is only one search: the page to go on with."""
    came: int = 0
    """How many had come until then."""
    looks: int = 1
    """2: everything is being looked at once more."""
    gaps: dict[str, str] = {}
    """Patients there for whom a search failed → why."""
    seen: tuple[str, ...] | None = None
    """Ids of the records that came; None: all that we have of the type, since this is the first pull."""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def read(connection: Connection, ehr: str, type: str) -> Unfinished | None:
    """The pull that was cut off, if one was."""
    u = unfinished.c
    row = connection.execute(select(u.body).where(u.ehr == ehr, u.type == type)).first()
    try:
        return msgspec.json.decode(row[0], type=Unfinished) if row is not None else None
    except msgspec.MsgspecError:  # of another version of this program; then from the start
        return None


def save(connection: Connection, ehr: str, type: str, body: bytes) -> None:
    """Remember how far the pull has come."""
    guarded.put(connection, unfinished, [(ehr, type, body)])


def forget(connection: Connection, ehr: str, type: str) -> None:
    """The pull has ended."""
    guarded.take_all(connection, unfinished, ehr, type)
