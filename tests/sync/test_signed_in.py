"""Signing in as a person meets it: what `ehr check` and `sync` say of an EHR that wants a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.sync.ehr import keys
from tests.sync.ehr.accounts import ES384
from tests.sync.guarded import GuardedEhr
from tests.sync.records import organization, patient
from tests.sync.server import serving


def coprod(folder: Path, ehr: GuardedEhr, *arguments: str) -> Result:
    key = folder / "ward.pem"
    if not key.exists():
        keys.write(key, [ES384])
    file = folder / "coprod.toml"
    file.write_text(
        f'[store]\nurl = "sqlite:///{folder / "store.db"}"\n'
        f'[[ehr]]\nname = "ward"\nurl = "{ehr.url}"\nrequests_per_second = 1000\n'
        'types = ["Organization", "Patient"]\n'
        'auth = { type = "smart-backend", client_id = "coprod", key_file = "ward.pem" }\n'
    )
    return CliRunner().invoke(app, ["--config", str(file), *arguments])


def guarded(**more: Any) -> GuardedEhr:
    ehr = GuardedEhr(**more)
    ehr.load(organization("care", "GP"), patient("p", "19700102"))
    return ehr


@pytest.mark.parametrize("scope", [None, "system/Organization.read system/Patient.rs", "system/*.read"])
def test_check_says_who_gave_the_token_for_how_long_and_for_which_key(
    tmp_path: Path, scope: str | None
) -> None:
    ehr = guarded(scope=scope)
    with serving(ehr):
        result = coprod(tmp_path, ehr, "ehr", "check", "ward")
    assert result.exit_code == 0, result.output
    said = f"signed in by a token of {ehr.authority} for 300 seconds, with the key {ES384.thumbprint()}"
    assert said in result.stdout


def test_check_names_the_types_that_the_token_does_not_allow(tmp_path: Path) -> None:
    ehr = guarded(scope="system/Organization.read system/Task.read")
    with serving(ehr):
        result = coprod(tmp_path, ehr, "ehr", "check", "ward")
        as_json = coprod(tmp_path, ehr, "ehr", "check", "ward", "--json")
    assert result.exit_code == 1
    assert "ward: the token does not allow us to read Patient; have it granted" in result.stderr
    (plan,) = json.loads(as_json.stdout)
    assert plan["access"].startswith("a token of http://127.0.0.1")
    assert "Patient" in plan["wrong"][0]
    assert "s3cret-token" not in as_json.output


def test_check_of_an_ehr_that_wants_no_token_says_nothing_of_one(tmp_path: Path) -> None:
    ehr = guarded(accepts=lambda token: True)
    with serving(ehr):
        coprod(tmp_path, ehr, "ehr", "check", "ward")
        file = tmp_path / "coprod.toml"
        file.write_text(file.read_text().partition("auth =")[0])
        result = CliRunner().invoke(app, ["--config", str(file), "ehr", "check"])
    assert result.exit_code == 0
    assert "signed in" not in result.output


def test_a_token_that_cannot_be_had_fails_in_one_sentence(tmp_path: Path) -> None:
    ehr = guarded()
    with serving(ehr):
        ehr.more = {"token_endpoint": f"{ehr.url}/nothing-here"}
        for command in (["ehr", "check"], ["sync"]):
            result = coprod(tmp_path, ehr, *command)
            assert result.exit_code == 1
            assert "is it the token endpoint (auth.token_url)?" in " ".join(result.output.split())
    assert ehr.tokens == []


def test_records_come_in_with_a_token_and_a_missing_key_is_said_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    ehr = guarded()
    with serving(ehr):
        result = coprod(tmp_path, ehr, "sync", "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)[0]["types"]["Patient"]["created"] == 1
        ehr.requests.clear()
        (tmp_path / "ward.pem").write_text("")
        result = coprod(tmp_path, ehr, "ehr", "check")
    assert result.exit_code == 1
    assert "holds no private key" in result.stderr
    assert ehr.requests == []
