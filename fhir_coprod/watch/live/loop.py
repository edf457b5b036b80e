"""The live watch: follow the log, look again at what something new concerns and at what has come due.

Each step is a short piece of work that leaves the store whole, so that a kill anywhere is a pause:

    ground   is what every standing rests on (`ground.py`) still the same? If not, every referral is looked
             at again, a portion at a time
    follow   mark the referrals that the newest entries of the log concern, and move the cursor
    due      look at what is marked, and at what may have changed by itself by now
    again    one portion of looking at every referral again

What it costs follows what happens and what comes due, not what exists.
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
from fhir_coprod.watch.live.reports import report
from fhir_coprod.watch.live.site import Site
from fhir_coprod.watch.rules.policies import Policy

AGAIN: Final = "watch:again"
"""The cursor that says from which resource on every referral is still to be looked at again; 0: none is."""
ENTRIES: Final = 500
"""Entries of the log followed at a time."""
EVERYTHING: Final = 2000
"""Referrals of a portion when every one is looked at again: mostly from the facts that their rows keep."""
_QUARRELS: Final = 20


class Watch:
    """One store under watch by one policy. Several at once, in any number of processes, do no harm.

    policy: of the site, see `Policy.at`.
    """

    def __init__(self, store: Store, policy: Policy, settings: Settings) -> None:
        self.store = store
        self.site = Site(store, settings, policy.at(settings.site))
        self.written: Counter[str] = Counter()
        """What was done about alerts since somebody emptied it: stalls found and over, follow-ups written."""
        self._quarrels = 0

    def catch_up(self, now: datetime) -> None:
        """Do all that there is to do at `now`, up to the end of the log as it is at this moment."""
        self.check_ground(now)
        head = self.store.head()
        while (self.store.cursor(FOLLOWER) < head and self.follow()) | self.due(now) | self.again(now):
            pass
        self.report(now)

    def report(self, now: datetime) -> None:
        """Have the Tasks about EHRs as such say what is true at `now`."""
        report(self.site, now)

    def step(self, now: datetime) -> bool:
        """A piece of what there is to do; False when there is nothing."""
        return self.follow() | self.due(now) | self.again(now)

    def check_ground(self, now: datetime) -> bool:
        """See whether what standings rest on has changed, and have looked again at what that concerns; True
        when that is everything."""
        with self.store.connect() as connection:
            ground, held = self.site.ground(connection, now), ground_of(connection)
            if ground == held:
                return False
            if held is None or ground[:2] != held[:2]:
                everything, concerned = True, set()
            else:
                everything = False
                concerned = affected.referrals_of(connection, ground.unread ^ held.unread)
        head = self.store.head()

        def work(transaction: Transaction) -> None:
            transaction.lock()
            lay(transaction, ground)
            rows.mark(transaction, concerned, -to_milliseconds(now))
            if everything:
                transaction.set_cursor(AGAIN, 1)
            if held is None:
                # What is in the log by now is seen when every referral is looked at.
                transaction.set_cursor(FOLLOWER, head)

        self.store.write(work)
        return everything

    def follow(self) -> bool:
        """Mark what the next entries of the log concern; False when there is none."""
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
        """Look at a portion of what is marked or has come due; False when there is none."""
        everything_known = self.store.cursor(AGAIN) == 0
        with self.store.connect() as connection:
            names = rows.due_by(connection, now, PORTION, postponed=everything_known)
        if names:
            self._look_at(names, now, news=everything_known)
        return bool(names)

    def again(self, now: datetime) -> bool:
        """Look at the next portion of all referrals; False when that is not under way."""
        start = self.store.cursor(AGAIN)
        if not start:
            return False
        with self.store.connect() as connection:
            portion = roots_from(connection, start, EVERYTHING)
            # At the end: alerts about referrals that are gone.
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
        """Whether what the store remembers is by these rules, of every referral, and of no later time."""
        cursor = core.cursor.c
        cursors = dict(connection.execute(select(cursor.name, cursor.position)).all())
        return (
            ground_of(connection) == self.site.ground(connection, now)
            and not cursors.get(AGAIN)
            and cursors.get(LATEST, 0) <= to_milliseconds(now)
        )
