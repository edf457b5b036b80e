"""`fhir-coprod db`: schema brought up to date, damage found."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fhir_coprod import jsontext
from fhir_coprod.cli import app
from fhir_coprod.store import Store, schema


@pytest.fixture
def configured(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", database_url)
    return database_url


def test_check_tells_an_empty_database_from_a_current_one(configured: str) -> None:
    before = CliRunner().invoke(app, ["db", "check"])
    assert before.exit_code == 1
    assert "db upgrade" in before.output
    assert CliRunner().invoke(app, ["db", "upgrade"]).exit_code == 0
    after = CliRunner().invoke(app, ["db", "check", "--json"])
    assert after.exit_code == 0
    assert json.loads(after.stdout) == {
        "schema": schema.REVISION,
        "expected": schema.REVISION,
        "current": True,
        "faults": [],
        "counts": {},
        "repaired": {},
    }


def test_check_finds_an_index_row_that_belongs_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    monkeypatch.setenv("COPROD_STORE__URL", f"sqlite:///{path}")
    with Store.open(f"sqlite:///{path}") as store:
        document = jsontext.from_data({"resourceType": "Patient", "active": True})
        store.write(lambda transaction: transaction.create(document))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE token SET key = 99")
    connection.close()
    checked = CliRunner().invoke(app, ["db", "check"])
    assert checked.exit_code == 1
    assert "belong to no living resource: key 99" in checked.output


def test_upgrade_as_json_says_the_same(tmp_path: Path) -> None:
    config = tmp_path / "coprod.toml"
    config.write_text('[store]\nurl = "sqlite:///coprod.db"\n')
    for before in ("", schema.REVISION):
        result = CliRunner().invoke(app, ["db", "upgrade", "--json", "--config", str(config)])
        assert result.exit_code == 0
        told = json.loads(result.stdout)
        assert (told["before"], told["schema"]) == (before, schema.REVISION)
