"""Erases everything about a patient, in one transaction: a kill leaves all of it or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy

from fhir_coprod import jsontext
from fhir_coprod.audit.trail import Trail, at_the_machine
from fhir_coprod.errors import BadRequest, Conflict
from fhir_coprod.instants import from_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, Version, erasing
from fhir_coprod.store.database import Session
from fhir_coprod.subject import whose
from fhir_coprod.subject.whose import Found, Shared
from fhir_coprod.sync import alone as lease
from fhir_coprod.sync import erasing as synced
from fhir_coprod.watch.facts import rows

_TOLD: Final = 5
"""How many resources a sentence names."""


class Plan(NamedTuple):
    """What is erased, or would be.

    resources, versions: of what is about this patient alone
    records: of EHRs, which the sync holds
    letters: dead letters
    shared:  references of what is about others too and names the patient now
    blanked: old versions, which named the patient, of resources that are not theirs
    last:    when something about the patient was last written here
    until:   until when it has to be kept
    """

    resources: dict[str, int]
    versions: int
    records: int
    letters: int
    shared: list[str]
    blanked: int
    last: datetime
    until: datetime

    def to_json(self) -> Json:
        """As `patient erase --json` prints it."""
        return {**self._asdict(), "last": self.last.isoformat(), "until": self.until.isoformat()}


def erase(
    store: Store,
    settings: Settings,
    patient: str,
    *,
    reason: str = "",
    unname: bool = False,
    again: bool = False,
    dry_run: bool = False,
) -> Plan:
    """Erase everything about the Patient with this id; returns what that was.

    reason:  why it is done before the time is over for which it has to be kept; it stays in the audit
    unname:  take the references to the patient out of what is about others too
    again:   let the next sync take the records again
    dry_run: only look

    Raises NotFound; Conflict while a sync runs, while the record has to be kept and no reason is given, and
    if something is about others too; BadRequest if the reason names the patient.
    """
    base = settings.site.base_url.rstrip("/")
    years = settings.retention.clinical_years
    if dry_run:
        return store.write(
            lambda transaction: _plan(transaction, whose.find(transaction, patient, base), years)
        )
    with lease.alone(store), Trail(store, settings.audit) as trail:
        if not trail.is_off:
            trail.open()

        def work(transaction: Transaction) -> Plan:
            _wipe_freed_pages(transaction.session, store)
            transaction.lock()
            found = whose.find(transaction, patient, base)
            plan = _plan(transaction, found, years)
            _refuse(transaction, plan, found, reason, unname=unname)
            _erase(transaction, found, again=again)
            if not trail.is_off:
                trail.note(transaction, _event(plan, reason, again=again))
            return plan

        try:
            return store.write(work)
        finally:
            _empty_log(store)


def _plan(transaction: Transaction, found: Found, years: int) -> Plan:
    held = synced.held(transaction.connection, found.patients, found.references)
    resources: dict[str, int] = {}
    for type, _ in found.references:
        resources[type] = resources.get(type, 0) + 1
    last = from_milliseconds(max(version.milliseconds for version in found.alone))
    return Plan(
        resources,
        len(found.alone),
        len(held.records),
        len(held.letters),
        [one.reference for one in found.shared if one.is_now],
        sum(len(one.versions) - one.is_now for one in found.shared),
        last,
        _years_later(last, years),
    )


def _years_later(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:  # the 29th of February
        return moment.replace(year=moment.year + years, month=3, day=1)


def _refuse(transaction: Transaction, plan: Plan, found: Found, reason: str, *, unname: bool) -> None:
    if plan.until > transaction.now and not reason.strip():
        raise Conflict(
            f"The last entry about this patient is of {plan.last.date()}, so the record has to be kept until"
            f" {plan.until.date()} (retention.clinical_years); if an authority has decided otherwise, give"
            " --reason with its decision."
        )
    if plan.shared and not unname:
        names = ", ".join(plan.shared[:_TOLD])
        more = f" and {len(plan.shared) - _TOLD} more" if len(plan.shared) > _TOLD else ""
        raise Conflict(
            f"About others too: {names}{more}. Take this patient out of them, or let --unname take out the"
            " references."
        )
    told = reason.casefold()
    if any(word.casefold() in told for word in _words(found)):
        raise BadRequest("The reason is kept, and names the patient; write it without names and numbers.")


def _words(found: Found) -> Iterator[str]:
    """By what the patient could be told: the id, names and identifiers."""
    yield from found.patients
    for version in found.alone:
        if version.type != "Patient" or version.deleted:
            continue
        for name in _objects(version.data.get("name")):
            parts = [name.get("family"), name.get("text"), *(_list(name.get("given")))]
            yield from (part for part in parts if isinstance(part, str) and len(part) > 2)
        for identifier in _objects(version.data.get("identifier")):
            value = identifier.get("value")
            if isinstance(value, str) and len(value) > 2:
                yield value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: Any) -> Iterator[Json]:
    yield from (item for item in _list(value) if isinstance(item, dict))


def _erase(transaction: Transaction, found: Found, *, again: bool) -> None:
    references = found.references
    held = synced.held(transaction.connection, found.patients, references)
    synced.take_away(transaction.connection, held, references, transaction.now, again=again)
    names = [f"{type}/{id}" for type, id in references]
    for start in range(0, len(names), erasing.AT_ONCE):
        some = names[start : start + erasing.AT_ONCE]
        rows.erase(transaction.connection, some)
    for one in found.shared:
        _unname(transaction, one, found.patients)
    erasing.erase(transaction, references)
    _forget_answers(transaction, found.patients)


def _unname(transaction: Transaction, shared: Shared, own: frozenset[str]) -> None:
    """Take the patient out of the newest version, and blank the older ones that name them."""
    versions = shared.versions
    if shared.is_now:
        newest: Version = versions[-1]
        data = _without(newest.data, {f"Patient/{id}" for id in own})
        data.pop("text", None)
        marks = transaction.marks(newest.type, newest.id)
        transaction.put(jsontext.from_data(data), newest.id, source=newest.source, marks=marks)
    erasing.blank(transaction, versions)


def _without(value: Any, references: set[str]) -> Any:
    """The value with a word in place of each reference to one of these."""
    if isinstance(value, list):
        return [_without(item, references) for item in value]
    if not isinstance(value, dict):
        return value
    text = value.get("reference")
    if isinstance(text, str) and "/".join(text.partition("/_history/")[0].split("/")[-2:]) in references:
        return {"display": "erased"}
    return {key: _without(item, references) for key, item in value.items()}


def _forget_answers(transaction: Transaction, own: frozenset[str]) -> None:
    """Answers that wait to be fetched, and tell of the patient; they may be lost at any time."""
    is_sqlite = transaction.connection.dialect.name == "sqlite"
    within = "instr({0}, ?) > 0" if is_sqlite else "position(?::bytea IN {0}) > 0"
    for id in sorted(own):
        either = f"{within.format('request')} OR {within.format('answer')}"
        transaction.session.run(f"DELETE FROM async_request WHERE {either}", (id.encode(), id.encode()))  # noqa: S608


def _event(plan: Plan, reason: str, *, again: bool) -> Any:
    """What is remembered of it: counts and the reason, and nothing of whom it was about."""
    told = f"resources={sum(plan.resources.values())}&versions={plan.versions}&records={plan.records}"
    told += f"&again={str(again).lower()}&unnamed={len(plan.shared)}"
    return at_the_machine("patient-erase")._replace(query=f"{told}&reason={reason.strip()}")


def _wipe_freed_pages(session: Session, store: Store) -> None:
    """SQLite leaves what is deleted in pages that it uses again later, unless it is told to wipe them."""
    if store.database.url.get_backend_name() == "sqlite":
        session.rows("PRAGMA secure_delete = ON")


def _empty_log(store: Store) -> None:
    """What was written earlier is in SQLite's log until that is written back."""
    if store.database.url.get_backend_name() != "sqlite":
        return
    engine = store.database.make_engine()
    with suppress(sqlalchemy.exc.DBAPIError, sqlite3.Error):
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
    engine.dispose()
