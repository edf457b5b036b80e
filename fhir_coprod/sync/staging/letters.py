"""Keeps what could not be taken in as dead letters: its bytes, the reason, and whom it concerns.

The watch claims nothing that rests on what such a record may hold, so its patients are noted here, also if
the record cannot be parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from fhir_coprod import jsontext
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Outcome
from fhir_coprod.store import guarded
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.store.schema.sync import dead_letter, letter_patient
from fhir_coprod.sync.staging import references
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.waking import chunks
from fhir_coprod.watched import WATCHED

STANDING = ("open", "dismissed")
"""Values of dead_letter.state for what is still not taken in."""

_STANDING = select(dead_letter.c.id).where(
    dead_letter.c.ehr == bindparam("own_ehr"),
    dead_letter.c.type == bindparam("own"),
    listed(dead_letter.c.foreign_id, "ids"),
    dead_letter.c.state.in_(STANDING),
)


@dataclass(frozen=True, slots=True)
class Refused:
    """One record that could not be taken in, and why. `foreign_id` is "" if not even the id could be read."""

    ehr: str
    type: str
    foreign_id: str
    raw: bytes
    outcome: Outcome
    position: str
    patients: frozenset[Record] = frozenset()
    """Those that it names."""
    made: str = ""
    """When it says that it was made; "" if it does not."""


def refusal(
    ehr: str, type: str, id: str, raw: bytes, outcome: Outcome, position: str, data: Json, bases: Bases
) -> Refused:
    """A record that cannot be taken in, with what can be told of whom it concerns.

    data: its content; empty if it cannot be parsed
    """
    made = data.get(WATCHED[type].made) if type in WATCHED else ""
    named = references.patients(raw, ehr, bases)
    return Refused(ehr, type, id, raw, outcome, position, named, made if isinstance(made, str) else "")


def write(connection: Connection, refused: Sequence[Refused], now: datetime) -> int:
    """Write one row for each distinct content of a record; if it arrives again, open it again, unless a
    person has dismissed it. Returns how many of them have been."""
    d = dead_letter.c
    dismissed, at = 0, to_milliseconds(now)
    for one in refused:
        # A record that nobody could read has no bytes, and there may be many: their places tell them apart.
        digest = hashlib.sha256(one.raw or one.position.encode()).hexdigest()
        own = (d.ehr == one.ehr) & (d.type == one.type) & (d.foreign_id == one.foreign_id)
        if not one.foreign_id:  # of several
            own &= d.hash == digest
        held = connection.execute(select(d.id, d.hash, d.state).where(own)).all()
        outcome = jsontext.encode(one.outcome.to_fhir()).decode()
        known = next((letter for letter in held if letter.hash == digest), None)
        if known is not None:
            id, state = known.id, known.state if known.state == "dismissed" else "open"
            dismissed += state == "dismissed"
            news = {"state": state, "outcome": outcome, "position": one.position, "seen": at}
            guarded.change(connection, dead_letter, d.id == id, **news)
        else:
            id = guarded.add(
                *(connection, dead_letter),
                ehr=one.ehr,
                type=one.type,
                foreign_id=one.foreign_id,
                hash=digest,
                position=one.position,
                body=one.raw,
                outcome=outcome,
                received=at,
                state="open",
                seen=at,
            )
        _note_patients(connection, id, one)
        out_of_date = [letter.id for letter in held if letter.hash != digest and letter.state in STANDING]
        if out_of_date:
            guarded.change(connection, dead_letter, d.id.in_(out_of_date), state="superseded")
    return dismissed


def _note_patients(connection: Connection, letter: int, one: Refused) -> None:
    """Store whom a dead letter concerns; most of them come again every night and name the same."""
    patients = [(letter, patient.ehr, patient.id, one.made) for patient in sorted(one.patients)]
    held = connection.execute(select(letter_patient).where(letter_patient.c.letter == letter)).all()
    if {tuple(row) for row in held} != set(patients):
        guarded.take_all(connection, letter_patient, letter)
        guarded.put(connection, letter_patient, patients)


def resolve_what_came_no_more(connection: Connection, ehr: str, type: str, began: datetime) -> None:
    """Resolve the dead letters that a look at everything, which began then, did not bring again: their
    records are mended or gone. Only this closes one whose id nobody could read. What was lost has come again
    by then, if there is still something wrong with it."""
    d = dead_letter.c
    unseen = (d.ehr == ehr) & (d.type == type) & d.state.in_(STANDING) & (d.seen < to_milliseconds(began))
    guarded.change(connection, dead_letter, unseen, state="resolved")
    guarded.forget_lost(connection, dead_letter, ehr, type)


def resolve(connection: Connection, records: Sequence[Record]) -> None:
    """Resolve the dead letters of records that have now arrived in good order, or are gone."""
    for ids in chunks(record.id for record in records):
        own = {"own_ehr": records[0].ehr, "own": records[0].type, "ids": array(ids)}
        standing = list(connection.execute(_STANDING, own).scalars())
        if standing:
            guarded.change(connection, dead_letter, dead_letter.c.id.in_(standing), state="resolved")
