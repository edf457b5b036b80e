"""A store that the first version filled, opened by this one: nothing is lost, and everything works on.

`revision_0001.json` holds the rows that a store of schema 0001 had, as they were then; it is never made anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic import command
from sqlalchemy import MetaData, Table
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.errors import Gone
from fhir_coprod.jsontext import parse
from fhir_coprod.store import Store, opening, schema
from fhir_coprod.store.soundness import check
from tests.store.library import ids, search

FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("revision_0001.json").read_text())


@pytest.fixture
def first_version(database_url: str) -> str:
    """URL of a store as the first version left it."""
    engine = opening.connect(database_url).make_engine()
    with engine.begin() as connection:
        config = opening._alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for name, held in FROZEN.items():
            table = Table(name, MetaData(), autoload_with=connection)
            rows = [
                {
                    column: value.encode() if _is_bytes(table, column) else value
                    for column, value in zip(held["columns"], row, strict=True)
                }
                for row in held["rows"]
            ]
            connection.execute(table.insert(), rows)
    engine.dispose()
    return database_url


def _is_bytes(table: Table, column: str) -> bool:
    return isinstance(table.c[column].type, sqlalchemy.LargeBinary)


def test_everything_that_the_first_version_stored_is_there(first_version: str) -> None:
    with Store.open(first_version) as store:
        log = store.changes(0, limit=1000)
        assert [[v.position, v.type, v.id, v.version, v.method] for v in log] == [
            [*row[:4], row[5]] for row in FROZEN["version"]["rows"]
        ]
        assert [v.body.decode() for v in log] == [row[8] for row in FROZEN["version"]["rows"]]
        assert store.received("Patient", "bo", 2).decode() == FROZEN["received"]["rows"][-1][1]
        assert b'"valueDecimal": 19.00' in store.read("Patient", "bo").body
        assert [v.version for v in store.history("Patient", "bo")] == [2, 1]
        with pytest.raises(Gone):
            store.read("Patient", "cy")
        assert store.cursor("watch") == 7
        with store.connect() as connection:
            assert opening.revision(connection) == schema.REVISION
            taken = connection.exec_driver_sql("SELECT ehr, foreign_id, id FROM crosswalk").fetchall()
            assert [tuple(row) for row in taken] == [("north", "4711", "anna")]


def test_what_the_first_version_indexed_is_found_and_writes_go_on(first_version: str) -> None:
    with Store.open(first_version) as store:
        store.reindex()
        assert ids(search(store, "Patient?name=akesson")) == "anna bo"
        assert ids(search(store, "Patient?organization.partof=Organization/hospital")) == "anna"
        assert (
            ids(search(store, "Observation?value-quantity=100|http://unitsofmeasure.org|mg")) == "q100 q99.6"
        )
        assert ids(search(store, "Observation?date=2013")) == "year"
        assert ids(search(store, "ServiceRequest?_has:Task:focus:status=requested")) == "s"
        newest = parse(b'{"resourceType":"Patient","name":[{"family":"Later"}]}')
        written = store.write(lambda transaction: transaction.put(newest, "bo"))
        assert (written.version.version, written.version.position) == (3, len(FROZEN["version"]["rows"]) + 1)
        assert ids(search(store, "Patient?name=akesson")) == "anna"
        assert ids(search(store, "Patient?name=later")) == "bo"
    assert check.damage(opening.connect(first_version)) == []


def test_db_upgrade_and_db_check_say_so(
    first_version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", first_version)
    assert CliRunner().invoke(app, ["db", "check"]).exit_code == 1
    assert CliRunner().invoke(app, ["db", "upgrade"]).exit_code == 0
    checked = CliRunner().invoke(app, ["db", "check"])
    assert checked.exit_code == 0, checked.output
