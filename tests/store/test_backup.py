"""A copy taken while the store is being written to is a whole store, up to one moment."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from fhir_coprod.store import Query, Store, opening
from fhir_coprod.store.soundness import check
from tests.peers.postgresql import Databases
from tests.store.writers import task


def write_some(store: Store, name: str, count: int) -> None:
    futures = [store.submit(lambda t, n=n: t.put(task(f"{name}{n}"), f"{name}{n}")) for n in range(count)]
    for future in futures:
        future.result()


def check_copy(url: str, at_least: int) -> None:
    assert check.damage(opening.connect(url)) == []
    with Store.open(url) as copy:
        log = copy.changes(0, limit=10_000)
        assert [version.position for version in log] == list(range(1, len(log) + 1))
        assert len(log) >= at_least
        assert copy.search(Query.parse("Task", [("_summary", "count")])).total == len(log)
        write_some(copy, "after", 3)
        assert copy.head() == len(log) + 3


def test_sqlite_backup_beside_writes(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        write_some(store, "before", 50)
        pending = [store.submit(lambda t, n=n: t.put(task(str(n)), f"during{n}")) for n in range(100)]
        source, target = sqlite3.connect(tmp_path / "store.db"), sqlite3.connect(tmp_path / "copy.db")
        source.backup(target)
        source.close()
        target.close()
        for future in pending:
            future.result()
    check_copy(f"sqlite:///{tmp_path / 'copy.db'}", 50)


def test_postgresql_dump_beside_writes(databases: Databases, postgresql_store: str, tmp_path: Path) -> None:
    dumper, restorer = shutil.which("pg_dump"), shutil.which("pg_restore")
    if dumper is None or restorer is None:
        pytest.skip("peer missing: pg_dump (install Debian's postgresql-client)")
    dump = tmp_path / "store.dump"
    with Store.open(postgresql_store) as store:
        write_some(store, "before", 50)
        pending = [store.submit(lambda t, n=n: t.put(task(str(n)), f"during{n}")) for n in range(100)]
        subprocess.run([dumper, "-Fc", "-f", dump, postgresql_store], check=True)
        for future in pending:
            future.result()
    copy = databases.new()
    try:
        subprocess.run([restorer, "-d", copy, dump], check=True)
        check_copy(copy, 50)
    finally:
        databases.drop(copy)
