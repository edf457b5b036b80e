"""Looks at what the watch keeps, for `db check`: a standing of every referral, as it was written."""
# ruff: noqa: S608 - only our own names are put into SQL; every value is bound

from __future__ import annotations

from typing import Any

from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store.database import Session
from fhir_coprod.store.soundness.faults import FIRST, Fault, Mend, Portion
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.watch.facts import habits
from fhir_coprod.watch.facts.rows import FOLLOWER, SEALED, sealed
from fhir_coprod.watch.live import basis
from fhir_coprod.watch.live.evaluate import LATEST
from fhir_coprod.watch.live.loop import AGAIN

PORTION = 500

_HELD = (
    f"SELECT due, due_seal, seal, {', '.join(SEALED)} FROM standing"
    " WHERE referral > ? ORDER BY referral LIMIT ?"
)
_UNJUDGED = (
    "SELECT r.id FROM resource r LEFT JOIN standing s ON s.referral = 'ServiceRequest/' || r.id"
    " WHERE r.type = 'ServiceRequest' AND r.deleted = false AND r.key <= ? AND s.referral IS NULL"
    " ORDER BY r.key"
)
_REFERRAL = SEALED.index("referral")


class Standings:
    """The part of the check about the table standing. What is wrong is judged anew by the watch."""

    name = "standings"

    def portion(self, session: Session, after: Any) -> Portion:
        begin = "" if after == FIRST else after
        faults: list[Fault] = []
        mends: list[Mend] = []
        rows = session.rows(_HELD, (begin, PORTION))
        names: list[str] = [row[3 + _REFERRAL] for row in rows]
        known = _known(session, names)
        for due, due_seal, seal, *values in rows:
            name = values[_REFERRAL]
            if name not in known:
                faults.append(Fault("standing-orphan", name))
                mends.append(_forgotten(name))
            elif seal is not None and sealed(values) != seal:
                faults.append(Fault("standing", name, "altered"))
                mends.append(_marked(name))
            elif due >= 0 and due_seal is not None and sealed((name, due)) != due_seal:
                faults.append(Fault("standing", name, "when to look at it again is altered"))
                mends.append(_marked(name))
        if not rows:
            faults += self._missing(session, mends)
        return Portion(faults, mends, names[-1] if names else None, 0.5 if names else 1.0)

    def _missing(self, session: Session, mends: list[Mend]) -> list[Fault]:
        places: dict[str, int] = dict(session.rows("SELECT name, position FROM cursor"))
        if not places.keys() >= {FOLLOWER, AGAIN, LATEST} and session.rows(
            "SELECT 1 FROM standing WHERE seal IS NOT NULL LIMIT 1"
        ):
            mends.append(_all_again)
            return [Fault("standing", "a cursor of the watch", "missing, so nobody knows what was judged")]
        if places.get(AGAIN) or not places.get(FOLLOWER):
            return []  # not every referral has been looked at yet
        faults = []
        for (id,) in session.rows(_UNJUDGED, (places[FOLLOWER],)):
            faults.append(Fault("standing", f"ServiceRequest/{id}", "missing"))
            mends.append(_marked(f"ServiceRequest/{id}"))
        return faults


def _known(session: Session, names: list[str]) -> set[str]:
    """Which of these resources there are, or were."""
    found = set()
    for type in {name.partition("/")[0] for name in names}:
        ids = [name.partition("/")[2] for name in names if name.startswith(f"{type}/")]
        among, values = session.of_type(type, ids)
        found |= {f"{type}/{row[0]}" for row in session.rows(f"SELECT r.id FROM {among} r", values)}
    return found


def _marked(name: str) -> Mend:
    """Have the watch read the record and judge it anew; what it said before is dropped."""

    def mend(transaction: Transaction) -> None:
        session = transaction.session
        head = session.rows("SELECT coalesce(max(position), 0) FROM version")[0][0]
        session.run(
            "INSERT INTO standing (referral, ehr, interest, old, stage, since, due, body,"
            " scope, why, thing, written, counted, department, waits, asked, steps)"
            " VALUES (?, '', 0, false, '', 0, ?, ?, '', '', '', 0, '', '', 0, '', '')"
            " ON CONFLICT (referral) DO UPDATE SET due = excluded.due, body = excluded.body, facts = NULL,"
            " seal = NULL, due_seal = NULL",
            (name, -head, b""),
        )

    return mend


def recovered(place: str, key: tuple[Any, ...]) -> Mend | None:
    """What makes a row of the cursors and settings of the watch anew: it judges every referral again; the
    name of what it has learned follows from that."""
    if place == "cursor" and key[0] in (FOLLOWER, AGAIN, LATEST):
        return _all_again
    if place == "setting" and key[0] in basis.SETTINGS:
        return basis.forget
    if place == "setting" and key[0] == habits.LEARNED:
        return habits.name_again
    return None


def _all_again(transaction: Transaction) -> None:
    """As when the rules have changed: every referral is judged again."""
    head = transaction.session.rows("SELECT coalesce(max(position), 0) FROM version")[0][0]
    transaction.set_cursor(AGAIN, 1)
    transaction.set_cursor(FOLLOWER, head)
    transaction.set_cursor(LATEST, to_milliseconds(transaction.now))


def _forgotten(name: str) -> Mend:
    def mend(transaction: Transaction) -> None:
        transaction.session.run("DELETE FROM standing WHERE referral = ?", (name,))

    return mend
