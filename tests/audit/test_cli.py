"""`fhir-coprod audit` and `fhir-coprod db retain`, as a person uses them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fhir_coprod import jsontext
from fhir_coprod.cli import app
from fhir_coprod.store import Store
from tests.access.programs import register
from tests.api.conftest import patient
from tests.audit.conftest import Audited


@pytest.fixture
def filled(audited: Audited, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Audited:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", audited.url)
    monkeypatch.setenv("COPROD_AUDIT__ON", "true")
    monkeypatch.setenv("COPROD_AUDIT__HEADS_FILE", str(audited.heads))
    for id in ("anna", "bo"):
        audited.api.put(f"Patient/{id}", patient(id=id))
        audited.api.get(f"Patient/{id}")
    audited.stop()
    return audited


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_search_shows_who_has_read_a_record_and_is_remembered_itself(filled: Audited) -> None:
    told = run("audit", "search", "--patient", "anna")
    assert told.exit_code == 0, told.output
    assert "Patient/anna" in told.stdout
    assert "Patient/bo" not in told.stdout
    found = json.loads(run("audit", "search", "--patient", "anna", "--json").stdout)
    assert [one["interaction"] for one in found] == ["audit-search", "audit-search", "read", "update"]
    assert json.loads(run("audit", "search", "--until", "2020-01-01", "--json").stdout) == []
    assert "is no time" in str(run("audit", "search", "--since", "yesterday").exception)


def test_verify_ends_with_1_if_a_row_was_altered(filled: Audited) -> None:
    assert run("audit", "verify").exit_code == 0
    filled.tamper("writes", "UPDATE audit_call SET who = 'x' WHERE number = 1")
    told = run("audit", "verify")
    assert told.exit_code == 1
    assert f"month {filled.month}, chain " in told.stdout
    assert "row 1" in told.stdout
    found = json.loads(run("audit", "verify", "--json").stdout)
    assert {flaw["kind"] for flaw in found["flaws"]} == {"altered"}


def test_verify_says_so_where_no_ends_are_kept_outside(filled: Audited) -> None:
    filled.heads.unlink()
    assert "audit.heads_file" in run("audit", "verify").stderr


@pytest.mark.parametrize("name", ["out.ndjson", "out.ndjson.gz"])
def test_export_writes_audit_events(filled: Audited, tmp_path: Path, name: str) -> None:
    told = run("audit", "export", name)
    assert told.exit_code == 0, told.output
    text = (tmp_path / name).read_bytes()
    lines = (gzip.decompress(text) if name.endswith(".gz") else text).splitlines()
    assert {json.loads(line)["resourceType"] for line in lines} == {"AuditEvent"}
    assert len(lines) == 5
    assert "cannot be written" in str(run("audit", "export", "nowhere/x").exception)


def test_retain_has_nothing_to_remove_in_the_first_years(filled: Audited) -> None:
    assert json.loads(run("db", "retain", "--dry-run", "--json").stdout) == {"dryRun": True, "removed": []}
    assert "nothing is past its time" in run("db", "retain").stdout


def test_commands_are_remembered_while_callers_have_to_say_who_they_are(
    store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", store_url)
    with Store.open(store_url) as store:
        anna = jsontext.from_data({"resourceType": "Patient", "id": "anna"})
        store.write(lambda transaction: transaction.put(anna, "anna"))
    assert run("patient", "export", "anna", "one").exit_code == 0
    assert json.loads(run("audit", "search", "--json").stdout) == []
    with Store.open(store_url) as store:
        register(store)
    assert run("patient", "export", "anna", "two").exit_code == 0
    found = json.loads(run("audit", "search", "--json").stdout)
    assert [one["interaction"] for one in found] == ["audit-search", "patient-export"]
    monkeypatch.setenv("COPROD_AUDIT__ON", "false")
    assert run("patient", "export", "anna", "three").exit_code == 0
    assert len(json.loads(run("audit", "search", "--json").stdout)) == 2
