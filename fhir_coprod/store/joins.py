"""Keeps table joined: two records of a patient that became one open nothing until a person confirms it.

The row of the Patient who stays (`resource.joined`) has the position of the log at which that was. Until it
is confirmed, a department needs a referral that came later to see more than its referrals, and a patient or
proxy sees what has not been written since: nobody can tell whose the rest was.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from fhir_coprod.errors import NotFound
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import guarded
from fhir_coprod.store.schema.core import joined
from fhir_coprod.store.transaction import Transaction

_j = joined.c


def join(transaction: Transaction, patient: str, former: str) -> None:
    """The record of `former` has gone over to `patient`; in the transaction that writes that."""
    transaction.lock()
    rows = transaction.session.rows("SELECT position FROM version ORDER BY position DESC LIMIT 1")
    guarded.put(transaction.connection, joined, [(patient, former, rows[0][0] if rows else 0, "", 0)])
    _mark(transaction, patient)


def confirm(transaction: Transaction, patient: str, who: str, formers: Collection[str] = ()) -> list[str]:
    """A person says that a patient is who has been joined; returns the ids of those who were.

    formers: only those; all of them if it is empty

    Raises NotFound if nothing waits for it.
    """
    which = (_j.patient == patient) & (_j.confirmed == 0)
    if formers:
        which &= _j.former.in_(sorted(formers))
    found = list(transaction.connection.execute(select(_j.former).where(which)).scalars())
    if not found:
        raise NotFound(f"Nothing is to be confirmed of Patient/{patient[:64]}; people joined lists them.")
    guarded.change(transaction.connection, joined, which, who=who, confirmed=_now(transaction))
    _mark(transaction, patient)
    return sorted(found)


def waiting(transaction: Transaction) -> list[tuple[str, str]]:
    """Patient and former id of those whom nobody has confirmed."""
    query = select(_j.patient, _j.former).where(_j.confirmed == 0).order_by(_j.patient, _j.former)
    return [(row.patient, row.former) for row in transaction.connection.execute(query)]


def _mark(transaction: Transaction, patient: str) -> None:
    transaction.session.run(
        "UPDATE resource SET joined = coalesce((SELECT max(j.position) FROM joined j"
        " WHERE j.patient = resource.id AND j.confirmed = 0), 0) WHERE type = 'Patient' AND id = ?",
        (patient,),
    )


def _now(transaction: Transaction) -> int:
    return to_milliseconds(transaction.now)
