"""`db check` on a store in which something was changed behind its back: found, named, repaired or not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from fhir_coprod import jsontext
from fhir_coprod.cli import app
from fhir_coprod.errors import Damaged
from fhir_coprod.store import Store, opening
from fhir_coprod.store.quality import Mark
from fhir_coprod.store.schema import metadata

Damage = Callable[[Any], None]
Dump = dict[str, list[tuple[Any, ...]]]


def patient(number: int) -> jsontext.Document:
    return jsontext.parse(
        b'{"resourceType": "Patient", "active": true, "meta": {"tag": [{"code": "x"}]},'
        b' "birthDate": "1950-01-%02d", "name": [{"family": "Family%d"}]}' % (number, number)
    )


@pytest.fixture
def filled(store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with twenty patients; p3 has three versions, p4 is deleted, p5 has a mark."""
    wrong = jsontext.parse(b'{"resourceType":"Patient","gender":"odd"}')
    mark = Mark("value", "Patient.gender", "not checked here", "ehr:north")
    with Store.open(store_url) as store:
        for number in range(1, 21):
            store.write(lambda t, n=number: t.put(patient(n), f"p{n}"))
        for number in (21, 22):
            store.write(lambda t, n=number: t.put(patient(n), "p3"))
        store.write(lambda t: t.delete("Patient", "p4"))
        store.write(lambda t: t.put(wrong, "p5", marks=(mark,), source="ehr:north"))
    monkeypatch.setenv("COPROD_STORE__URL", store_url)
    return store_url


def damage(url: str, *statements: str) -> None:
    engine = opening.connect(url).make_engine()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")  # no foreign keys
        for statement in statements:
            if connection.dialect.name == "postgresql":
                statement = re.sub(r"\bx'(?=[0-9a-f])", r"'\\x", statement)
            changed = connection.exec_driver_sql(statement).rowcount
            assert changed or statement.startswith("DROP")
    engine.dispose()


def dump(url: str) -> Dump:
    engine = opening.connect(url).make_engine()
    with engine.connect() as connection:
        found = {
            name: sorted(
                (r for r in map(tuple, connection.execute(table.select())) if not scratch(r)), key=repr
            )
            for name, table in metadata.tables.items()
            if name not in ("lease", "async_request", "session", "used_assertion")
        }
    engine.dispose()
    return found


def scratch(row: tuple[Any, ...]) -> bool:
    """Whether the row only says how far a job has come that is over."""
    return str(row[0]).startswith("reindex:")


def checked(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["db", "check", "--json", *arguments])
    return done.exit_code, json.loads(done.stdout)


REPAIRED = {
    "all tokens gone": ("index", ["DELETE FROM token"]),
    "one row of the index gone": ("index", ["DELETE FROM string WHERE key = 7 AND value = 'family7'"]),
    "a row too many": (
        "index",
        ["INSERT INTO token (key, param, code, system) VALUES (7, 1, 'x', '')"],
    ),
    "a row altered": ("index", ["UPDATE date SET low = low + 1 WHERE key = 9"]),
    "rows of nobody": ("index-orphan", ["INSERT INTO uri (key, param, value) VALUES (999, 1, 'x')"]),
    "rows of a deleted resource": ("index", ["INSERT INTO uri (key, param, value) VALUES (4, 1, 'x')"]),
    "an older version taken for the newest": (
        "resource",
        ["UPDATE resource SET position = 21, version = 2 WHERE key = 3"],
    ),
    "a deletion forgotten": ("resource", ["UPDATE resource SET deleted = false WHERE key = 4"]),
    "a resource gone": ("resource", ["DELETE FROM resource WHERE key = 8"]),
    "a body altered that can be made of what was received": (
        "rebuildable",
        ["UPDATE version SET body = x'7b7d' WHERE position = 6"],
    ),
    "bodies exchanged": (
        "rebuildable",
        [
            "UPDATE version SET body = (SELECT v.body FROM version v WHERE v.position = 11)"
            " WHERE position = 10"
        ],
    ),
    "a hash changed": ("rebuildable", ["UPDATE version SET hash = 'f00' WHERE position = 12"]),
    "a time changed": ("rebuildable", ["UPDATE version SET updated = updated - 7 WHERE position = 12"]),
    "a lease without end": (
        "lease",
        ["INSERT INTO lease (name, holder, until) VALUES ('watch', 'x', 9000000000000000)"],
    ),
    "a setting gone": ("recoverable", ["DELETE FROM setting WHERE name = 'index:Patient'"]),
    "an index of the database gone": ("index-missing", ["DROP INDEX token_code_idx"]),
}


def test_what_can_be_derived_is_found_and_made_as_it_was(filled: str) -> None:
    assert checked() == (0, {**checked()[1], "faults": [], "counts": {}})
    before = dump(filled)
    for name, (kind, statements) in REPAIRED.items():
        damage(filled, *statements)
        code, found = checked()
        assert (code, found["repaired"]) == (1, {}), name
        assert kind in found["counts"], (name, found)
        code, found = checked("--repair")
        assert (code, found["faults"]) == (0, []), (name, found)
        assert kind in found["repaired"], name
        assert dump(filled) == before, name
    assert checked()[0] == 0


LOST = {
    "gap": ["DELETE FROM version WHERE position = 21"],
    "resource-lost": ["DELETE FROM version WHERE position = 23"],
    "received": [
        "DELETE FROM received WHERE position = 2",
        "UPDATE received SET body = x'7b7d' WHERE position = 3",
    ],
    "version": [
        "UPDATE version SET seal = 1 WHERE position = 7",
        "UPDATE version SET body = x'7b7d' WHERE position = 6",
        "UPDATE received SET body = x'7b7d' WHERE position = 6",
    ],
    "received-orphan": ["INSERT INTO received (position, body) VALUES (99, x'7b7d')"],
    "marks-lost": ["DELETE FROM quality"],
}


def test_what_is_lost_is_found_and_a_repair_says_that_it_needs_the_backup(filled: str) -> None:
    kinds = {*LOST, "cursor"}
    with Store.open(filled) as store:
        store.write(lambda t: t.set_cursor("watch", 99))  # as written, but the log is shorter now
    for statements in LOST.values():
        damage(filled, *statements)
    code, found = checked()
    assert code == 1
    assert found["counts"].keys() >= kinds
    assert found["counts"]["received"] == 3
    code, found = checked("--repair")
    assert code == 1
    assert found["counts"].keys() >= kinds
    for fault in found["faults"]:
        assert "restore the backup" in fault["cure"], fault
    ended = CliRunner().invoke(app, ["quality"])
    assert isinstance(ended.exception, Damaged)
    assert "beyond its end" in ended.exception.message


@pytest.mark.parametrize("body", ["7bff", "7b7b", "5b5d"], ids=["no text", "no JSON", "no object"])
@pytest.mark.parametrize("command", ["alerts list --json", "watch --json --now 2026-07-01T12:00:00Z"])
def test_who_meets_a_record_that_is_no_json_says_that_the_store_is_damaged(
    filled: str, command: str, body: str
) -> None:
    task = b'{"resourceType":"Task","status":"requested","intent":"order","code":{"coding":[%b]}}'
    coding = b'{"system":"https://fhir-coprod.org/ig/CodeSystem/task-code","code":"stall-followup"}'
    order = (
        b'{"resourceType":"ServiceRequest","status":"active","intent":"order",'
        b'"subject":{"reference":"Patient/p1"}}'
    )
    with Store.open(filled) as store:
        store.write(lambda t: t.put(jsontext.parse(task % coding), "t"))
        store.write(lambda t: t.put(jsontext.parse(order), "s"))
    damage(filled, f"UPDATE version SET body = x'{body}' WHERE type IN ('Task', 'ServiceRequest')")
    done = CliRunner().invoke(app, command.split())
    assert isinstance(done.exception, Damaged), (done.output, done.exception)
    assert "fhir-coprod db check" in done.exception.message


def test_what_other_floors_cannot_read_of_what_is_stored_is_damage(filled: str) -> None:
    for read in (lambda: jsontext.decode(b"{"), lambda: msgspec.json.decode(b"7", type=str)):
        with Store.open(filled) as store, pytest.raises(Damaged, match="db check"), store.connect():
            read()
