"""One alert per stall, however many watch, whoever is killed, whatever is told twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.schema import watch as watch_tables
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.rules import policies
from tests.watch.whole import alerts_say_what_standings_say, looked_at_whole, newest, remembered, said

pytestmark = [pytest.mark.proof, pytest.mark.timeout(7200)]
CI = os.environ.get("PROOF_SIZE") == "ci"


@pytest.mark.parametrize(
    ("database", "workers", "events"),
    [("postgresql", 8, 1_000 if CI else 100_000), ("sqlite", 1, 3_000 if CI else 100_000)],
    ids=["eight on PostgreSQL", "one on SQLite"],
)
def test_each_stall_has_one_alert_through_kills_and_replays(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, workers: int, events: int
) -> None:
    if database == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = request.getfixturevalue("postgresql_store")
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    with Store.open(url) as store:
        watching = subprocess.Popen(
            [sys.executable, "-m", "tests.watch.workers", url, str(workers), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        assert watching.stdout.readline() == "ready\n"
        try:
            _happen(store, random.Random(seed), events)
        finally:
            killed, _ = watching.communicate("enough\n")
        assert int(killed) >= 3
        watch = Watch(store, policies.load("default"), Settings())
        watch.catch_up(datetime.now(UTC))
        now = datetime.now(UTC)
        watch.catch_up(now)
        _as_one_quiet_look_says(store, watch, now)


def _as_one_quiet_look_says(store: Store, watch: Watch, now: datetime) -> None:
    rows = {name: standing for name, (standing, _) in remembered(store).items()}
    whole = looked_at_whole(store, watch.site.policy, now, watch.site.settings)
    assert {name: said(standing) for name, standing in rows.items()} == whole
    alerts_say_what_standings_say(store, rows.values())
    stalls = sum(len(standing.stalls) for standing in rows.values())
    issues = newest(store, "DetectedIssue")
    assert sum(issue["status"] == "preliminary" for issue in issues) == stalls
    print(f"{len(rows)} referrals, {stalls} stalls, {len(issues)} alerts ever, log of {store.head()}")
    head = store.head()

    def forget_facts(transaction: Transaction) -> None:
        transaction.connection.execute(update(watch_tables.standing).values(facts=None))
        transaction.set_cursor(AGAIN, 1)

    store.write(forget_facts)
    watch.catch_up(now)
    assert store.head() == head


def _happen(store: Store, chance: random.Random, events: int) -> None:
    """So many changes; now and then the log is followed again from an earlier place."""
    told: list[dict[str, Any]] = []
    waiting: list[Future[Any]] = []
    for number in range(events):
        again = told and chance.random() < 0.05
        resource = chance.choice(told) if again else _something(chance, max(10, events // 8))
        told.append(resource)
        if chance.random() < 0.02:
            type, id = resource["resourceType"], resource["id"]
            waiting.append(store.submit(lambda t, type=type, id=id: t.delete(type, id)))
        else:
            waiting.append(store.submit(lambda t, r=resource: t.put(jsontext.from_data(r), r["id"])))
        if len(waiting) >= 100:
            for one in waiting:
                one.result()
            waiting = []
            del told[:-2000]
            _let_them_work(store)
        if number % 997 == 996:
            back = chance.randrange(1000)
            store.write(lambda t, back=back: t.set_cursor(FOLLOWER, max(1, t.cursor(FOLLOWER) - back)))
    for one in waiting:
        one.result()


def _let_them_work(store: Store) -> None:
    """What happens is spread over some time, and not far ahead of those that follow it."""
    time.sleep(0.3)
    for _ in range(1000):
        if store.head() - store.cursor(FOLLOWER) < 3000:
            return
        time.sleep(0.1)


def _something(chance: random.Random, referrals: int) -> dict[str, Any]:
    number = chance.randrange(referrals)
    at = (datetime.now(UTC) - timedelta(hours=chance.randrange(1, 2000))).isoformat()
    referral = {"reference": f"ServiceRequest/r{number}"}
    patient = {"reference": f"Patient/p{number // 2}"}
    kind = chance.choices(("referral", "task", "appointment", "word"), (3, 5, 2, 1))[0]
    if kind == "referral":
        return {
            "resourceType": "ServiceRequest",
            "id": f"r{number}",
            "status": chance.choice(("active", "active", "active", "on-hold", "revoked", "completed")),
            "intent": "order",
            "priority": chance.choice(("routine", "urgent", "stat")),
            "subject": patient,
            "requester": {"reference": "Organization/gp"},
            "authoredOn": at,
        }
    if kind == "task":
        statuses = ("requested", "received", "accepted", "on-hold", "rejected", "completed", "cancelled")
        return {
            "resourceType": "Task",
            "id": f"t{number}-{chance.randrange(2)}",
            "status": chance.choice(statuses),
            "intent": "order",
            "focus": referral,
            "owner": {"reference": chance.choice(("Organization/ortho", "Organization/heart"))},
            "lastModified": at,
        }
    if kind == "appointment":
        return {
            "resourceType": "Appointment",
            "id": f"a{number}",
            "status": chance.choice(("booked", "noshow", "cancelled")),
            "basedOn": [referral],
            "created": at,
            "start": at,
            "participant": [{"actor": patient, "status": "accepted"}],
        }
    return {
        "resourceType": "Communication",
        "id": f"c{number}",
        "status": "completed",
        "subject": patient,
        "about": [referral],
        "recipient": [patient],
        "sent": at,
    }
