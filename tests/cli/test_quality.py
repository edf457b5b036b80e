"""`fhir-coprod quality`, and the dead letters of `load`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.errors import ConfigError


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPROD_STORE__URL", f"sqlite:///{tmp_path / 'store.db'}")


def coprod(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def printed(*arguments: str) -> Any:
    return json.loads(coprod(*arguments, "--json").stdout)


def loaded(file: Path, *lines: str) -> Result:
    file.write_text("\n".join(lines) + "\n")
    return coprod("load", str(file))


def test_what_is_wrong_is_listed_by_type_rule_and_element(tmp_path: Path) -> None:
    done = loaded(
        tmp_path / "p.ndjson",
        '{"resourceType":"Patient","id":"a","gender":"man","birthDate":"1970-13-41"}',
        '{"resourceType":"Patient","id":"b","gender":"woman"}',
        '{"resourceType":"Patient","id":"c","gender":"male"}',
    )
    assert done.exit_code == 0
    assert "2 records break a rule and were kept" in done.stderr
    gender, birth = printed("quality")
    assert (gender["ehr"], gender["type"], gender["rule"], gender["element"]) == (
        None,
        "Patient",
        "code-invalid",
        "Patient.gender",
    )
    assert (gender["resources"], gender["examples"]) == (2, ["Patient/a", "Patient/b"])
    assert (birth["element"], birth["resources"]) == ("Patient.birthDate", 1)
    said = coprod("quality").stdout
    assert "files" in said
    assert "1970-13-41" not in said
    assert printed("quality", "files") == [gender, birth]
    assert isinstance(coprod("quality", "nobody").exception, ConfigError)
    again = coprod("quality", "--check-again")
    assert "2 judged again, 0 of them sound now" in again.stderr


def test_what_records_say_is_printed_letter_by_letter(tmp_path: Path) -> None:
    loaded(tmp_path / "p.ndjson", '{"resourceType":"Patient","id":"a","gender":"urn:x:[b]man"}')
    assert "'urn:x:[b]man'" in "".join(coprod("quality").stdout.split())


def test_a_store_without_faults_says_so(tmp_path: Path) -> None:
    loaded(tmp_path / "p.ndjson", '{"resourceType":"Patient","id":"c"}')
    assert coprod("quality").stdout == "nothing is wrong in the records\n"


def test_what_load_refuses_is_a_dead_letter_with_file_and_line_until_the_file_is_good(tmp_path: Path) -> None:
    file = tmp_path / "p.ndjson"
    bad = '{"resourceType":"Patient","id":'
    done = loaded(file, '{"resourceType":"Patient","id":"a"}', bad, '{"id":"x"}')
    assert done.exit_code == 1
    first, second = printed("dead-letters", "list")
    assert (first["ehr"], first["type"], first["foreignId"]) == ("", "Patient", None)
    assert first["position"] == f"{file}:2"
    assert second["position"] == f"{file}:3"
    assert coprod("dead-letters", "show", str(first["id"])).stdout.endswith(bad + "\n")
    assert coprod("dead-letters", "replay").exit_code == 1
    assert len(printed("dead-letters", "list")) == 2

    loaded(file, '{"resourceType":"Patient","id":"a"}', '{"resourceType":"Patient","id":"b"}', '{"id":"x"}')
    assert [letter["id"] for letter in printed("dead-letters", "list")] == [second["id"]]
    loaded(file, '{"resourceType":"Patient","id":"b"}')
    assert printed("dead-letters", "list") == []


def test_a_letter_of_a_file_is_taken_in_when_it_can_be_read_after_all(tmp_path: Path) -> None:
    loaded(tmp_path / "p.ndjson", '{"resourceType":"Patient","id":"a b"}')
    (letter,) = printed("dead-letters", "list")
    assert letter["state"] == "open"
    assert "id" in letter["outcome"]["issue"][0]["diagnostics"]


def test_a_file_that_ends_in_the_middle_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.ndjson.gz"
    file.write_bytes(b"\x1f\x8b\x08\x00")
    assert coprod("load", str(file)).exit_code == 1
    (letter,) = printed("dead-letters", "list")
    assert letter["position"] == str(file)
