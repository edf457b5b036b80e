"""A row of a small table that is altered, gone or added from outside is named; what can be made anew is."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Table,
    delete,
    insert,
    select,
    update,
)

import fhir_coprod
from fhir_coprod import jsontext
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, guarded, opening
from fhir_coprod.store.guarded import GUARDED
from fhir_coprod.store.schema import audit, core, metadata, programs, sign_in, sync, watch
from fhir_coprod.store.soundness import check
from fhir_coprod.store.soundness.faults import Fault
from fhir_coprod.store.soundness.guards import kind_of
from fhir_coprod.store.writer import Writer
from fhir_coprod.sync import soundness as synced
from fhir_coprod.sync.ehr.plan import EhrPlan, TypePlan
from fhir_coprod.sync.ehr.vendor import Vendor
from fhir_coprod.sync.merging.assign import assign
from fhir_coprod.sync.merging.lookup import load_rows
from fhir_coprod.sync.staging import feed, letters, stage
from fhir_coprod.sync.staging.feed import Success
from fhir_coprod.sync.staging.references import Bases
from fhir_coprod.sync.staging.stage import Batch, Received, Taken
from fhir_coprod.watch import soundness as watched
from fhir_coprod.watch.facts import habits, rows, shares
from fhir_coprod.watch.facts.shares import Hidden
from fhir_coprod.watch.rules.standing import Standing

AUDIT = ("audit_call", "audit_resource", "audit_checkpoint")
NOW = datetime(2026, 3, 2, tzinfo=UTC)
TABLES = sorted(GUARDED, key=lambda table: table.name)


def value(column: Column[Any], number: int) -> Any:
    if isinstance(column.type, Boolean):
        return bool(number % 2)
    if isinstance(column.type, Integer) or column.type.python_type is int:
        return number
    if isinstance(column.type, LargeBinary):
        return b"%d" % number
    return f"{column.name} {number}"


def fill(connection: Connection) -> None:
    """Two rows in each of them."""
    for table in TABLES:
        for number in (1, 2):
            row = {column.name: value(column, number) for column in table.columns}
            if table is sync.dead_letter:
                del row["id"]
                guarded.add(connection, table, **row)
            else:
                guarded.put(connection, table, [list(row.values())])


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


def url_of(store: Store) -> str:
    return store._database.url.render_as_string(hide_password=False)


def told(store: Store, *, repair: bool = False) -> list[Fault]:
    """What `db check` says of the small tables, and of what was taken from EHRs."""
    found: list[Fault] = []
    base = opening.connect(url_of(store))
    writer = Writer(base) if repair else None
    more = (*synced.parts(Settings()), watched.Standings())
    try:
        check.run(base, found.append, writer=writer, more=more, recover=watched.recovered)
    finally:
        if writer is not None:
            writer.close()
        base.close()
    return found


def rows_told(store: Store, **how: bool) -> list[tuple[str, str]]:
    """(kind, why) of what it says of guarded rows."""
    guards = {*map(kind_of, (table.name for table in TABLES)), "recoverable", "checksum"}
    return [(fault.kind, fault.why) for fault in told(store, **how) if fault.kind in guards]


def outside(store: Store, *statements: Any) -> None:
    """What somebody else does to the database."""
    engine = opening.connect(url_of(store)).make_engine()
    with engine.begin() as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount
    engine.dispose()


def first(table: Table) -> Any:
    """The condition for the first of the two rows."""
    key = GUARDED[table].key
    return (table.c[key[0]] == value(table.c[key[0]], 1)) & (table.c[key[-1]] == value(table.c[key[-1]], 1))


def beside_key(table: Table) -> list[Column[Any]]:
    how = GUARDED[table]
    named = {*how.key, *(column.name for column in table.primary_key.columns)}
    return [table.c[name] for name in how.content if name not in named]


def test_each_table_is_guarded_or_compared_with_its_source_or_of_the_moment() -> None:
    compared = {core.version, core.received, core.resource, core.quality, core.guard, *core.INDEX_TABLES}
    compared |= {core.relation, core.objection, *audit.BY_MONTH}  # the audit: `audit verify`
    compared |= {sync.crosswalk, sync.received_base, sync.sync_key, sync.sync_reference, watch.standing}
    passing = {core.lease, core.async_request, programs.used_assertion, sign_in.session}
    assert {*metadata.tables.values()} == {*GUARDED, *compared, *passing}


def test_a_row_altered_gone_or_added_is_named_with_its_table(store: Store) -> None:
    store.write(lambda t: fill(t.connection))
    assert rows_told(store) == []
    statements: list[Any] = []
    for table in TABLES:
        key = table.c[GUARDED[table].key[0]]
        statements.append(insert(table).values({c.name: value(c, 7) for c in table.columns}))
        statements.append(delete(table).where(key == value(key, 2)))
        statements += [
            update(table).where(first(table)).values({column.name: value(column, 4)})
            for column in beside_key(table)[:1]
        ]
    outside(store, *statements)
    expected = [
        (kind_of(table.name), why)
        for table in TABLES
        for why in ("altered", "gone", "not written by fhir-coprod, or its checksum is gone")
        if why != "altered" or beside_key(table)
    ]
    assert sorted(rows_told(store)) == sorted(expected)
    for fault in told(store):
        if fault.kind.endswith("-row"):
            assert "backup" in fault.cure, fault
            assert fault.at.startswith(("2", "7", "1")) or " " in fault.at, fault


def test_rows_exchanged_or_copied_are_named(store: Store) -> None:
    store.write(lambda t: fill(t.connection))
    word, doubt = sync.person_word, sync.doubt
    outside(
        store,
        update(word).values(word="x"),
        insert(doubt).from_select(
            [c.name for c in doubt.columns],
            select(doubt.c.ehr_a + "x", *[c for c in doubt.columns if c.name != "ehr_a"]).where(first(doubt)),
        ),
    )
    found = rows_told(store)
    assert found.count(("person-word-row", "altered")) == 2
    assert [why for kind, why in found if kind == "doubt-row"] == [
        "not written by fhir-coprod, or its checksum is gone"
    ]


def test_an_altered_checksum_is_told_from_an_altered_row_and_made_as_it_was(store: Store) -> None:
    store.write(lambda t: fill(t.connection))
    guard = core.guard
    own = (guard.c.place == "feed") & (guard.c.key == '["ehr 1","type 1"]')

    def all_guards() -> list[Any]:
        with store.connect() as connection:
            return list(connection.execute(select(guard).order_by(guard.c.place, guard.c.key)))

    before = all_guards()
    for changed in (
        {"content": guard.c.content + 1},
        {"seal": guard.c.seal - 1},
        {"key": '["ehr 1","type x"]'},
        {"key": "no name"},
        {"place": "unread"},
        {"place": "nothing"},
    ):
        outside(store, update(guard).where(own).values(changed))
        assert {kind for kind, _ in rows_told(store)} == {"checksum"}, changed
        assert rows_told(store, repair=True) == [], changed
        assert all_guards() == before, changed
    outside(store, delete(guard).where(own))
    assert rows_told(store, repair=True) == [
        ("feed-row", "not written by fhir-coprod, or its checksum is gone")
    ]


def test_what_was_altered_stays_told_when_a_part_of_it_is_written_until_all_of_it_is(store: Store) -> None:
    store.write(lambda t: fill(t.connection))
    doubt = sync.doubt
    outside(store, update(doubt).where(first(doubt)).values(why="x"))
    store.write(lambda t: guarded.change(t.connection, doubt, doubt.c.ehr_a != "", look=False))
    assert rows_told(store) == [("doubt-row", "altered")]
    with store.connect() as connection:
        row = connection.execute(select(doubt).where(first(doubt))).one()
    store.write(lambda t: guarded.put(t.connection, doubt, [row]))
    assert rows_told(store) == []


def test_work_that_fails_or_takes_back_leaves_rows_and_checksums_together(store: Store) -> None:
    store.write(lambda t: fill(t.connection))

    def fails(transaction: Transaction) -> None:
        transaction.set_cursor("cursor 1", 99)
        guarded.take_all(transaction.connection, sync.doubt)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        store.write(fails)
    assert rows_told(store) == []
    outside(store, delete(sync.doubt).where(first(sync.doubt)))
    store.write(lambda t: guarded.take_all(t.connection, sync.doubt, "ehr_a 1"))
    store.write(lambda t: guarded.take(t.connection, sync.doubt, sync.doubt.c.ehr_a == "ehr_a 2"))
    store.write(lambda t: t.drop_cursor("name 1"))
    assert rows_told(store) == []


def test_writers_of_different_rows_do_not_wait_for_each_other(postgresql_store: str) -> None:
    with Store.open(postgresql_store) as one, Store.open(postgresql_store) as other:
        one.write(lambda t: t.set_cursor("a", 1))
        other.write(lambda t: t.set_cursor("b", 1))
        is_done = threading.Event()

        def slow(transaction: Transaction) -> bool:
            transaction.set_cursor("a", 2)
            return is_done.wait(20)

        waiting = one.submit(slow)
        other.write(lambda t: t.set_cursor("b", 2))
        is_done.set()
        assert waiting.result()
        assert rows_told(one) == []


def test_a_store_of_before_gets_checksums_of_what_is_there(store: Store) -> None:
    store.write(lambda t: fill(t.connection))
    engine = opening.connect(url_of(store)).make_engine()
    with engine.begin() as connection:
        config = opening._alembic()
        config.attributes["connection"] = connection
        for gone in (
            *("guard", "async_request", "bulk_job", "bulk_file", "pause", "sync_run"),
            *("client", "signing_key", "used_assertion", "user_grant", "session", "relation"),
            *("export_job", "import_job", "objection", "joined", "glass"),
            *("erased_range", "erased_record"),
            *AUDIT,
        ):
            connection.exec_driver_sql(f"DROP TABLE {gone}")
        for index in ("dead_letter_open", "resource_objections", "resource_joined"):
            connection.exec_driver_sql(f"DROP INDEX {index}_idx")
        for column in (
            "crosswalk.seal",
            "crosswalk.linked",
            "received_base.seal",
            "standing.due_seal",
            "resource.labels",
            "resource.objections",
            "resource.joined",
        ):
            table, _, name = column.partition(".")
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {name}")
        command.stamp(config, "0011")
        opening.migrate(connection)
    engine.dispose()
    assert rows_told(store) == []
    outside(store, update(sync.numbering).where(first(sync.numbering)).values(trusted=False))
    assert rows_told(store) == [("numbering-row", "altered")]


def test_nothing_else_writes_the_guarded_tables() -> None:
    names = {table.name for table in TABLES}
    allowed = {"store/guarded.py"}
    found = []
    package = Path(fhir_coprod.__file__).parent
    for file in package.rglob("*.py"):
        own = file.relative_to(package).as_posix()
        if own in allowed or own.startswith("store/migrations/"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                function = getattr(node.func, "id", getattr(node.func, "attr", ""))
                arguments = {getattr(each, "id", getattr(each, "attr", "")) for each in node.args}
                if function in ("insert", "update", "delete", "insert_rows") and arguments & names:
                    found.append((own, node.lineno))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.replace("(", " ").split()
                for verb, name in pairwise(words):
                    if verb in ("INTO", "UPDATE") and name in names:
                        found.append((own, node.lineno))
                if words[:2] == ["DELETE", "FROM"] and words[2:3] and words[2] in names:
                    found.append((own, node.lineno))
    assert found == []


# ------------------------------------------------------------------------------- what is made anew


def test_the_watch_is_had_to_judge_again_when_its_cursors_or_settings_are_lost(store: Store) -> None:
    def watches(transaction: Transaction) -> None:
        for name in ("watch", "watch:again", "watch:latest"):
            transaction.set_cursor(name, 0)
        for name in ("watch:rules", "watch:feeds", "watch:unread"):
            transaction.set_setting(name, "[]")
        habits.keep(transaction, [habits.Habit("north", "", "", "informed", 30, 30, "used", True)])

    store.write(watches)
    learned = store.setting(habits.LEARNED)
    outside(
        store,
        delete(core.cursor).where(core.cursor.c.name == "watch"),
        update(core.setting).where(core.setting.c.name == "watch:unread").values(value='["x"]'),
        update(core.setting).where(core.setting.c.name == habits.LEARNED).values(value="y"),
    )
    assert {kind for kind, _ in rows_told(store)} == {"recoverable"}
    assert rows_told(store, repair=True) == []
    assert rows_told(store) == []
    assert (store.cursor("watch:again"), store.setting("watch:rules")) == (1, "")
    assert store.setting(habits.LEARNED) == learned


def test_a_feed_that_was_altered_or_lost_is_read_anew_from_the_next_sync_on(store: Store) -> None:
    types = tuple(TypePlan(type, "last-updated") for type in ("Patient", "Task"))
    plan = EhrPlan("north", "http://north.test", "", "4.0.1", "", Vendor(), types)
    success = Success("2026-03-01T00:00:00Z", NOW)

    def read(transaction: Transaction) -> None:
        feed.planned(transaction.connection, plan, NOW)
        for type in ("Patient", "Task"):
            feed.succeeded(transaction.connection, "north", type, success, NOW)

    store.write(read)
    assert rows_told(store) == []
    of = sync.feed.c.type
    outside(
        store,
        update(sync.feed).where(of == "Patient").values(watermark="2030-01-01T00:00:00Z"),
        delete(sync.feed).where(of == "Task"),
    )
    assert sorted(rows_told(store)) == [("feed-row", "altered"), ("feed-row", "gone")]
    store.write(lambda t: feed.failed(t.connection, "north", ["Patient"], "failed", "away", NOW))
    assert ("feed-row", "altered") in rows_told(store)
    store.write(lambda t: feed.planned(t.connection, plan, NOW))
    with store.connect() as connection:
        assert [(f.state, f.watermark) for f in feed.feeds(connection)] == [("behind", "")] * 2
    assert rows_told(store) == []


def test_a_dead_letter_that_was_lost_comes_again_or_is_no_longer_missed_when_all_was_read(
    store: Store,
) -> None:
    wrong = Outcome((Issue("error", "structure", "odd"),))
    refused = [
        letters.refusal(
            *("north", "Task", id, b'{"reference":"Patient/%s"' % id.encode(), wrong, f"page {id}"),
            *({}, Bases({})),
        )
        for id in ("a", "b")
    ]
    store.write(lambda t: letters.write(t.connection, refused, NOW))
    assert rows_told(store) == []
    outside(store, delete(sync.dead_letter))
    assert [kind for kind, _ in rows_told(store)] == ["dead-letter-row"] * 2
    assert all(f.at.startswith("north Task/") for f in told(store) if f.kind == "dead-letter-row")
    told(store, repair=True)  # takes away whom they concerned
    store.write(lambda t: letters.write(t.connection, refused[:1], NOW))
    assert [kind for kind, _ in rows_told(store)] == ["dead-letter-row"]
    store.write(lambda t: letters.resolve_what_came_no_more(t.connection, "north", "Task", NOW))
    assert told(store) == []


def test_a_lost_share_is_no_longer_missed_when_its_day_is_compared_with_no_more(store: Store) -> None:
    counts = [Hidden("north", "x", 10, 1), Hidden("south", "x", 10, 1)]
    for day in range(100, 103):
        store.write(lambda t, day=day: shares.keep(t, day, counts))
    outside(store, delete(watch.share).where(watch.share.c.day == 100, watch.share.c.ehr == "north"))
    store.write(lambda t: shares.keep(t, 107, counts))
    assert rows_told(store) == [("share-row", "gone")]
    store.write(lambda t: shares.keep(t, 108, counts))
    assert rows_told(store) == []


# ------------------------------------------------------------------- what was taken from EHRs, standings


@pytest.fixture
def taken(store: Store) -> Store:
    """Three records of an EHR, one of them gone again; each is in a resource of its id."""
    bases = Bases({"north": ("http://north.test",)})
    batch = Batch("north", "Patient")
    meta = '{"versionId":"1","lastUpdated":"2026-01-01T00:00:00Z"}'
    for id in "abc":
        raw = f'{{"resourceType":"Patient","id":"{id}","meta":{meta}}}'.encode()
        one = stage.prepare(
            *("north", "Patient", Received(raw, "page 1"), {}.get, bases, lambda d: Outcome()),
            accept_older=False,
        )
        assert isinstance(one, Taken)
        batch.taken.append(one)
    records = [one.record for one in batch.taken]
    store.write(lambda t: stage.stage(t.connection, batch, NOW) and None)

    def link(transaction: Transaction) -> None:
        found = load_rows(transaction.connection, records)
        assign(transaction.connection, {record: f"own-{record.id}" for record in records}, found)

    store.write(link)
    store.write(
        lambda t: stage.stage(t.connection, Batch("north", "Patient", gone=records[2:]), NOW) and None
    )
    return store


def records_told(store: Store, **how: bool) -> list[tuple[str, str]]:
    return [
        (fault.at, fault.why)
        for fault in told(store, **how)
        if fault.kind == "record" and "is missing" not in fault.why
    ]


def test_what_was_taken_of_a_record_is_told_when_altered_and_mended_if_its_bytes_say_it(taken: Store) -> None:
    c, b = sync.crosswalk, sync.received_base
    assert records_told(taken) == []

    def all_rows() -> list[Any]:
        with taken.connect() as connection:
            return [*connection.execute(select(c).order_by(c.c.foreign_id)), *connection.execute(select(b))]

    before = all_rows()
    for changed in ({"version": "2"}, {"updated": "2027"}, {"hash": "f00"}, {"deleted": True}):
        outside(taken, update(c).where(c.c.foreign_id == "a").values(changed))
        assert [at for at, _ in records_told(taken)] == ["north: Patient/a"], changed
        assert records_told(taken, repair=True) == [], changed
        assert all_rows() == before, changed
    outside(
        taken,
        update(c).where(c.c.foreign_id == "a").values(id="own-b"),
        update(c).where(c.c.foreign_id == "c").values(version="2"),
        update(b).where(b.c.foreign_id == "b").values(marks=b"x"),
    )
    assert dict(records_told(taken, repair=True)) == {
        "north: Patient/a": "the resource that it is in is another",
        "north: Patient/b": "its bytes, or what is wrong in them, are altered",
        "north: Patient/c": "its row is altered",
    }


def test_records_of_before_get_their_checksums_by_a_repair(taken: Store) -> None:
    c, b = sync.crosswalk, sync.received_base
    alive = c.c.foreign_id != "c"
    with taken.connect() as connection:
        before = connection.execute(select(c).where(alive).order_by(c.c.foreign_id)).all()
    outside(taken, update(c).values(seal=None, linked=None), update(b).values(seal=None))
    assert records_told(taken, repair=True) == []
    with taken.connect() as connection:
        assert connection.execute(select(c).where(alive).order_by(c.c.foreign_id)).all() == before
        assert None not in connection.execute(select(b.c.seal)).scalars().all()


def test_a_standing_whose_next_look_was_put_off_is_judged_again(store: Store) -> None:
    standing = Standing("ServiceRequest/1", "Patient/1", "sent", NOW)
    row = rows.Row(standing, 1_800_000_000_000, None)
    document = b'{"resourceType":"ServiceRequest"}'
    store.write(lambda t: t.put(jsontext.parse(document), "1"))
    store.write(lambda t: rows.save(t, rows.changed([row])))
    table = watch.standing
    outside(store, update(table).values(due=table.c.due + 86_400_000))
    assert [f.why for f in told(store) if f.kind == "standing"][:1] == ["when to look at it again is altered"]
    told(store, repair=True)
    with store.connect() as connection:
        assert connection.execute(select(table.c.due)).scalar_one() < 0
