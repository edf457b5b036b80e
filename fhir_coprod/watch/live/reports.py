"""Writes the Tasks about many referrals at once.

They tell of an EHR that is down, of one that came with many old stalls, of one of whose orders fewer are
watched than before, and of a department's referrals of which nothing is heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy import Connection

from fhir_coprod import jsontext
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Transaction
from fhir_coprod.watch.alerts import digests, feed_down, first_digest, gathered
from fhir_coprod.watch.alerts.reconcile import WAITING
from fhir_coprod.watch.facts import habits, rows, shares
from fhir_coprod.watch.facts.reader import Reader
from fhir_coprod.watch.live.look import reader_at
from fhir_coprod.watch.live.site import Site
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.rules.codes import Rule


def report(site: Site, now: datetime) -> None:
    """Write these Tasks as they should be at `now`. If nothing has changed, this costs a few queries."""
    with site.store.connect() as connection:
        if not _wanted(site, connection, now):
            return

    def work(transaction: Transaction) -> None:
        transaction.lock()
        for task in _wanted(site, transaction.connection, now):
            transaction.put(jsontext.from_data(task), task["id"], source=followup.SOURCE)

    site.store.write(work)


def _wanted(site: Site, connection: Connection, now: datetime) -> list[Json]:
    reader = reader_at(connection, site.settings, site.policy, now)
    many = {
        ehr: count
        for ehr, count in rows.old_by_ehr(connection).items()
        if count > site.policy.alerts.digest_over
    }
    ehrs = sorted({ehr.name for ehr in site.settings.ehr} | {blind.ehr for blind in reader.blind} | set(many))
    feeds, backfills = _present(reader, followup.FEED_DOWN, ehrs), _present(reader, followup.BACKFILL, ehrs)
    wanted: list[Json | None] = []
    for ehr in ehrs:
        down = [blind for blind in reader.blind if blind.ehr == ehr and blind.down]
        wanted.append(feed_down.alert(ehr, down, feeds.get(ehr), site.policy, now))
        was = backfills.get(ehr)
        if ehr not in many:
            wanted.append(first_digest.digest(ehr, (), was, site.policy, now))
        elif gathered.is_over(was, now):
            old = rows.old_of(connection, ehr)
            wanted.append(first_digest.digest(ehr, old, was, site.policy, now))
    wanted += _silences(site, connection, reader, now)
    return [task for task in wanted if task is not None]


def release_the_last(site: Site, now: datetime) -> None:
    """Have the old stalls of an EHR looked at of which so few are left that no digest tells of them any more:
    their follow-ups still wait, and nothing else would make them ask."""
    with site.store.connect() as connection:
        waiting = _waiting(site, connection, now)
    if not waiting:
        return

    def work(transaction: Transaction) -> None:
        transaction.lock()
        rows.mark(transaction, waiting, -to_milliseconds(now))

    site.store.write(work)


def _waiting(site: Site, connection: Connection, now: datetime) -> set[str]:
    few = [
        ehr for ehr, count in rows.old_by_ehr(connection).items() if count <= site.policy.alerts.digest_over
    ]
    old = [standing for ehr in few for standing in rows.old_of(connection, ehr)]
    names = [standing.referral for standing in old if not standing.not_assessed]
    if not names:
        return set()
    followups = reader_at(connection, site.settings, site.policy, now).followups(names)
    return {name for name in names if any(task["status"] == WAITING for task in followups.get(name, ()))}


def _silences(site: Site, connection: Connection, reader: Reader, now: datetime) -> Iterator[Json | None]:
    """The list of each department's silent referrals; those of departments that have none any more end."""
    counts = rows.silent(connection, Rule.SILENT_TOO_LONG)
    there = _present(reader, followup.SILENCE, counts)
    for department, count in sorted(counts.items()):
        was = there.get(department)
        if gathered.is_over(was, now):
            oldest = rows.longest_silent(connection, Rule.SILENT_TOO_LONG, department, digests.LISTED)
            yield digests.silence(department, count, oldest, was, site.policy, now)
    known = {task["id"] for task in there.values()}
    for task in reader.open_tasks(followup.SILENCE):
        if task["id"] not in known:
            yield gathered.ended(task, now)


def _present(reader: Reader, kind: str, about: Iterable[str]) -> dict[str, Json]:
    """The Tasks of a kind that there are about these EHRs or departments, by what they are about."""
    names = {gathered.id_of(kind, one): one for one in about}
    return {names[row.id]: row.data for row in reader.by_reference({("Task", id) for id in names})}


def take_shares(site: Site, now: datetime) -> None:
    """Once a day, note what share of each EHR's orders is not watched, and which steps are in use there.

    What has jumped or fallen is told.
    """
    day = site.policy.calendar.day(now)
    with site.store.connect() as connection:
        if _is_known(connection, day):
            return
        # This goes through the orders of a year, so it comes before the log is locked.
        counts = shares.counted(connection, now)
        learned = habits.learned(connection, now, site.policy.practice_limit)

    def work(transaction: Transaction) -> None:
        transaction.lock()
        if _is_known(transaction.connection, day):
            return  # another worker has done it
        shares.keep(transaction, day, counts)
        habits.keep(transaction, learned)
        for task in (
            *_falls(site, transaction.connection, now),
            *_shifts(site, transaction.connection, day, now),
        ):
            transaction.put(jsontext.from_data(task), task["id"], source=followup.SOURCE)

    site.store.write(work)


def _is_known(connection: Connection, day: int) -> bool:
    """Whether the shares of a day are known, or, around midnight, those of the next by another's clock. Later
    ones were taken before the clock was set back."""
    return shares.last_day(connection) in (day, day + 1)


def _falls(site: Site, connection: Connection, now: datetime) -> list[Json]:
    """Ask about each EHR of whose referrals far fewer than before show a step that was in use."""
    reader = reader_at(connection, site.settings, site.policy, now)
    fallen: dict[str, list[str]] = {}
    for found in habits.habits(connection):
        settled = habits.settles(site.settings.watch.practice, found)
        if found.has_fallen and not found.thing and not settled:
            fallen.setdefault(found.ehr, []).append(found.sentence)
    for task in reader.open_tasks(followup.PRACTICE):
        fallen.setdefault(gathered.about(task), [])
    there = _present(reader, followup.PRACTICE, fallen)
    wanted = (
        digests.fall(ehr, said, there.get(ehr), site.policy, now) for ehr, said in sorted(fallen.items())
    )
    return [task for task in wanted if task is not None]


def _shifts(site: Site, connection: Connection, day: int, now: datetime) -> list[Json]:
    rules = site.policy.scope_alerts
    reader = reader_at(connection, site.settings, site.policy, now)
    by_ehr: dict[str, list[shares.Shares]] = {}
    for each in shares.compared(connection, day, rules.least):
        by_ehr.setdefault(each.ehr, []).append(each)
    for task in reader.open_tasks(followup.SCOPE_SHIFT):
        by_ehr.setdefault(gathered.about(task), [])
    there = _present(reader, followup.SCOPE_SHIFT, by_ehr)
    wanted: list[Json | None] = []
    for ehr, held in by_ehr.items():
        was = there.get(ehr)
        # What somebody was told of stays until it is undone, even when the days before it are forgotten.
        told = digests.shifts_of(was)
        shifts = []
        for each in held:
            before = told.get(each.thing, each.before)
            if before is not None and each.now - before >= rules.jump:
                shifts.append(digests.Shift(each.thing, before, each.now))
        wanted.append(digests.shift(ehr, shifts, was, site.policy, now))
    return [task for task in wanted if task is not None]
