"""The Tasks about EHRs as such: one that is not seen whole, one that came with many old stalls."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Transaction
from fhir_coprod.watch import backfill, carriers, feeds, standings
from fhir_coprod.watch.looking import reader_at
from fhir_coprod.watch.site import Site


def report(site: Site, now: datetime) -> None:
    """Write what these Tasks should say at `now`. Costs a few queries when there is nothing to say."""
    with site.store.connect() as connection:
        if not _wanted(site, connection, now):
            return

    def work(transaction: Transaction) -> None:
        transaction.lock()
        for task in _wanted(site, transaction.connection, now):
            transaction.put(jsontext.from_data(task), task["id"], source=carriers.SOURCE)

    site.store.write(work)


def _wanted(site: Site, connection: Connection, now: datetime) -> list[Json]:
    reader = reader_at(connection, site.settings, site.policy, now)
    many = {
        ehr: count
        for ehr, count in standings.old_by_ehr(connection).items()
        if count > site.policy.alerts.digest_over
    }
    ehrs = sorted({ehr.name for ehr in site.settings.ehr} | {blind.ehr for blind in reader.blind} | set(many))
    ids = {("Task", id) for ehr in ehrs for id in (carriers.feed_id(ehr), carriers.backfill_id(ehr))}
    there = {row.id: row.data for row in reader.by_reference(ids)}
    wanted: list[Json | None] = []
    for ehr in ehrs:
        down = [blind for blind in reader.blind if blind.ehr == ehr and blind.down]
        wanted.append(feeds.alert(ehr, down, there.get(carriers.feed_id(ehr)), site.policy, now))
        was = there.get(carriers.backfill_id(ehr))
        if ehr not in many:
            wanted.append(backfill.digest(ehr, (), was, site.policy, now))
        elif backfill.is_over(was, now):
            old = standings.old_of(connection, ehr)
            wanted.append(backfill.digest(ehr, old, was, site.policy, now))
    return [task for task in wanted if task is not None]
