"""Lists where all open referrals stand, for the board and the command line, without writing anything.

It takes the stored standings and brings them up to date in memory: only referrals with news, or that have
come due since the watch last looked, are judged here. If the watch has not looked at all yet, or did so by
other rules, all are judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts import affected
from fhir_coprod.watch.facts.kept import Sources
from fhir_coprod.watch.facts.reader import Reader
from fhir_coprod.watch.facts.referrals import roots_from
from fhir_coprod.watch.facts.rows import FOLLOWER, Held, due_by, remembered
from fhir_coprod.watch.live.look import assess_each, reader_at
from fhir_coprod.watch.live.loop import EVERYTHING, Watch
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing

_LATE: Final = timedelta(minutes=1)
_NOT_CURRENT: Final = (
    "These alerts may be out of date: not every referral has been looked at by today's rules yet. "
    "fhir-coprod watch does it now, serve and worker do it by themselves."
)
_BEHIND_SAID: Final = (
    "These alerts are behind the record: nobody watches at present. "
    "fhir-coprod watch catches up now, serve and worker do it by themselves."
)
_BEHIND: Final = 5000
"""The most log entries, or referrals, to catch up with; if there are more, every referral is judged."""


def look(store: Store, policy: Policy, now: datetime, settings: Settings) -> list[Standing]:
    """Every referral that is not closed at `now`, and those that could not be assessed.

    policy: any policy; it is fastest with the one that the watch uses, whose standings are stored.
    """
    watch = Watch(store, policy, settings)
    with store.connect() as connection:
        reader = reader_at(connection, settings, policy, now)
        pending = _pending(watch, connection, now)
        if watch.is_current(connection, now) and pending is not None and len(pending) < _BEHIND:
            rows = dict.fromkeys(pending)
            fresh = [each for each in _judged(reader, rows, policy, now) if _matters(each)]
            return [*remembered(connection, but=pending), *fresh]
        return [each for each in _every_one(reader, pending, policy, now) if _matters(each)]


def behind(store: Store, policy: Policy, now: datetime, settings: Settings) -> str:
    """A sentence that says alerts are behind the record because no watch is running; "" if they are not.

    A running watch is never a minute late.
    """
    watch = Watch(store, policy, settings)
    with store.connect() as connection:
        if not watch.is_current(connection, now):
            return _NOT_CURRENT if roots_from(connection, 0, 1) else ""
        lately = now - _LATE
        changes = store.changes(store.cursor(FOLLOWER), 1)
        if (changes and changes[0].updated < lately) or due_by(connection, lately, 1, postponed=True):
            return _BEHIND_SAID
    return ""


def _matters(standing: Standing) -> bool:
    return standing.is_open or bool(standing.not_assessed)


def _pending(watch: Watch, connection: Connection, now: datetime) -> set[str] | None:
    """Referrals whose rows may be out of date; None if these are too many to find out."""
    changes = watch.store.changes(watch.store.cursor(FOLLOWER), _BEHIND)
    due = due_by(connection, now, _BEHIND, postponed=True)
    if max(len(changes), len(due)) >= _BEHIND:
        return None
    return affected.concerned(connection, changes) | due.keys()


def _every_one(
    reader: Reader, pending: Collection[str] | None, policy: Policy, now: datetime
) -> Iterator[Standing]:
    """The standing of every referral, from the facts in its row unless something new concerns it."""
    start = 0
    while roots := roots_from(reader.connection, start, EVERYTHING):
        rows = {root.name: None if pending is None or root.name in pending else root.held for root in roots}
        yield from _judged(reader, rows, policy, now)
        start = roots[-1].key + 1


def _judged(
    reader: Reader, rows: Mapping[str, Held | None], policy: Policy, now: datetime
) -> Iterator[Standing]:
    found = (each for each, _ in Sources(reader).find(rows))
    return (standing for standing, _ in assess_each(found, policy, now))
