"""The schema: made from scratch, migrated, refused."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from fhir_coprod.errors import ConfigError, Damaged, Overloaded
from fhir_coprod.jsontext import parse
from fhir_coprod.settings import data_folder
from fhir_coprod.store import Query, Store, database, opening, schema
from fhir_coprod.store.database import Patience
from fhir_coprod.store.soundness import check
from tests import programs


def catalogue(url: str) -> list[tuple[object, ...]]:
    """Everything the database says about its tables, columns, keys and indexes."""
    if url.startswith("sqlite"):
        found: list[tuple[object, ...]] = []
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            tables = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                found += [
                    ("column", table, *row) for row in connection.execute(f"PRAGMA table_xinfo({table})")
                ]
                found += [("table", *row) for row in connection.execute(f"PRAGMA table_list({table})")]
                for index in connection.execute(f"PRAGMA index_list({table})").fetchall():
                    found.append(("index", table, *index[1:]))
                    found += [
                        ("index column", index[1], *row)
                        for row in connection.execute(f"PRAGMA index_xinfo({index[1]})")
                    ]
        connection.close()
        return sorted(found, key=repr)
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
        indexes = connection.execute(
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        ).fetchall()
        constraints = connection.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace"
        ).fetchall()
    return sorted([*columns, *indexes, *constraints], key=repr)


def migrate(url: str) -> None:
    """The long way: every migration, one after another."""
    engine = opening.connect(url).make_engine()
    with engine.begin() as connection:
        opening.migrate(connection)
    engine.dispose()


def test_migrations_lead_to_the_schema_that_a_new_database_gets(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    migrated = catalogue(database_url)
    if database_url.startswith("sqlite"):
        fresh_url = f"sqlite:///{tmp_path / 'fresh.db'}"
        Store.open(fresh_url).close()
        assert catalogue(fresh_url) == migrated
        return
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    Store.open(database_url).close()
    assert catalogue(database_url) == migrated


def test_no_table_was_changed_without_a_migration(database_url: str) -> None:
    migrate(database_url)
    engine = opening.connect(database_url).make_engine()
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        assert opening.revision(connection) == schema.REVISION
    engine.dispose()


def test_an_empty_database_opens_fast(tmp_path: Path) -> None:
    """Without Alembic, whose import alone takes longer than making the tables."""
    times = []
    for n in range(3):
        # Processor time: what else runs on the machine is not what this is about.
        begin = time.process_time()
        Store.open(f"sqlite:///{tmp_path / f'{n}.db'}").close()
        times.append(time.process_time() - begin)
    assert min(times) < 0.1


def test_a_newer_schema_is_refused_in_a_sentence(database_url: str) -> None:
    Store.open(database_url).close()
    engine = opening.connect(database_url).make_engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(ConfigError, match="newer fhir-coprod"):
        Store.open(database_url)


def test_somebody_elses_database_is_refused(database_url: str) -> None:
    engine = opening.connect(database_url).make_engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE resource (id INTEGER)")
    engine.dispose()
    with pytest.raises(ConfigError, match="database of its own"):
        Store.open(database_url)


def test_looking_at_a_store_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    assert opening.check(opening.connect(f"sqlite:///{file}")) == ""
    assert not file.exists()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("DELETE FROM version WHERE position = 2", "1 resource whose newest version is missing"),
        ("UPDATE resource SET position = 1", "1 resource is missing or does not point to its newest version"),
        ("UPDATE resource SET version = 1", "1 resource is missing or does not point to its newest version"),
        ("DELETE FROM resource", "2 resources are missing or do not point to their newest version"),
        ("UPDATE version SET updated = 5", "2 versions are not as they were stored"),
        ("UPDATE version SET position = 3 WHERE position = 1", "1 gap in the log"),
        (
            "UPDATE resource SET deleted = true",
            "1 resource is missing or does not point to its newest version",
        ),
        (
            "UPDATE setting SET value = 'other'",
            "whose search index was made by other definitions: Basic",
        ),
    ],
)
def test_db_check_tells_what_does_not_fit_together(database_url: str, spoil: str, sentence: str) -> None:
    with Store.open(database_url) as store:
        for code in "ab":
            basic = parse(f'{{"resourceType":"Basic","code":{{"coding":[{{"code":"{code}"}}]}}}}')
            store.write(lambda transaction, basic=basic: transaction.put(basic, "b"))
    assert check.damage(opening.connect(database_url)) == []
    base = opening.connect(database_url)
    engine = base.make_engine()
    with engine.begin() as connection:
        if database_url.startswith("sqlite"):
            connection.exec_driver_sql("PRAGMA foreign_keys = off")
        connection.exec_driver_sql("DELETE FROM received")
        connection.exec_driver_sql(spoil)
    engine.dispose()
    assert any(sentence in told for told in check.damage(base))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "is not a URL"),
        ("mysql://host/db", "not supported"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://127.0.0.1:1/none", "cannot be reached"),
        ("sqlite:////proc/none/store.db", "There is no folder /proc/none"),
        ("sqlite:////dev/null/store.db", "cannot be made"),
    ],
)
def test_a_wrong_url_is_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Store.open(url)


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(Damaged, match=r"no SQLite database.* or is something else"):
        Store.open(f"sqlite:///{tmp_path / 'notes.db'}")


def test_two_processes_may_open_an_empty_database_at_once(database_url: str) -> None:
    script = f"from fhir_coprod.store import Store; Store.open({database_url!r}).close()"
    running = [programs.start("-c", script) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]


@pytest.mark.skipif(os.name != "posix", reason="rights of files as POSIX has them")
def test_a_new_sqlite_store_and_its_default_folder_are_for_their_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    file = data_folder() / "coprod.db"
    with Store.open(f"sqlite:///{file}") as store:
        store.write(lambda transaction: transaction.create(parse(b'{"resourceType":"Basic"}')))
        made = [file, *file.parent.glob("coprod.db-*")]
        assert len(made) == 3
        assert {path.stat().st_mode & 0o077 for path in made} == {0}
    assert file.parent.stat().st_mode & 0o077 == 0


def test_a_search_without_end_is_stopped_and_its_reader_not_lost(database_url: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    opened = opening.connect(database_url, Patience(read=0.2))
    with Store.open(database_url):
        with pytest.raises(Overloaded, match=r"longer than 0\.2 seconds"):
            opened.read(endless)
        assert opened.read("SELECT 1") == [(1,)]
    opened.close()


def test_only_a_connection_that_is_gone_is_worth_a_second_try() -> None:
    assert database.is_lost(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert database.is_lost(psycopg.errors.AdminShutdown())
    assert database.is_lost(psycopg.errors.CannotConnectNow())
    # Asked again, a search that took a minute would take another.
    assert not database.is_lost(psycopg.errors.QueryCanceled())
    assert not database.is_lost(psycopg.errors.DiskFull())
    assert not database.is_lost(psycopg.errors.DeadlockDetected())
    assert not database.is_lost(sqlite3.OperationalError("disk I/O error"))


def test_after_the_server_has_cut_its_connections_reads_and_searches_go_on(postgresql_store: str) -> None:
    with Store.open(postgresql_store) as store:
        basic = parse(b'{"resourceType":"Basic"}')
        store.write(lambda transaction: transaction.put(basic, "b"))
        for ask in (
            lambda: store.search(Query.parse("Basic", [])).matches,
            lambda: [store.read("Basic", "b")],
        ):
            assert ask()
            with psycopg.connect(postgresql_store, autocommit=True) as administrator:
                administrator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            assert [version.id for version in ask()] == ["b"]


@pytest.mark.parametrize("lasting", [True, False])
def test_a_write_whose_connection_was_cut_is_done_on_a_new_one_and_the_log_stays_silent(
    postgresql_store: str, caplog: pytest.LogCaptureFixture, lasting: bool
) -> None:
    basic = parse(b'{"resourceType":"Basic"}')
    with Store.open(postgresql_store) as store:
        store.write(lambda transaction: transaction.put(basic, "b"))
        with psycopg.connect(postgresql_store, autocommit=True) as administrator:
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        store.write(lambda transaction: transaction.put(basic, "c"), lasting=lasting)
        assert store.read("Basic", "c").version == 1
    assert caplog.text == ""


def test_a_writer_that_waits_too_long_for_another_process_says_so_and_writes_when_it_is_gone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "store.db"
    impatient = Store.open(f"sqlite:///{file}", Patience(busy=0.1))
    with impatient as store, closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Overloaded, match="has held the database for too long"):
            store.write(lambda transaction: transaction.set_cursor("late", 1))
        other.rollback()
        store.write(lambda transaction: transaction.set_cursor("late", 2))
        assert store.cursor("late") == 2


def test_what_persons_answered_in_tasks_until_now_is_kept_as_their_word(database_url: str) -> None:
    """Migration 0008: same and different become words, an open question a doubt, and keys are made again."""
    engine = opening.connect(database_url).make_engine()
    bodies = {
        "a": {"status": "completed", "output": [{"valueCodeableConcept": {"coding": [{"code": " Same"}]}}]},
        "b": {"status": "rejected"},
        "c": {"status": "requested"},
        "d": {"status": "completed", "output": [{"valueString": "perhaps"}]},
    }
    with engine.begin() as connection:
        opening.migrate(connection, "0007")
        for number, (id, body) in enumerate(bodies.items(), 1):
            row = {"n": number, "id": id, "body": json.dumps(body).encode(), "no": False}
            connection.execute(
                text(
                    "INSERT INTO version (position, type, id, version, updated, method, hash, source, body) "
                    "VALUES (:n, 'Task', :id, 1, 7, 'create', '', '', :body)"
                ),
                row,
            )
            connection.execute(
                text(
                    "INSERT INTO resource (key, type, id, version, position, updated, deleted) "
                    "VALUES (:n, 'Task', :id, 1, :n, 7, :no)"
                ),
                row,
            )
            for ehr in ("ortho", "care"):
                connection.execute(
                    text(
                        "INSERT INTO sync_key (type, kind, key, ehr, foreign_id) "
                        "VALUES ('Patient', 'asked', :id, :ehr, :id)"
                    ),
                    {"id": id, "ehr": ehr},
                )
    with engine.begin() as connection:
        opening.migrate(connection, "0008")
        words = connection.execute(
            text("SELECT ehr_a, id_a, ehr_b, id_b, word FROM person_word ORDER BY id_a")
        )
        assert words.all() == [("care", "a", "ortho", "a", "same"), ("care", "b", "ortho", "b", "different")]
        asked = connection.execute(text("SELECT id_a FROM doubt WHERE asked ORDER BY id_a")).scalars().all()
        assert asked == ["c", "d"]
        kinds = connection.execute(text("SELECT DISTINCT kind FROM sync_key")).scalars().all()
        assert kinds == []
