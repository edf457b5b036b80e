"""Where referrals stand at a moment, without writing: what board and command show.

What the watch remembers, brought up to date in memory: only what has happened or come due since it last
looked is judged here. Where it has not looked yet, or by other rules, everything is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch import standings, touching
from fhir_coprod.watch.elements import batches, split
from fhir_coprod.watch.facts import PORTION, Reader, portions
from fhir_coprod.watch.live import FOLLOWER, Watch
from fhir_coprod.watch.looking import assess_each, reader_at
from fhir_coprod.watch.policies import Policy
from fhir_coprod.watch.standing import Standing

_BEHIND: Final = 5000
"""Entries of the log, or referrals, to catch up with; beyond that everything is judged."""


def look(store: Store, policy: Policy, now: datetime, settings: Settings) -> list[Standing]:
    """Every referral that is not closed at `now`, and those that could not be assessed.

    policy: any; what the watch remembers helps only when it is the one by which it watches.
    """
    watch = Watch(store, policy, settings)
    with store.connect() as connection:
        pending = _pending(watch, connection, now)
        reader = reader_at(connection, settings, policy, now)
        if pending is None:
            judged = (each for portion in portions(reader) for each, _ in assess_each(portion, policy, now))
            return [standing for standing in judged if standing.is_open or standing.not_assessed]
        fresh = [each for each in _judged(reader, pending, policy, now) if each.is_open or each.not_assessed]
        return [*standings.remembered(connection, but=pending), *fresh]


def _pending(watch: Watch, connection: Connection, now: datetime) -> set[str] | None:
    """Referrals of which the watch may remember too little; None when it is no help."""
    if not watch.is_current(connection, now):
        return None
    changes = watch.store.changes(watch.store.cursor(FOLLOWER), _BEHIND)
    due = standings.due_by(connection, now, _BEHIND, postponed=True)
    if max(len(changes), len(due)) >= _BEHIND:
        return None
    return touching.concerned(connection, changes) | due.keys()


def _judged(reader: Reader, names: Collection[str], policy: Policy, now: datetime) -> Iterator[Standing]:
    for some in batches(names, PORTION):
        rows = reader.by_reference({split(name) for name in some})
        for standing, _ in assess_each(reader.read(rows), policy, now):
            yield standing
