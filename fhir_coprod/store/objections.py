"""Keeps table objection: to whom a patient refuses what.

Its rows are made of the Consents, in the transaction that writes these. What one record of a person refuses
holds for all records that it links to (Patient.link), so also for two that became one. The row of each
Patient says how many rows there are; one that is lost closes the record to every department.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, TypeVar

from fhir_coprod import jsontext
from fhir_coprod.errors import CoprodError
from fhir_coprod.jsontext import Json
from fhir_coprod.store import consents, index
from fhir_coprod.store.consents import Actor, Objection
from fhir_coprod.store.database import Session
from fhir_coprod.store.entries import split_reference
from fhir_coprod.store.relations import Touched
from fhir_coprod.store.schema import core
from fhir_coprod.store.values import FIRST, LAST, cut

T = TypeVar("T")
Row = tuple[str, str, str, str, str, str, str]
KEPT: Final = frozenset({"Consent", "Patient"})
"""The types on which the rows depend."""
_AT_ONCE: Final = 400
_BEFORE, _AFTER = "", "~"
"""Times that sort before and after all others."""


@cache
def _subject() -> int:
    return index.number("Consent", "patient")


@cache
def _link() -> int:
    return index.number("Patient", "link")


class Following:
    """Makes the rows of table objection follow a change; made before the change."""

    def __init__(self, session: Session, touched: Iterable[Touched]) -> None:
        self._session = session
        own = [one for one in touched if one[1] in KEPT]
        self._consents = [(key, id) for key, type, id in own if type == "Consent"]
        self._patients = [(key, id) for key, type, id in own if type == "Patient"]
        self._before: set[str] = set()
        if own and not self._consents and not session.rows("SELECT 1 FROM objection LIMIT 1"):
            self._patients = []
        if self._consents or self._patients:
            self._before = self._named()

    def follow(self) -> None:
        """All else is written: write the rows that depend on it."""
        if not self._consents and not self._patients:
            return
        patients = self._before | self._named() | {id for _, id in self._patients}
        rewrite(self._session, patients, [id for _, id in self._consents])

    def _named(self) -> set[str]:
        """The patients whom the touched Consents, their rows and the touched Patients name."""
        found: set[str] = set()
        for some in _portions([key for key, _ in (*self._consents, *self._patients)]):
            condition, values = self._session.among("key", some)
            params, numbers = self._session.among("param", (_subject(), _link()))
            found |= {
                row[0]
                for row in self._session.rows(
                    f"SELECT target_id FROM reference WHERE {condition} AND {params}"
                    " AND target_type = 'Patient'",
                    [*values, *numbers],
                )
            }
        for ids in _portions([id for _, id in self._consents]):
            condition, values = self._session.among("consent", ids)
            found |= {
                row[0]
                for row in self._session.rows(f"SELECT patient FROM objection WHERE {condition}", values)
            }
        return found


def rewrite(session: Session, patients: Iterable[str], also: Iterable[str] = ()) -> None:
    """Make the rows of these patients, and of all records of the same persons, anew.

    also: ids of Consents that may be about them, beside those that the index or their rows name
    """
    should = wanted(session, patients, also)
    names = sorted(should)
    held = present(session, names)
    for patient in names:
        if held.get(patient, set()) != should[patient]:
            session.run("DELETE FROM objection WHERE patient = ?", (patient,))
            if should[patient]:
                session.insert(core.objection, sorted(should[patient]))
        session.run(
            "UPDATE resource SET objections = ? WHERE type = 'Patient' AND id = ? AND objections <> ?",
            (len(should[patient]), patient, len(should[patient])),
        )


def present(session: Session, patients: Sequence[str]) -> dict[str, set[Row]]:
    """The rows that these patients have."""
    found: dict[str, set[Row]] = defaultdict(set)
    for some in _portions(patients):
        condition, values = session.among("patient", some)
        for row in session.rows(
            f"SELECT patient, consent, kind, party, type, low, high FROM objection WHERE {condition}", values
        ):
            found[row[0]].add(tuple(row))
    return found


def wanted(session: Session, patients: Iterable[str], also: Iterable[str] = ()) -> dict[str, set[Row]]:
    """The rows that these patients, and all records of the same persons, should have."""
    persons = _persons(session, patients)
    everybody = sorted({id for person in persons for id in person})
    said: dict[str, set[tuple[str, str, str, str, str, str]]] = defaultdict(set)
    for id, data in _consents(session, everybody, also):
        subject = data.get("patient")
        named = subject.get("reference") if isinstance(subject, dict) else None
        type, patient = split_reference(named) if isinstance(named, str) else ("", "")
        if type == "Patient":
            for each in consents.objections(data).objections:
                low, high = _moment(each.low), _moment(each.high)
                for kind, party in _parties(session, each):
                    said[patient].add((id, kind, party, each.type, low, high))
    found: dict[str, set[Row]] = {}
    for person in persons:
        rows = set().union(*(said.get(id, set()) for id in person))
        found.update((id, {(id, *row) for row in rows}) for id in person)
    return found


def notes(data: Json) -> tuple[str, ...]:
    """What of a Consent was not understood, and counts for more than it may have been meant."""
    return consents.objections(data).notes


def told(session: Session) -> list[Json]:
    """All objections: the Consent, its patient, whom it is against, and the notes."""
    rows = session.rows(
        "SELECT DISTINCT consent, patient, kind, party, type FROM objection ORDER BY 1, 2, 3, 4, 5"
    )
    against: dict[tuple[str, str], list[str]] = defaultdict(list)
    for consent, patient, kind, party, type in rows:
        words = f"{kind} {party}".strip() + (f" ({type})" if type else "")
        against[consent, patient].append(words)
    data = dict(_consents(session, [], {consent for consent, _ in against}))
    return [
        {
            "consent": consent,
            "patient": patient,
            "against": words,
            "notes": list(notes(data.get(consent, {}))),
        }
        for (consent, patient), words in against.items()
    ]


def _persons(session: Session, patients: Iterable[str]) -> list[frozenset[str]]:
    """The records of the same persons, each of them once."""
    found: list[frozenset[str]] = []
    done: set[str] = set()
    for patient in patients:
        if patient in done:
            continue
        person, newest = {patient}, {patient}
        while newest and len(person) < _AT_ONCE:
            newest = _linked(session, sorted(newest)) - person
            person |= newest
        done |= person
        found.append(frozenset(person))
    return found


def _linked(session: Session, patients: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in _portions(patients):
        own, values = session.of_type("Patient", some)
        found |= {
            row[0]
            for row in session.rows(
                f"SELECT f.target_id FROM {own} r JOIN reference f ON f.key = r.key"
                " WHERE f.param = ? AND f.target_type = 'Patient'",
                [*values, _link()],
            )
        }
        condition, values = session.among("f.target_id", some)
        found |= {
            row[0]
            for row in session.rows(
                f"SELECT r.id FROM reference f JOIN resource r ON r.key = f.key"
                f" WHERE f.param = ? AND {condition} AND f.target_type = 'Patient'",
                [_link(), *values],
            )
        }
    return found


def _consents(session: Session, patients: Sequence[str], also: Iterable[str]) -> list[tuple[str, Json]]:
    """The living Consents about these patients, as the index or their rows name them."""
    ids: set[str] = set(also)
    for some in _portions(patients):
        condition, values = session.among("f.target_id", some)
        rows = session.rows(
            "SELECT r.id FROM reference f JOIN resource r ON r.key = f.key"
            f" WHERE f.param = ? AND {condition} AND f.target_type = 'Patient'",
            [_subject(), *values],
        )
        ids |= {row[0] for row in rows}
        condition, values = session.among("patient", some)
        ids |= {row[0] for row in session.rows(f"SELECT consent FROM objection WHERE {condition}", values)}
    found = []
    for some in _portions(sorted(ids)):
        own, values = session.of_type("Consent", some)
        for id, body in session.rows(
            f"SELECT r.id, v.body FROM {own} r JOIN version v ON v.position = r.position"
            " WHERE r.deleted = false",
            values,
        ):
            try:
                data = jsontext.decode(bytes(body))
            except (CoprodError, TypeError, UnicodeDecodeError):
                continue  # `db check` tells of it
            found.append((id, data))
    return found


def _parties(session: Session, objection: Objection) -> set[tuple[str, str]]:
    """Kind and name of those whom an objection is against, as table objection has them."""
    actor = objection.actor
    if actor.kind == "identifier":
        return _identified(session, actor) or {("everybody", "")}
    if actor.kind == "everybody":
        return {("everybody", "")}
    type, _, id = actor.name.partition("/")
    known = {"Organization": "department", "Practitioner": "person", "RelatedPerson": "relative"}
    if type in known:
        return {(known[type], cut(id))}
    if type == "PractitionerRole":
        return _behind(session, id) or {("everybody", "")}
    return set() if type == "Patient" else {("everybody", "")}


def _identified(session: Session, actor: Actor) -> set[tuple[str, str]]:
    """Those whose identifier this is: of a department, of somebody of the staff, or of a sign-in."""
    system, _, value = actor.name.partition("|")
    found: set[tuple[str, str]] = set()
    for type, kind in (("Organization", "department"), ("Practitioner", "person")):
        rows = session.rows(
            "SELECT r.id FROM token t JOIN resource r ON r.key = t.key"
            " WHERE t.param = ? AND t.code = ? AND t.system = ?",
            (index.number(type, "identifier"), cut(value), cut(system)),
        )
        found |= {(kind, row[0]) for row in rows}
    named = (actor.name, actor.name)
    if session.rows(
        "SELECT 1 FROM user_grant WHERE name = ? UNION SELECT 1 FROM session WHERE name = ?", named
    ):
        found.add(("name", actor.name))
    return found


def _behind(session: Session, role: str) -> set[tuple[str, str]]:
    """Whoever has a role; the department, if it does not say who that is."""
    roles, values = session.of_type("PractitionerRole", [role])
    rows = session.rows(
        f"SELECT f.target_type, f.target_id FROM {roles} r JOIN reference f ON f.key = r.key"
        " WHERE r.deleted = false AND f.target_type IN ('Practitioner', 'Organization')",
        values,
    )
    people = {("person", row[1]) for row in rows if row[0] == "Practitioner"}
    return people or {("department", row[1]) for row in rows if row[0] == "Organization"}


def _moment(microseconds: int) -> str:
    """As the database writes the time."""
    if microseconds in (FIRST, LAST):
        return _BEFORE if microseconds == FIRST else _AFTER
    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return _BEFORE if microseconds < 0 else _AFTER
    return at.replace(tzinfo=None).isoformat(" ", "seconds")


def _portions(values: Sequence[T]) -> list[Sequence[T]]:
    return [values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE)]
