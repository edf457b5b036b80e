"""Searches the audit: calls, the newest first, month by month."""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from fhir_coprod.audit.chain import Row, month_of
from fhir_coprod.audit.events import Event, from_rows
from fhir_coprod.audit.places import Places
from fhir_coprod.errors import BadRequest
from fhir_coprod.store.database import Database, Session
from fhir_coprod.store.schema import audit

CALL: Final = ", ".join(f"c.{column.name}" for column in audit.call.columns)
RESOURCE: Final = ", ".join(column.name for column in audit.resource.columns)
OF_ACTION: Final = {
    "C": ("create",),
    "R": ("read", "vread", "history-instance"),
    "U": ("update", "patch"),
    "D": ("delete",),
}
"""Interactions by AuditEvent.action; all others are E, which is how FHIR counts a search."""
OF_OUTCOME: Final = {"0": (0, 399), "4": (400, 499), "8": (500, 599)}
"""Statuses by AuditEvent.outcome."""


class Wanted(NamedTuple):
    """What is looked for; whatever is left as it is does not matter.

    who:          name of the caller
    type, id:     a resource that was shown or written
    since, until: milliseconds, the first included, the second not
    action, outcome: codes of AuditEvent
    is_own:       the patient asks: what they are not told finds nothing
    """

    patient: str = ""
    who: str = ""
    address: str = ""
    type: str = ""
    id: str = ""
    action: str = ""
    outcome: str = ""
    since: int = 0
    until: int = 2**62
    is_own: bool = False


class Found(NamedTuple):
    """One call: where its row is, when it was (milliseconds), and what is remembered of it."""

    month: int
    chain: str
    number: int
    at: int
    event: Event

    @property
    def place(self) -> tuple[int, str, int]:
        """What comes next has a smaller one."""
        return self.at, self.chain, self.number

    def to_json(self) -> dict[str, Any]:
        """As `audit search --json` prints it."""
        told = self.event._asdict()
        told["about"] = [about._asdict() for about in self.event.about]
        return {"month": self.month, "chain": self.chain, "number": self.number, "at": self.at, **told}


def find(
    places: Places, wanted: Wanted, count: int, before: tuple[int, str, int] | None = None
) -> list[Found]:
    """So many calls, the newest first, after the place `before` in that order."""
    found: list[Found] = []
    first = month_of(max(wanted.since, 0)) if wanted.since else 0
    last = month_of(before[0]) if before else (month_of(wanted.until) if wanted.until < 2**45 else 999999)
    for month in reversed(places.months()):
        if first <= month <= last:
            here = [each for base in places.of(month) for each in _in(base, month, wanted, count, before)]
            found += sorted(here, key=lambda each: each.place, reverse=True)
            if len(found) >= count:
                break
    return found[:count]


def every(places: Places, wanted: Wanted, count: int = 1000) -> Iterator[Found]:
    """All of them, the newest first."""
    before = None
    while page := find(places, wanted, count, before):
        yield from page
        before = page[-1].place


def one(places: Places, month: int, chain: str, number: int) -> Found | None:
    """The call of one row; None if there is none."""
    if month not in places.months():
        return None
    for base in places.of(month):
        rows = base.read(
            f"SELECT {CALL} FROM audit_call c WHERE c.month = ? AND c.chain = ? AND c.number = ?",
            (month, chain, number),
        )
        if rows:
            return base.ask(partial(_whole, calls=rows))[0]
    return None


def _in(
    base: Database, month: int, wanted: Wanted, count: int, before: tuple[int, str, int] | None
) -> list[Found]:
    conditions, values = _conditions(wanted)
    if before is not None:
        conditions.append("(c.at < ? OR (c.at = ? AND (c.chain < ? OR (c.chain = ? AND c.number < ?))))")
        values += [before[0], before[0], before[1], before[1], before[2]]
    told = " AND ".join(["c.month = ?", "c.at >= ?", "c.at < ?", *conditions])
    order = "ORDER BY c.at DESC, c.chain DESC, c.number DESC LIMIT ?"
    sql = f"SELECT {CALL} FROM audit_call c WHERE {told} {order}"
    if wanted.patient:
        # By the patient's own rows, so that the cost does not grow with everybody else's.
        sql = (
            f"SELECT DISTINCT {CALL} FROM audit_resource r JOIN audit_call c ON c.month = r.month"
            " AND c.chain = r.chain AND c.number = r.number WHERE r.patient = ? AND r.month = c.month AND"
            f" {told} {order}"
        )
        values = [wanted.patient, month, wanted.since, wanted.until, *values]
    else:
        values = [month, wanted.since, wanted.until, *values]

    def look(session: Session) -> list[Found]:
        return _whole(session, session.rows(sql, (*values, count)))

    return base.ask(look)


def _conditions(wanted: Wanted) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for column, value in (("who", wanted.who), ("address", wanted.address)):
        if value:
            conditions.append(f"c.{column} = ?")
            values.append(value)
    if wanted.who and wanted.is_own:
        conditions.append("c.kind NOT IN ('person', 'proxy')")
    if wanted.action:
        own = OF_ACTION.get(wanted.action)
        if own is None and wanted.action != "E":
            raise BadRequest("action is one of C, R, U, D, E.")
        known = own or tuple(name for names in OF_ACTION.values() for name in names)
        negated = "" if own else "NOT "
        conditions.append(f"c.interaction {negated}IN ({', '.join('?' * len(known))})")
        values += known
    if wanted.outcome:
        if wanted.outcome not in OF_OUTCOME:
            raise BadRequest("outcome is one of 0 (answered), 4 (refused), 8 (failed).")
        conditions.append("c.status BETWEEN ? AND ?")
        values += OF_OUTCOME[wanted.outcome]
    if wanted.type:
        # In the AuditEvent of one patient stands nothing of the others whom the same call showed.
        of_anybody = "" if wanted.is_own else ", ''"
        whose = f" AND a.patient IN (?{of_anybody})" if wanted.patient else ""
        conditions.append(
            "EXISTS (SELECT 1 FROM audit_resource a WHERE a.month = c.month AND a.chain = c.chain"
            f" AND a.number = c.number AND a.type = ? AND a.id = ?{whose})"
        )
        values += [wanted.type, wanted.id, *([wanted.patient] if wanted.patient else [])]
    return conditions, values


def _whole(session: Session, calls: Sequence[Row]) -> list[Found]:
    found = []
    for call in calls:
        resources = session.rows(
            f"SELECT {RESOURCE} FROM audit_resource WHERE month = ? AND chain = ? AND number = ?"
            " ORDER BY place",
            call[:3],
        )
        found.append(Found(call[0], call[1], call[2], call[3], from_rows(call, resources)))
    return found
