"""Looks at a set of referrals: judges them, writes their alerts, and stores their standings.

Referrals are judged twice: first from committed data, without making anybody wait; then the few whose alerts
have to change are judged once more inside the transaction that writes them, while it holds the log's lock. So
alerts follow the facts whatever several workers do at the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from fhir_coprod import jsontext
from fhir_coprod.instants import from_milliseconds, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Transaction
from fhir_coprod.store.schema import core
from fhir_coprod.watch.alerts import reconcile, resources
from fhir_coprod.watch.facts.kept import Sources, pack
from fhir_coprod.watch.facts.names import read_names
from fhir_coprod.watch.facts.newest import Texts
from fhir_coprod.watch.facts.reader import Found
from fhir_coprod.watch.facts.rows import (
    POSTPONED,
    Held,
    Row,
    changed,
    dues,
    forget,
    milliseconds_until,
    old_by_ehr,
    save,
    says,
)
from fhir_coprod.watch.facts.visibility import first_read
from fhir_coprod.watch.live.basis import ground_of
from fhir_coprod.watch.live.look import assess_each, reader_at
from fhir_coprod.watch.live.site import Site
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.record.fhir import batches, target
from fhir_coprod.watch.rules.standing import Standing

LATEST: Final = "watch:latest"
"""The name of the cursor that holds the latest time (in milliseconds) at which anything was judged."""
TOGETHER: Final = 50
"""Referrals whose alerts are written in one transaction."""
_AFTER_A_FAULT: Final = timedelta(hours=1)
"""When a referral that triggers a fault in our code is tried again."""


class Verdict(NamedTuple):
    """What was found about one referral."""

    standing: Standing
    due: int
    """When to look again, in milliseconds."""
    ehr: str = ""
    old: bool = False
    """All its stalls existed already when its EHR was first read."""
    writes: Sequence[Json] = ()
    """The resources to write for its alerts."""
    facts: bytes | None = None
    """The facts as its row should keep them."""
    same: bool = False
    """Its row has all this already, and its alerts were settled when the row was written."""


def look_at(
    site: Site,
    rows: Mapping[str, Held | None],
    now: datetime,
    *,
    news: bool,
    written: Counter[str],
) -> bool:
    """Look at these referrals, and write their alerts and standings.

    rows:    the row of each, by reference; None if it has none.
    news:    every referral has been looked at, so that we can tell which stalls are news; if not, stalls that
             existed when their EHR was first read are left for later.
    written: counts how many stalls were found and over, and how many follow-ups were written.

    Returns False if what standings rest on has changed in the meantime: then nothing more may be written.
    """
    with site.store.connect() as connection:
        look = _Look(site, connection, now, news=news)
        verdicts = look.verdicts(rows)
    loud = [verdict.standing.referral for verdict in verdicts if verdict.writes]
    quiet = changed(_row(verdict, rows) for verdict in verdicts if not (verdict.writes or verdict.same))
    gone = rows.keys() - {verdict.standing.referral for verdict in verdicts}

    def begin(transaction: Transaction) -> bool:
        transaction.lock()
        transaction.set_cursor(LATEST, max(transaction.cursor(LATEST), to_milliseconds(now)))
        return ground_of(transaction.connection) == look.ground

    def settle(transaction: Transaction, some: Collection[str]) -> Counter[str] | None:
        if not begin(transaction):
            return None
        due = dues(transaction.connection, some)
        left = [name for name in some if due.get(name) == _due(rows[name])]
        if not left:
            return Counter()  # another worker has done it
        again = _Look(site, transaction.connection, now, news=news, parsed=look.texts)
        found = again.verdicts({name: _unread(rows[name]) for name in left})
        for verdict in found:
            _write(transaction, verdict.writes)
        save(transaction, changed(_row(verdict, rows) for verdict in found))
        return Counter(_kind(resource) for verdict in found for resource in verdict.writes)

    def remember(transaction: Transaction) -> bool:
        if not begin(transaction):
            return False
        save(transaction, quiet)
        waiting = _withdraw(transaction, site, gone, now)
        save(transaction, changed(_to_be_withdrawn(waiting, rows)))
        forget(transaction, {name: rows[name] for name in gone - waiting.keys()})
        return True

    for some in batches(loud, TOGETHER):
        done = site.store.write(partial(settle, some=some))
        if done is None:
            return False
        written.update(done)
    if quiet or gone:
        return site.store.write(remember)
    return True


def _kind(resource: Json) -> str:
    if resource["resourceType"] == "DetectedIssue":
        return "found" if resource["status"] == "preliminary" else "over"
    return "follow ups" if resource["resourceType"] == "Task" else "provenance"


def _row(verdict: Verdict, rows: Mapping[str, Held | None]) -> Row:
    was = rows[verdict.standing.referral]
    return Row(verdict.standing, verdict.due, was, verdict.ehr, verdict.old, verdict.facts)


def _due(held: Held | None) -> int | None:
    return held.due if held else None


def _unread(held: Held | None) -> Held | None:
    """The row without its kept facts, so that the record is read: alerts must follow nothing else."""
    return held._replace(facts=None) if held else None


class _Look:
    """Judges referrals on one connection, and finds what to write for their alerts; see `look_at`."""

    def __init__(
        self,
        site: Site,
        connection: Connection,
        now: datetime,
        *,
        news: bool,
        parsed: Texts | None = None,
    ) -> None:
        self.ground = site.ground(connection, now)
        self._connection = connection
        self._reader = reader_at(connection, site.settings, site.policy, now, parsed)
        self._policy = site.policy
        self._now = now
        self._news = news

    @property
    def texts(self) -> Texts:
        """The parsed versions of at least the last portion, which a second look need not parse again."""
        return self._reader.texts

    def verdicts(self, rows: Mapping[str, Held | None]) -> list[Verdict]:
        """One verdict for each of these that is a referral."""
        asked: dict[str, bool] = {}
        same: list[Verdict] = []
        judged: list[tuple[Standing, Found | None]] = []
        for standing, found in assess_each(self._sources(rows, asked), self._policy, self._now):
            held = rows[standing.referral]
            if found and held and standing.referral in asked and self._is_settled(standing, found, held):
                same.append(Verdict(standing, held.due, found.ehr, facts=held.facts, same=True))
            else:
                judged.append((standing, found))
        unread = [
            standing.referral
            for standing, _ in judged
            if standing.referral in asked and (standing.stalls or asked[standing.referral])
        ]
        followups = self._reader.followups(unread) if unread else {}
        concerned: dict[str, tuple[Standing, Sequence[Json]]] = {}
        for standing, found in judged:
            if found is None:
                continue
            there = found.followups or followups.get(standing.referral, ())
            tasks = _believed(self._connection, there, self._now)
            if standing.stalls or tasks:
                concerned[standing.referral] = (standing, tasks)
        wanted: set[str] = set()
        for standing, tasks in concerned.values():
            wanted |= reconcile.wanted_issues(standing, tasks)
        issues = {
            row.id: row.data for row in self._reader.by_reference({("DetectedIssue", id) for id in wanted})
        }
        known = read_names(self._reader, [standing for standing, _ in concerned.values()])
        verdicts = same
        for standing, found in judged:
            if found is None:
                verdicts.append(Verdict(standing, self._look_again(standing, ())))
                continue
            name = standing.referral
            _, tasks = concerned.get(name, (standing, ()))
            verdict = Verdict(standing, self._look_again(standing, ()), found.ehr)
            if name in concerned:
                verdict = self._verdict(standing, tasks, found.ehr, issues, known)
            held, has_followup = rows[name], bool(found.followups or tasks or verdict.writes)
            if held is not None and asked.get(name) is has_followup:
                facts = held.facts
            else:
                facts = pack(found, self._reader.surroundings, asked=has_followup)
            verdicts.append(verdict._replace(facts=facts))
        return verdicts

    def _is_settled(self, standing: Standing, found: Found, held: Held) -> bool:
        """Whether its alerts are already right: nothing new concerns it, its time has not come, and its row
        says the same. Never true in a backfill, whose alerts depend on how many there are."""
        return (
            held.due > to_milliseconds(self._now)
            and not held.old
            and says(standing, held)
            and not self._is_old(standing, found.ehr)
        )

    def _sources(self, rows: Mapping[str, Held | None], asked: dict[str, bool]) -> Iterator[Found]:
        """What is known about each referral. For those whose record was not read, notes in `asked` whether
        they have a follow-up."""
        for found, has_followup in Sources(self._reader).find(rows):
            if has_followup is not None:
                asked[found.referral] = has_followup
            yield found

    def _verdict(
        self,
        standing: Standing,
        followups: Sequence[Json],
        ehr: str,
        issues: Mapping[str, Json],
        names: Mapping[str, str],
    ) -> Verdict:
        old = self._is_old(standing, ehr)
        if old and not self._news:
            return Verdict(standing, POSTPONED, ehr, old)
        try:
            writes = reconcile.reconcile(
                standing,
                followups,
                issues,
                self._policy,
                self._now,
                names,
                backfill=old and self._old_by_ehr.get(ehr, 0) > self._policy.alerts.digest_over,
            )
        except Exception as error:  # noqa: BLE001 - alerts that somebody mangled must not stop the others
            standing = msgspec.structs.replace(standing, not_assessed=type(error).__name__)
            return Verdict(standing, self._look_again(standing, ()), ehr, old)
        tasks = {task["id"]: task for task in (*followups, *writes) if task["resourceType"] == "Task"}
        return Verdict(standing, self._look_again(standing, tasks.values()), ehr, old, writes)

    def _is_old(self, standing: Standing, ehr: str) -> bool:
        """Whether it is part of a backfill: every stall was already due when its EHR was first read. A
        referral with priority asap or stat never waits."""
        if not ehr or not standing.stalls or standing.priority in reconcile.UNSNOOZABLE:
            return False
        read = self._first_read.get(ehr)
        return read is not None and all(stall.due <= read for stall in standing.stalls)

    def _look_again(self, standing: Standing, followups: Iterable[Json]) -> int:
        if standing.not_assessed:
            return milliseconds_until(self._now + _AFTER_A_FAULT)
        at = standing.wake
        for task in followups:
            step = reconcile.next_step(task, self._now)
            if step is not None and (at is None or step < at):
                at = step
        return milliseconds_until(at)

    @cached_property
    def _first_read(self) -> dict[str, datetime]:
        return first_read(self._connection)

    @cached_property
    def _old_by_ehr(self) -> dict[str, int]:
        return old_by_ehr(self._connection)


def _write(transaction: Transaction, writes: Sequence[Json]) -> None:
    if not writes:
        return
    if transaction.get("Device", resources.device()["id"]) is None:
        _put(transaction, resources.device())
    for resource in writes:
        _put(transaction, resource)


def _put(transaction: Transaction, resource: Json) -> None:
    transaction.put(jsontext.from_data(resource), resource["id"], source=followup.SOURCE)


def _believed(connection: Connection, followups: Sequence[Json], now: datetime) -> Sequence[Json]:
    """See `reconcile.believed`. The time of the latest judgement is queried only if it matters."""
    if all(reconcile.modified(task) <= now for task in followups):
        return followups
    cursor = core.cursor.c
    latest = connection.execute(select(cursor.position).where(cursor.name == LATEST)).scalar()
    judged = from_milliseconds(latest or 0)
    return [reconcile.believed(task, now, judged) for task in followups]


def _withdraw(
    transaction: Transaction, site: Site, names: Collection[str], now: datetime
) -> dict[str, datetime]:
    """Close the alerts of those that are no longer referrals, unless they are referrals again.

    A referral may have been deleted, or changed into something else, such as a message that asks for nothing.
    Returns those whose alerts were judged by a clock later than `now`, with that later time.
    """
    if not names:
        return {}
    reader = reader_at(transaction.connection, site.settings, site.policy, now)
    followups = {
        name: _believed(transaction.connection, tasks, now)
        for name, tasks in reader.followups(names).items()
        if name in names
    }
    issues = reader.by_reference(
        {
            ("DetectedIssue", id)
            for tasks in followups.values()
            for task in tasks
            for id in resources.issues_of(task)
        }
    )
    known = {row.id: row.data for row in issues}
    waiting: dict[str, datetime] = {}
    for name in sorted(followups.keys() - reader.referrals_among(followups)):
        judged = max(reconcile.modified(task) for task in followups[name])
        if judged > now:
            waiting[name] = judged
            continue
        gone = Standing(name, target(followups[name][0].get("for")), None)
        _write(transaction, reconcile.reconcile(gone, followups[name], known, site.policy, now))
    return waiting


def _to_be_withdrawn(waiting: Mapping[str, datetime], rows: Mapping[str, Held | None]) -> Iterator[Row]:
    """Rows that only say when to look again."""
    for name, at in waiting.items():
        yield Row(Standing(name, "", None), milliseconds_until(at), rows[name])
