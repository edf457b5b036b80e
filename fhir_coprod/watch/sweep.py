"""The live watch over the whole store: assess everything, write what is new, close what is over.

Judged twice: first on what is committed, without holding anybody up; then, for the few referrals where
something is to be written, once more inside the transaction that writes it, with the log's lock held. So
alerts follow the facts whatever several workers do at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.watch import alerts, carriers, feeds
from fhir_coprod.watch.desk import open_followups
from fhir_coprod.watch.elements import split, target
from fhir_coprod.watch.facts import Found, Reader, portions
from fhir_coprod.watch.looking import assess_each, reader_at
from fhir_coprod.watch.policies import Policy
from fhir_coprod.watch.standing import Standing
from fhir_coprod.watch.who import read_names

TOGETHER: Final = 50
"""Referrals written in one transaction."""


def sweep(store: Store, policy: Policy, now: datetime, settings: Settings) -> list[Standing]:
    """Assess every referral; raise, keep and resolve alerts.

    Returns the standings of those not closed, and of those that could not be assessed, whose alerts stay as
    they are.
    """
    policy = policy.at(settings.site)
    standings: list[Standing] = []
    changed: list[str] = []
    seen: set[str] = set()
    with store.connect() as connection:
        reader = reader_at(connection, settings, policy, now)
        for portion in portions(reader):
            judged = list(assess_each(portion, policy, now))
            seen.update(standing.referral for standing, _ in judged)
            final = {standing.referral: standing for standing, _ in judged}
            for standing, writes in _judge(reader, judged, policy, now):
                final[standing.referral] = standing
                if writes:
                    changed.append(standing.referral)
            standings += [each for each in final.values() if each.is_open or each.not_assessed]
        orphans = _orphans(reader, seen)
        down = any(blind.down for blind in reader.blind)
        feeds_reported = bool(_reported(reader, settings))
    for start in range(0, len(changed), TOGETHER):
        settle(store, changed[start : start + TOGETHER], policy, now, settings)
    if down or feeds_reported:
        store.write(lambda transaction: _report_feeds(transaction, policy, now, settings))
    if orphans:
        store.write(lambda transaction: _withdraw(transaction, orphans, policy, now, settings))
    return standings


def settle(
    store: Store, referrals: Collection[str], policy: Policy, now: datetime, settings: Settings
) -> list[Standing]:
    """Assess these referrals and write their alerts, in one transaction; their standings."""
    return store.write(lambda transaction: _settle(transaction, referrals, policy, now, settings))


def _settle(
    transaction: Transaction, referrals: Collection[str], policy: Policy, now: datetime, settings: Settings
) -> list[Standing]:
    transaction.lock()
    reader = reader_at(transaction.connection, settings, policy, now)
    roots = reader.by_reference({split(name) for name in referrals})
    judged = list(assess_each(reader.read(roots), policy, now))
    for _, writes in _judge(reader, judged, policy, now):
        _write(transaction, writes)
    return [standing for standing, _ in judged]


def _judge(
    reader: Reader, judged: Sequence[tuple[Standing, Found | None]], policy: Policy, now: datetime
) -> Iterator[tuple[Standing, list[Json]]]:
    """What is to be written for each referral that has alerts, or should have."""
    concerned = [
        (standing, found)
        for standing, found in judged
        if found is not None and (standing.stalls or any(_may_matter(task) for task in found.followups))
    ]
    wanted: set[str] = set()
    for standing, found in concerned:
        wanted |= alerts.wanted_issues(standing, found.followups)
    issues = {row.id: row.data for row in reader.by_reference({("DetectedIssue", id) for id in wanted})}
    names = read_names(reader, [standing for standing, _ in concerned])
    for standing, found in concerned:
        try:
            writes = alerts.reconcile(standing, found.followups, issues, policy, now, names)
        except Exception as error:  # noqa: BLE001 - alerts that somebody mangled must not stop the others
            standing = msgspec.structs.replace(standing, not_assessed=type(error).__name__)
            writes = []
        yield standing, writes


def _may_matter(task: Json) -> bool:
    """Open, or closed by somebody else, who cannot have closed what stands."""
    return carriers.is_open(task) or task.get("status") not in ("completed", "cancelled")


def _write(transaction: Transaction, resources: Sequence[Json]) -> None:
    if not resources:
        return
    if transaction.get("Device", carriers.device()["id"]) is None:
        _put(transaction, carriers.device())
    for resource in resources:
        _put(transaction, resource)


def _put(transaction: Transaction, resource: Json) -> None:
    transaction.put(jsontext.from_data(resource), resource["id"], source=carriers.SOURCE)


def _orphans(reader: Reader, seen: set[str]) -> list[str]:
    """Referrals that are gone, but still have open follow-ups."""
    about = dict.fromkeys(target(task.get("focus")) for task in open_followups(reader))
    return [name for name in about if name not in seen]


def _reported(reader: Reader, settings: Settings) -> dict[str, Json]:
    """By EHR, the Task that says it is down, or was."""
    ehrs = {ehr.name for ehr in settings.ehr} | {blind.ehr for blind in reader.blind}
    ids = {carriers.feed_id(ehr): ehr for ehr in ehrs}
    return {ids[row.id]: row.data for row in reader.by_reference({("Task", id) for id in ids})}


def _report_feeds(transaction: Transaction, policy: Policy, now: datetime, settings: Settings) -> None:
    """One Task for each EHR that is down; those of EHRs that are well again end."""
    transaction.lock()
    reader = reader_at(transaction.connection, settings, policy, now)
    reported = _reported(reader, settings)
    for ehr in sorted({blind.ehr for blind in reader.blind if blind.down} | reported.keys()):
        down = [blind for blind in reader.blind if blind.ehr == ehr and blind.down]
        task = feeds.alert(ehr, down, reported.get(ehr), policy, now)
        _write(transaction, [task] if task else [])


def _withdraw(
    transaction: Transaction, referrals: Collection[str], policy: Policy, now: datetime, settings: Settings
) -> None:
    """Close the alerts of referrals that were deleted."""
    transaction.lock()
    reader = reader_at(transaction.connection, settings, policy, now)
    alive = {row.reference for row in reader.by_reference({split(name) for name in referrals})}
    for name in referrals:
        if name in alive:
            continue
        followups = reader.followups_of(name)
        gone = Standing(name, target(followups[0].get("for")) if followups else "", None)
        issues = {
            row.id: row.data
            for row in reader.by_reference(
                {("DetectedIssue", id) for id in alerts.wanted_issues(gone, followups)}
            )
        }
        _write(transaction, alerts.reconcile(gone, followups, issues, policy, now))
