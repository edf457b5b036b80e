"""Remembers which records of the EHRs were erased on a patient's behalf, so that no sync takes them again.

Of such a record there is a hash only, with a key that is in the same store: who can read the store can try
whether an id that they know is among them, and nobody can read the ids from it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from fhir_coprod import jsontext
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import guarded
from fhir_coprod.store.schema import core, erased
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks

if TYPE_CHECKING:
    from fhir_coprod.sync.staging.stage import Batch

KEY: Final = "erased.key"
"""The setting with the key of the hashes; there is none before something was erased."""
_KEY = select(core.setting.c.value).where(core.setting.c.name == KEY)
_HELD = select(erased.record.c.hash).where(listed(erased.record.c.hash, "hashes"))


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


def leave_out(connection: Connection, batch: Batch) -> int:
    """Take out of a batch what was erased: the records themselves, and new ones that name nobody but patients
    who were. Returns how many that are."""
    if connection.execute(_KEY).scalar() is None:
        return 0
    named = {taken.record: _patients(taken.targets) for taken in batch.taken}
    named |= {Record(one.ehr, one.type, one.foreign_id): sorted(one.patients) for one in batch.refused}
    wanted = {*named, *batch.unchanged, *batch.gone, *(one for many in named.values() for one in many)}
    wanted |= {old for old, _ in batch.given_up}
    gone = among(connection, wanted)
    if not gone:
        return 0
    gone |= {record for record, many in named.items() if many and gone.issuperset(many)}
    before = batch.size
    batch.taken = [one for one in batch.taken if one.record not in gone]
    batch.refused = [one for one in batch.refused if Record(one.ehr, one.type, one.foreign_id) not in gone]
    batch.unchanged = [record for record in batch.unchanged if record not in gone]
    batch.gone = [record for record in batch.gone if record not in gone]
    batch.given_up = [pair for pair in batch.given_up if pair[0] not in gone]
    return before - batch.size


def _patients(targets: Iterable[tuple[str, str, str]]) -> Sequence[Record]:
    return [Record(*target) for target in sorted(targets) if target[0] and target[1] == "Patient"]
