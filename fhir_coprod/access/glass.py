"""Breaks the glass: somebody of the staff sees one patient for an hour although nothing else lets them.

It lifts the limits of departments and what the patient refuses, for reading; never what is kept for a private
moment. Why is a code that the patient can read; their own words are for whoever reviews it. It belongs to
one sign-in and ends with it. There is no Consent for it: nobody has agreed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from fhir_coprod.access.rights import Rights
from fhir_coprod.access.sessions import Session
from fhir_coprod.errors import BadRequest, Conflict, NotAllowed, NotFound
from fhir_coprod.instants import from_milliseconds, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Query, Store, Transaction, guarded
from fhir_coprod.store.schema.sign_in import glass

MINUTES: Final = 60
REASONS: Final[Mapping[str, str]] = {
    "BTG": "break the glass",
    "ETREAT": "treatment in an emergency",
    "PATSFTY": "the safety of the patient",
    "CAREMGT": "care that cannot wait for a referral",
}
"""Codes of http://terminology.hl7.org/CodeSystem/v3-ActReason, in words that the patient reads."""
LONGEST: Final = 500
"""Characters of somebody's own words."""
_g = glass.c


class Broken(NamedTuple):
    """One time that the glass was broken. `note` is for whoever reviews it, and for nobody else."""

    id: str
    name: str
    shown: str
    patient: str
    reason: str
    note: str
    began: datetime
    ends: datetime
    reviewer: str
    reviewed: datetime | None

    def to_json(self) -> Json:
        """As `glass list --json` prints it."""
        return {
            "id": self.id,
            "who": self.name,
            "shown": self.shown,
            "patient": f"Patient/{self.patient}",
            "reason": self.reason,
            "note": self.note,
            "began": self.began.isoformat(),
            "ends": self.ends.isoformat(),
            "reviewer": self.reviewer or None,
            "reviewed": self.reviewed.isoformat() if self.reviewed else None,
        }


def find(store: Store, system: str, value: str) -> str:
    """The id of the one Patient with this identifier. Raises NotFound, in the same words for none and
    several."""
    if system and value:
        token = "|".join(re.sub(r"([\\|,$])", r"\\\1", each) for each in (system, value))
        found = store.search(Query.parse("Patient", [("identifier", token), ("_count", "2")])).matches
        living = [each for each in found if each.data.get("active") is not False]
        if len(living) == 1:
            return living[0].id
    raise NotFound("No single patient has this identifier; nothing was opened.")


def begin(
    store: Store, rights: Rights, session: Session, patient: str, reason: str, note: str, now: datetime
) -> Broken:
    """Break the glass for one patient, in place of another one of the same sign-in.

    Raises NotAllowed unless it is somebody of the staff who may read at all, and BadRequest without a reason.
    """
    if rights.kind != "person" or not any("r" in scope.actions for scope in rights.scopes):
        raise NotAllowed("Only the staff can break the glass; nothing was opened.")
    if reason not in REASONS:
        raise BadRequest("Say why, by one of the reasons on the page.")
    note = " ".join(note.split())[:LONGEST]
    if not note:
        raise BadRequest("Say in a few words what has happened; whoever reviews it reads them.")
    ends = now + timedelta(minutes=MINUTES)
    id = secrets.token_hex(8)
    row = (
        *(id, session.person.name, session.person.shown, session.hash, patient, reason, note),
        *(to_milliseconds(now), to_milliseconds(ends), "", 0),
    )

    def write(transaction: Transaction) -> None:
        connection = transaction.connection
        when = to_milliseconds(now)
        guarded.change(connection, glass, (_g.session == session.hash) & (_g.ends > when), ends=when)
        guarded.put(connection, glass, [row])

    store.write(write)
    return Broken(id, session.person.name, session.person.shown, patient, reason, note, now, ends, "", None)


def end(store: Store, session: Session, now: datetime) -> None:
    """Close it before its hour is over."""
    when = to_milliseconds(now)
    store.write(
        lambda t: guarded.change(
            t.connection, glass, (_g.session == session.hash) & (_g.ends > when), ends=when
        )
    )


def with_glass(connection: Connection, rights: Rights, session: Session, now: datetime) -> Rights:
    """The rights, with the patient for whom the glass is broken at present. A row that is not as it was
    written opens nothing."""
    if rights.kind != "person":
        return rights
    when = to_milliseconds(now)
    which = (_g.session == session.hash) & (_g.name == session.person.name) & (_g.began <= when)
    rows = connection.execute(select(_g.id, _g.patient).where(which, _g.ends > when)).all()
    if len(rows) != 1 or guarded.unfit(connection, glass, _g.id == rows[0].id):
        return rights
    return replace(rights, glass=rows[0].patient)


def listed(connection: Connection, *, unreviewed: bool = False) -> list[Broken]:
    """Every time that the glass was broken, the newest first.

    unreviewed: only those that nobody has looked at
    """
    query = select(glass).order_by(_g.began.desc(), _g.id)
    if unreviewed:
        query = query.where(_g.reviewer == "")
    return [
        Broken(
            *(row.id, row.name, row.shown, row.patient, row.reason, row.note),
            *(from_milliseconds(row.began), from_milliseconds(row.ends), row.reviewer),
            from_milliseconds(row.reviewed) if row.reviewed else None,
        )
        for row in connection.execute(query)
    ]


def of_patient(connection: Connection, patient: str) -> list[tuple[datetime, str]]:
    """When the glass was broken for a patient, and why, in words for them; never who wrote what."""
    query = select(_g.began, _g.reason).where(_g.patient == patient).order_by(_g.began.desc())
    rows = connection.execute(query)
    return [(from_milliseconds(row.began), REASONS.get(row.reason, row.reason)) for row in rows]


def review(store: Store, id: str, reviewer: str, now: datetime) -> None:
    """Note that somebody has looked at it. Raises NotFound, and Conflict where it was theirs."""

    def write(transaction: Transaction) -> None:
        found = transaction.connection.execute(select(_g.name, _g.shown).where(_g.id == id)).first()
        if found is None:
            raise NotFound(f"The glass was never broken under {id[:40]}; fhir-coprod glass list shows them.")
        if reviewer in (found.name, found.shown):
            raise Conflict("Somebody else has to look at it than who broke the glass.")
        guarded.change(
            transaction.connection, glass, _g.id == id, reviewer=reviewer, reviewed=to_milliseconds(now)
        )

    store.write(write)
