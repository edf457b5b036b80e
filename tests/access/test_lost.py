"""A row that is lost, and a label that is not known, open nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from fhir_coprod.access.sight import sight
from fhir_coprod.jsontext import Json, from_data
from fhir_coprod.store import Store, Transaction, opening
from fhir_coprod.store.schema import core
from fhir_coprod.store.soundness import check
from fhir_coprod.store.soundness.faults import Fault
from tests.access.callers import CALLERS
from tests.access.conftest import Hospital
from tests.access.hospital import HISTORY
from tests.access.oracle import Oracle

ORACLE = Oracle.of(HISTORY)
NAMES = tuple(ORACLE.versions)
TOLD = (
    "person of A",
    "person of B",
    "person of C",
    "patient p1",
    "proxy of p1",
    "program of code a",
    "program by a chain",
    "person of A, active orders",
)


class _Undone(Exception):
    """Ends a write so that nothing of it remains."""


def seen_after(store: Store, change: Callable[[Transaction], None]) -> dict[str, frozenset[str]]:
    """Who would see what, if the database were changed like this."""
    found: dict[str, frozenset[str]] = {}

    def work(transaction: Transaction) -> None:
        change(transaction)
        for who in TOLD:
            limit = sight(CALLERS[who], "s")
            assert limit is not None
            found[who] = transaction.seen(limit, NAMES)
        raise _Undone

    with pytest.raises(_Undone):
        store.write(work)
    return found


def test_no_lost_row_of_the_index_opens_anything(filled: Hospital) -> None:
    store = filled.store
    before = seen_after(store, lambda t: None)
    assert all(before[who] == ORACLE.seen(CALLERS[who]) for who in TOLD)
    closed = 0
    for table in (core.reference, core.relation, core.token):
        columns = [column.name for column in table.primary_key.columns]
        rows: list[tuple[object, ...]] = []
        store.write(
            lambda t, table=table, columns=columns, rows=rows: rows.extend(
                t.session.rows(f"SELECT {', '.join(columns)} FROM {table.name}")
            )
        )
        where = " AND ".join(f"{name} = ?" for name in columns)
        for row in rows[:: 1 if table is core.relation else 5]:
            sql = f"DELETE FROM {table.name} WHERE {where}"
            after = seen_after(store, lambda t, sql=sql, row=row: t.session.run(sql, row) and None)
            for who in TOLD:
                assert after[who] <= before[who], (who, table.name, row, after[who] - before[who])
                closed += after[who] < before[who]
    assert closed > 30  # else this test would delete what nobody looks at


def test_labels_that_nobody_has_looked_at_yet_close(filled: Hospital) -> None:
    after = seen_after(
        filled.store, lambda t: t.session.run("UPDATE resource SET labels = 2147483647", ()) and None
    )
    for who in TOLD:
        if CALLERS[who].kind != "program":
            assert not after[who], who


def test_a_relation_follows_its_role_its_tasks_and_its_deletion(changing: Hospital) -> None:
    store = changing.store
    a = CALLERS["person of A"]

    def sees(name: str) -> bool:
        return changing.ask(a, "GET", name).status == 200

    def put(name: str, data: Json) -> None:
        type, _, id = name.partition("/")
        document = from_data({"resourceType": type, "id": id, **data})
        store.write(lambda t: t.put(document, id))

    assert not sees("Patient/p5")
    put("PractitionerRole/rb", {"organization": {"reference": "Organization/A"}})
    assert sees("Patient/p4")  # by t2, whose owner this role is
    put("PractitionerRole/rb", {"organization": {"reference": "Organization/C"}})
    assert not sees("Patient/p4")
    put(
        "Task/new",
        {
            "status": "requested",
            "intent": "order",
            "owner": {"reference": "Organization/A"},
            "focus": {"reference": "ServiceRequest/s6"},
        },
    )
    assert sees("ServiceRequest/s6")
    store.write(lambda t: t.delete("Task", "new"))
    assert not sees("ServiceRequest/s6")
    assert changing.ask(a, "GET", "ServiceRequest/early").status == 200
    store.write(lambda t: t.delete("PractitionerRole", "late"))
    assert not sees("ServiceRequest/early")


def test_the_check_finds_what_was_altered_and_mends_it(changing: Hospital) -> None:
    store = changing.store
    url = store._database.url.render_as_string(hide_password=False)

    def told(*, repair: bool = False) -> list[tuple[str, str]]:
        faults: list[Fault] = []
        with closing(opening.connect(url)) as base:
            writer = store._writer if repair else None
            check.run(base, faults.append, writer=writer, tell_mended=lambda fault: None)
        return [(fault.kind, fault.at) for fault in faults]

    assert told() == []
    store.write(lambda t: t.session.run("DELETE FROM relation WHERE party = ?", ("B",)) and None)
    store.write(
        lambda t: (
            t.session.run("INSERT INTO relation (key, party, patient) VALUES (?, ?, ?)", (1, "A", "p5"))
            and None
        )
    )
    store.write(lambda t: t.session.run("UPDATE resource SET labels = 0 WHERE id = ?", ("oV",)) and None)
    found = told()
    assert ("index", "Observation/oV") in found
    assert ("relation", "ServiceRequest/s2") in found
    assert ("relation", "Organization/A") in found
    assert told(repair=True) == []
    assert told() == []
    for who in TOLD:
        limit = sight(CALLERS[who], "s")
        assert store.seen(limit, NAMES) == ORACLE.seen(CALLERS[who])
    store.reindex()
    assert told() == []
