"""Measures the referral watch in this process, against json.loads of the same records."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from benchmarks.fill import filled
from benchmarks.frame import Pair, for_seconds
from benchmarks.sample import hospital
from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.watch import assess
from fhir_coprod.watch.facts.reader import all_open
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.rules import policies

SECONDS = 0.7
COPIES = 60
REFERRALS = 10_000
"""Referrals in the store of the live watch."""


def pairs() -> Iterator[Pair]:
    now = datetime.now(UTC)
    records = hospital(COPIES, now)
    policy = policies.load("se-vardgaranti")
    with (
        tempfile.TemporaryDirectory(prefix="coprod-bench-") as folder,
        Store.open(f"sqlite:///{Path(folder) / 'bench.db'}") as store,
    ):
        fill(store, records)
        facts = list(all_open(store))
        stalled = sum(bool(assess(one, policy, now).stalls) for one in facts)

        def assess_all() -> int:
            for one in facts:
                assess(one, policy, now)
            return len(facts)

        def gather_and_assess() -> int:
            number = 0
            for one in all_open(store):
                assess(one, policy, now)
                number += 1
            return number

        def parse_all() -> int:
            for raw in records:
                json.loads(raw)
            return len(facts)

        against = f"json.loads of their {len(records) / len(facts):.0f} records each"
        note = f"{len(facts):,} referrals, {stalled:,} of them stalled"
        yield Pair(
            "assess, facts at hand",
            "referrals",
            for_seconds(SECONDS, assess_all),
            against,
            for_seconds(SECONDS, parse_all),
            note,
        )
        yield Pair(
            "gather facts from SQLite and assess", "referrals", gather_and_assess, against, parse_all, note
        )

    yield from _live(now)


def _live(now: datetime) -> Iterator[Pair]:
    """The live watch over a store of many open referrals, one in five of which is stalled."""
    policy = policies.load("default")
    with (
        tempfile.TemporaryDirectory(prefix="coprod-bench-") as folder,
        filled(f"sqlite:///{Path(folder) / 'live.db'}", REFERRALS, policy, now) as store,
    ):
        watch = Watch(store, policy, Settings())
        facts = list(islice(all_open(store), 2000))

        def look_at_all() -> int:
            store.write(lambda transaction: transaction.set_cursor(AGAIN, 1))
            while watch.again(now):
                pass
            return REFERRALS

        def assess_all() -> int:
            for one in facts:
                assess(one, policy, now)
            return len(facts)

        def sweep() -> int:
            watch.catch_up(now)
            return 1

        def ask() -> int:
            store.head()
            return 1

        note = f"{REFERRALS:,} referrals in SQLite; standings and alerts compared, nothing new to write"
        yield Pair(
            "look at every referral again",
            "referrals",
            look_at_all,
            "assess alone, facts at hand",
            for_seconds(SECONDS, assess_all),
            note,
        )
        yield Pair(
            f"sweep of {REFERRALS:,} referrals, nothing due",
            "sweeps",
            for_seconds(SECONDS, sweep),
            "one question to the store",
            for_seconds(SECONDS, ask),
        )


def fill(store: Store, records: list[bytes]) -> None:
    """Write the records unchanged, in one transaction."""
    documents = [jsontext.parse(raw) for raw in records]

    def put_all(transaction: Transaction) -> None:
        for document in documents:
            transaction.put(document, document.data["id"])

    store.write(put_all)
