"""Remembers which records of the EHRs were erased on a patient's behalf, so that no sync takes them again.

Of such a record there is a hash only, with a key that is in the same store: who can read the store can try
whether an id that they know is among them, and nobody can read the ids from it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, select

from fhir_coprod import jsontext
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import guarded
from fhir_coprod.store.schema import core, erased
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks

KEY: Final = "erased.key"
"""The setting with the key of the hashes; there is none before something was erased."""
_KEY = select(core.setting.c.value).where(core.setting.c.name == KEY)
_HELD = select(erased.record.c.hash).where(listed(erased.record.c.hash, "hashes"))


def were_any(connection: Connection) -> bool:
    """Whether any record was ever erased."""
    return connection.execute(_KEY).scalar() is not None


def remember(connection: Connection, records: Iterable[Record], now: datetime) -> None:
    """From now on, these records are not taken."""
    key = connection.execute(_KEY).scalar()
    if key is None:
        key = secrets.token_hex(32)
        guarded.put(connection, core.setting, [(KEY, key)])
    at = to_milliseconds(now)
    hashes = {_hash(key, record) for record in records}
    guarded.put(connection, erased.record, [(hash, at) for hash in sorted(hashes)])


def among(connection: Connection, records: Collection[Record]) -> set[Record]:
    """Those of the records that were erased."""
    key = connection.execute(_KEY).scalar() if records else None
    if key is None:
        return set()
    hashes = {_hash(key, record): record for record in records}
    found: set[str] = set()
    for chunk in chunks(hashes):
        found |= set(connection.execute(_HELD, {"hashes": array(chunk)}).scalars())
    return {hashes[hash] for hash in found}


def _hash(key: str, record: Record) -> str:
    text = jsontext.encode([record.ehr, record.type, record.id])
    return blake2b(text, key=bytes.fromhex(key), digest_size=32).hexdigest()
