"""Measures the store without HTTP, against the bare database doing the least that is comparable."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg

from benchmarks.frame import Pair
from benchmarks.sample import care_plan_bytes
from fhir_coprod import definitions, jsontext
from fhir_coprod.bulk import exporting
from fhir_coprod.bulk.folder import Folder
from fhir_coprod.bulk.wanted import Job, Level, Wanted, decode, encode
from fhir_coprod.files.finding import find
from fhir_coprod.instants import now, to_milliseconds
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Query, Store, Transaction, bulk_jobs, loading
from fhir_coprod.store.bulk_jobs import BulkJob
from tests.peers import postgresql
from tests.peers.shared import Run

ALONE = 200
TOGETHER = 2_000
CHUNK = 250
READS = 10_000
SEARCHES = 500

_numbers = itertools.count()


class Bare:
    """One table of texts in the same kind of database, as durable as the store."""

    def __init__(self, url: str) -> None:
        self.postgresql = url.startswith("postgresql")
        self.mark = "%s" if self.postgresql else "?"
        kind = "bytea" if self.postgresql else "blob"
        self.connection: Any = psycopg.connect(url) if self.postgresql else sqlite3.connect(url)
        if not self.postgresql:
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute(f"CREATE TABLE bare (id bigint PRIMARY KEY, body {kind})")
        self.connection.commit()
        self.newest = 0

    def insert(self, bodies: list[bytes], chunk: int) -> int:
        cursor = self.connection.cursor()
        for start in range(0, len(bodies), chunk):
            rows = []
            for body in bodies[start : start + chunk]:
                self.newest += 1
                rows.append((self.newest, body))
            cursor.executemany(f"INSERT INTO bare VALUES ({self.mark}, {self.mark})", rows)
            self.connection.commit()
        return len(bodies)

    def read(self, count: int, rows: int) -> int:
        cursor = self.connection.cursor()
        sql = f"SELECT * FROM bare WHERE id > {self.mark} ORDER BY id LIMIT {rows}"
        for number in range(count):
            cursor.execute(sql, (number % max(self.newest - rows, 1),))
            cursor.fetchall()
        return count

    def write(self, folder: Path) -> int:
        cursor, last, count = self.connection.cursor(), 0, 0
        sql = f"SELECT * FROM bare WHERE id > {self.mark} ORDER BY id LIMIT {CHUNK}"
        with (folder / "bare.ndjson").open("wb") as file:
            while rows := cursor.execute(sql, (last,)).fetchall():
                file.write(b"\n".join(bytes(row[1]) for row in rows))
                last, count = rows[-1][0], count + len(rows)
        return count


def documents(count: int) -> list[Document]:
    return [jsontext.parse(care_plan_bytes(next(_numbers))) for _ in range(count)]


def alone(store: Store, count: int) -> int:
    for document in documents(count):
        store.write(lambda transaction, document=document: transaction.create(document))
    return count


def together(store: Store, count: int) -> int:
    def work(part: list[Document]) -> Callable[[Transaction], None]:
        def create(transaction: Transaction) -> None:
            for document in part:
                transaction.create(document)

        return create

    made = documents(count)
    futures = [store.submit(work(made[start : start + CHUNK])) for start in range(0, count, CHUNK)]
    for future in futures:
        future.result()
    return count


def load(store: Store, folder: Path, count: int) -> int:
    file = folder / f"{next(_numbers)}.ndjson"
    lines = (care_plan_bytes(next(_numbers)).replace(b"\n", b" ") for _ in range(count))
    file.write_bytes(b"\n".join(lines))
    done = loading.load(store, find([file]))
    assert done.created == count, done.named[:1]
    return count


def search(store: Store, pairs: list[tuple[str, str]], count: int) -> int:
    for _ in range(count):
        page = store.search(Query.parse("CarePlan", pairs))
        assert page.matches
    return count


def reads(store: Store, ids: list[str], count: int) -> int:
    for number in range(count):
        store.read("CarePlan", ids[number % len(ids)])
    return count


@contextmanager
def databases(folder: Path) -> Iterator[list[tuple[str, str, str]]]:
    """Name, URL for the store, URL for the bare table: SQLite, and a durable PostgreSQL if there is one."""
    found = [("SQLite", f"sqlite:///{folder / 'store.db'}", str(folder / "bare.db"))]
    if postgresql.PEER.find() is None:
        yield found
        return
    run = Run.begin()
    try:
        admin = postgresql.start(run, durable=True)["url"]
        ours, bare = (postgresql.new_database(admin) for name in ("ours", "bare"))
        yield [*found, ("PostgreSQL", ours, bare)]
    finally:
        run.finish()


def pairs() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="coprod-bench-") as name, databases(Path(name)) as all_databases:
        for database, store_url, bare_url in all_databases:
            with Store.open(store_url) as store:
                yield from _on(store, Bare(bare_url), database, Path(name))


def _on(store: Store, bare: Bare, database: str, folder: Path) -> Iterator[Pair]:
    bodies = [care_plan_bytes(next(_numbers)) for _ in range(TOGETHER)]
    yield Pair(
        f"create, each waited for, {database}",
        "creates",
        lambda: alone(store, ALONE),
        "bare INSERT and commit",
        lambda: bare.insert(bodies[:ALONE], 1),
        "ours also hashes, keeps received bytes, log and index",
    )
    yield Pair(
        f"create, {CHUNK} in a transaction, {database}",
        "creates",
        lambda: together(store, TOGETHER),
        f"bare INSERT, {CHUNK} a commit",
        lambda: bare.insert(bodies, CHUNK),
        "as above; parsing included",
    )
    yield Pair(
        f"load NDJSON, validated, {database}",
        "resources",
        lambda: load(store, folder, TOGETHER),
        f"bare INSERT, {CHUNK} a commit",
        lambda: bare.insert(bodies, CHUNK),
        "ours parses, validates, indexes",
    )
    plans = store.history("CarePlan", count=1000)
    ids = [plan.id for plan in plans]
    identifier = plans[0].data["identifier"][0]["value"]
    yield Pair(
        f"read by id, {database}",
        "reads",
        lambda: reads(store, ids, READS),
        "bare SELECT by key",
        lambda: bare.read(READS, 1),
    )
    for title, asked in (
        ("status=active&_lastUpdated=gt…&_count=20", [("status", "active"), ("_lastUpdated", "gt2020")]),
        ("identifier=…", [("identifier", identifier)]),
        ("patient=…&_sort=-date&_count=20", [("patient", "bench"), ("_sort", "-date")]),
    ):
        yield Pair(
            f"search {title}, {database}",
            "searches",
            lambda asked=asked: search(store, asked, SEARCHES),
            "bare SELECT of 20 bodies by key",
            lambda: bare.read(SEARCHES, 20),
        )
    for level, what in (("", "everything"), ("Patient", "all patients")):
        yield Pair(
            f"export of {what}, {database}",
            "resources",
            lambda level=level: export(store, folder, level),
            f"bare SELECT of {CHUNK} bodies by key, written into a file",
            lambda: bare.write(folder),
            "ours chooses what was current, and what is about patients; lease, progress and fsync included",
        )


def export(store: Store, folder: Path, level: Level) -> int:
    files = Folder(folder / "exports")
    wanted = Wanted(level, definitions.resource_types(), "http://localhost/fhir", "")
    kept = BulkJob(str(uuid4()), "", to_milliseconds(now()) + 3_600_000, False, encode(Job(wanted)))
    store.write(lambda t: bulk_jobs.add(t, bulk_jobs.EXPORT, kept, most=1_000, most_of_one=1_000))
    exporting.run(store, files, kept.id, cut=lambda body, _: body, zone=ZoneInfo("UTC"), hours=1)
    done = bulk_jobs.find(store, bulk_jobs.EXPORT, kept.id)
    assert done is not None
    count = sum(file.count for file in decode(done.body).files)
    store.write(lambda t: bulk_jobs.forget(t, bulk_jobs.EXPORT, kept.id))
    files.remove(kept.id)
    return count
