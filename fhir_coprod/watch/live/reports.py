"""Writes the Tasks about whole EHRs: an EHR that is down, or one that came with many old stalls."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Transaction
from fhir_coprod.watch.alerts import feed_down, first_digest, resources
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.live.look import reader_at
from fhir_coprod.watch.live.site import Site
from fhir_coprod.watch.record import followup


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
    ids = {("Task", id) for ehr in ehrs for id in (resources.feed_id(ehr), resources.backfill_id(ehr))}
    there = {row.id: row.data for row in reader.by_reference(ids)}
    wanted: list[Json | None] = []
    for ehr in ehrs:
        down = [blind for blind in reader.blind if blind.ehr == ehr and blind.down]
        wanted.append(feed_down.alert(ehr, down, there.get(resources.feed_id(ehr)), site.policy, now))
        was = there.get(resources.backfill_id(ehr))
        if ehr not in many:
            wanted.append(first_digest.digest(ehr, (), was, site.policy, now))
        elif first_digest.is_over(was, now):
            old = rows.old_of(connection, ehr)
            wanted.append(first_digest.digest(ehr, old, was, site.policy, now))
    return [task for task in wanted if task is not None]
