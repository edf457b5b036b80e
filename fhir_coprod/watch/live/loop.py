"""The loop of the live watch: follows the log, and looks again at referrals that have news or have come due.

Each step is a short piece of work that leaves the store consistent, so that killing the process at any point
is only a pause:

    check_ground  check that what every standing rests on (`basis.py`) is still the same; if it is not, every
                  referral is looked at again, a portion at a time
    follow        mark the referrals that the newest entries of the log concern, and move the cursor
    due           look at marked referrals, and at those that may have changed by themselves by now
    again         look at the next portion, if every referral has to be looked at again

The cost depends on what happens and what comes due, not on how much is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from fhir_coprod.errors import Conflict
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.schema import core
from fhir_coprod.watch.facts import affected, rows
from fhir_coprod.watch.facts.reader import PORTION
from fhir_coprod.watch.facts.referrals import forgotten, roots_from
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.live.basis import ground_of, lay
from fhir_coprod.watch.live.evaluate import LATEST, look_at
from fhir_coprod.watch.live.reports import release_the_last, report, take_shares
from fhir_coprod.watch.live.site import Site
from fhir_coprod.watch.rules.policies import Policy

AGAIN: Final = "watch:again"
"""The name of the cursor that holds the key from which on every referral still has to be looked at again;
0: none has."""
LEASE: Final = "watch"
"""The lease of the one process that watches."""
LOOKED: Final = "watch:looked"
"""The name of the cursor that holds when somebody last watched, in milliseconds; noted once a minute."""
_NOTED: Final = 60_000
ENTRIES: Final = 500
"""Entries of the log followed at a time."""
EVERYTHING: Final = 2000
"""Referrals in a portion when all are looked at again, mostly from the facts that their rows keep."""
_QUARRELS: Final = 20


class Watch:
    """Watches one store by one policy. Any number of these may run at once, also in several processes.

    policy: it is adapted to the site, see `Policy.at`.
    """

    def __init__(self, store: Store, policy: Policy, settings: Settings) -> None:
        self.store = store
        self.site = Site(store, settings, policy.at(settings.site))
        self.written: Counter[str] = Counter()
        """What was done about alerts since it was last emptied: stalls found and over, follow-ups written."""
        self._quarrels = 0

    def catch_up(self, now: datetime) -> None:
        """Do everything there is to do at `now`, up to the present end of the log."""
        self.check_ground(now)
        head = self.store.head()
        while (self.store.cursor(FOLLOWER) < head and self.follow()) | self.due(now) | self.again(now):
            pass
        self.report(now)
        while self.due(now):
            pass

    def report(self, now: datetime) -> None:
        """Bring the Tasks about whole EHRs and departments up to date at `now`; some referrals may be due
        then."""
        report(self.site, now)
        if not self.store.cursor(AGAIN):
            take_shares(self.site, now)
            release_the_last(self.site, now)
        at = to_milliseconds(now)
        if abs(at - self.store.cursor(LOOKED)) >= _NOTED:
            self.store.write(lambda transaction: transaction.set_cursor(LOOKED, at), lasting=False)

    def step(self, now: datetime) -> bool:
        """Do one piece of what there is to do; False if there is nothing."""
        return self.follow() | self.due(now) | self.again(now)

    def check_ground(self, now: datetime) -> bool:
        """Check whether what standings rest on has changed, and if so have referrals looked at again; True if
        that is every referral."""
        with self.store.connect() as connection:
            ground, held = self.site.ground(connection, now), ground_of(connection)
            if ground == held:
                return False
            if held is None or ground[:2] != held[:2]:
                everything, concerned = True, set()
            else:
                everything = False
                records = {each.partition(" ")[0] for each in ground.unread ^ held.unread}
                concerned = affected.referrals_of(connection, records)
        head = self.store.head()

        def work(transaction: Transaction) -> None:
            transaction.lock()
            lay(transaction, ground)
            rows.mark(transaction, concerned, -to_milliseconds(now))
            if everything:
                transaction.set_cursor(AGAIN, 1)
            if held is None:
                # Entries already in the log are covered when every referral is looked at.
                transaction.set_cursor(FOLLOWER, head)

        self.store.write(work)
        return everything

    def follow(self) -> bool:
        """Mark the referrals that the next entries of the log concern; False if there are no entries."""
        behind = self.store.cursor(FOLLOWER)
        changes = self.store.changes(behind, ENTRIES)
        if not changes:
            return False
        with self.store.connect() as connection:
            concerned = affected.concerned(connection, changes)
        position = changes[-1].position

        def work(transaction: Transaction) -> None:
            transaction.lock()
            if transaction.cursor(FOLLOWER) == behind:
                rows.mark(transaction, concerned, -position)
                transaction.set_cursor(FOLLOWER, position)

        self.store.write(work)
        return True

    def due(self, now: datetime) -> bool:
        """Look at a portion of the referrals that are marked or have come due; False if there are none."""
        everything_known = self.store.cursor(AGAIN) == 0
        with self.store.connect() as connection:
            names = rows.due_by(connection, now, PORTION, postponed=everything_known)
        if names:
            self._look_at(names, now, news=everything_known)
        return bool(names)

    def again(self, now: datetime) -> bool:
        """Look at the next portion of all referrals; False if they need not all be looked at again."""
        start = self.store.cursor(AGAIN)
        if not start:
            return False
        with self.store.connect() as connection:
            portion = roots_from(connection, start, EVERYTHING)
            # At the end come the alerts about referrals that are gone.
            orphans = set() if portion else forgotten(connection)
        if portion and not self._look_at({root.name: root.held for root in portion}, now, news=False):
            return True
        following = portion[-1].key + 1 if portion else 0

        def work(transaction: Transaction) -> None:
            transaction.lock()
            if transaction.cursor(AGAIN) == start:
                rows.mark(transaction, orphans, -to_milliseconds(now))
                transaction.set_cursor(AGAIN, following)

        self.store.write(work)
        return True

    def _look_at(self, names: Mapping[str, rows.Held | None], now: datetime, *, news: bool) -> bool:
        done = look_at(self.site, names, now, news=news, written=self.written)
        self._quarrels = 0 if done else self._quarrels + 1
        if self._quarrels > _QUARRELS:
            raise Conflict(
                "Another watch over this store goes by other rules; give every process the same settings."
            )
        if not done:
            self.check_ground(now)
        return done

    def is_current(self, connection: Connection, now: datetime) -> bool:
        """Whether the stored standings are by these rules, cover every referral, and are not from a later
        time."""
        cursor = core.cursor.c
        cursors = dict(connection.execute(select(cursor.name, cursor.position)).all())
        return (
            ground_of(connection) == self.site.ground(connection, now)
            and not cursors.get(AGAIN)
            and cursors.get(LATEST, 0) <= to_milliseconds(now)
        )
