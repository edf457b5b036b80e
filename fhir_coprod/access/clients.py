"""The programs that may call (SMART Backend Services): who they are, and what each may ask for."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, true

from fhir_coprod.access.public_keys import Keys, read_keys
from fhir_coprod.access.scopes import Scope, read_scopes
from fhir_coprod.errors import BadRequest, Conflict, NotFound
from fhir_coprod.instants import from_milliseconds, instant, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store, Transaction, guarded
from fhir_coprod.store.schema.programs import client as table

CHANGED: Final = "access"
"""The setting of the store whose value changes with the clients and the keys, so that every process looks at
one row to see whether it has to read them again. Once it is there, callers are asked who they are."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_SCOPES: Final = 200


@dataclass(frozen=True, slots=True)
class Client:
    """A program that was registered. Its name is its client_id.

    jwks_url, jwks: where its keys are: one of both
    per_minute:     requests that it may send; 0: as the settings say
    since:          aware UTC
    """

    name: str
    scopes: tuple[Scope, ...]
    jwks_url: str
    jwks: str
    per_minute: int
    since: datetime

    def keys(self) -> Keys:
        """The keys that were given when it was registered."""
        return read_keys(self.jwks, f"the keys of the client {self.name}")

    def to_json(self) -> Json:
        where = {"jwks_url": self.jwks_url} if self.jwks_url else {}
        kept = {"keys": [key.kid for key in self.keys()]} if self.jwks else {}
        return {
            "name": self.name,
            "scopes": [str(scope) for scope in self.scopes],
            **where,
            **kept,
            "per_minute": self.per_minute,
            "since": instant(self.since),
        }


def clients(connection: Connection) -> Mapping[str, Client]:
    """All of them by name, but those whose rows are not as they were written: they may do nothing."""
    unfit = {key[0] for key in guarded.unfit(connection, table, true())}
    found = {}
    for name, scopes, url, jwks, per_minute, since in connection.execute(
        select(table).order_by(table.c.name)
    ):
        if name in unfit:
            continue
        allowed = read_scopes(scopes.split())
        found[name] = Client(name, allowed, url, jwks, per_minute, from_milliseconds(since))
    return found


def damaged(connection: Connection) -> list[str]:
    """The names of clients whose rows are not as they were written."""
    return sorted(str(key[0]) for key in guarded.unfit(connection, table, true()))


def add(
    store: Store, name: str, scopes: list[str], *, jwks_url: str, jwks: str, per_minute: int, now: datetime
) -> Client:
    """Register a program. Raises BadRequest for what it cannot be, Conflict if there is one of that name."""
    if not _NAME.fullmatch(name):
        raise BadRequest("Name a client with letters, digits, '.', '_' and '-', such as ward-7.")
    if not scopes or len(scopes) > _MOST_SCOPES:
        raise BadRequest("Give at least one --scope, such as system/ServiceRequest.rs.")
    allowed = read_scopes(scopes)
    if allowed[0].context != "system":
        raise BadRequest("A program gets scopes of system/, such as system/ServiceRequest.rs.")
    made = Client(name, allowed, jwks_url, jwks, per_minute, from_milliseconds(to_milliseconds(now)))
    words = " ".join(map(str, allowed))
    row = (name, words, jwks_url, jwks, per_minute, to_milliseconds(now))

    def write(transaction: Transaction) -> None:
        connection = transaction.connection
        if connection.execute(select(table.c.name).where(table.c.name == name)).first():
            raise Conflict(f"There is a client {name} already; first: fhir-coprod clients remove {name}")
        guarded.put(connection, table, [row])
        tell(transaction)

    store.write(write)
    return made


def remove(store: Store, name: str) -> None:
    """Forget a program; its tokens end with it. Raises NotFound."""

    def write(transaction: Transaction) -> None:
        connection = transaction.connection
        if not connection.execute(select(table.c.name).where(table.c.name == name)).first():
            raise NotFound(f"There is no client {name}; see fhir-coprod clients list.")
        guarded.take_all(connection, table, name)
        tell(transaction)

    store.write(write)


def tell(transaction: Transaction) -> None:
    """Let every process notice that clients or keys have changed."""
    transaction.set_setting(CHANGED, uuid.uuid4().hex)


def granted(client: Client, asked: str) -> tuple[Scope, ...]:
    """What a client gets of the scopes that it asks for: as far as each is within one that is registered.

    asked: with blanks between them; "" asks for whatever is registered

    Raises BadRequest if nothing is left, or if one of them is no scope of SMART.
    """
    if not asked.strip():
        return client.scopes
    words = [one for one in asked.split(" ") if one]
    if len(words) > _MOST_SCOPES:
        raise BadRequest("Too many scopes are asked for.")
    both = [
        found
        for wanted in read_scopes(words)
        for registered in client.scopes
        if (found := _within(wanted, registered)) is not None
    ]
    if not both:
        raise BadRequest("None of these scopes is registered for this client.")
    return tuple(dict.fromkeys(both))


def _within(wanted: Scope, registered: Scope) -> Scope | None:
    """What both allow; None if that is nothing."""
    actions = "".join(action for action in wanted.actions if action in registered.actions)
    if wanted.context != registered.context or not actions:
        return None
    if "*" not in (wanted.type, registered.type) and wanted.type != registered.type:
        return None
    type = registered.type if wanted.type == "*" else wanted.type
    criteria = tuple(dict.fromkeys((*wanted.criteria, *registered.criteria)))
    return Scope(wanted.context, type, actions, criteria)
