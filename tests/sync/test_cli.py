"""`sync`, `ehr check` and `dead-letters` as a person or a program uses them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.errors import ConfigError, CoprodError
from fhir_coprod.store import Store
from tests import programs
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving

BAD = b'{"resourceType":"Task","id":"bad","status":"no such status","intent":"order"}'


def with_a_bad_task() -> Ehr:
    """A GP's EHR with one referral, and a Task that breaks a rule."""
    ehr = Ehr().load(
        organization("care", "GP"),
        patient("p", "19700102"),
        referral("s", "Patient/p", "R1"),
        task("bad", "Patient/p", "ServiceRequest/s"),
    )
    ehr.broken["Task/bad"] = BAD
    return ehr


@pytest.fixture
def department() -> Iterator[Ehr]:
    ehr = with_a_bad_task()
    with serving(ehr):
        yield ehr


@pytest.fixture
def config(tmp_path: Path, store_path: str, department: Ehr) -> Path:
    file = tmp_path / "coprod.toml"
    file.write_text(
        f'[store]\nurl = "{store_path}"\n'
        f'[[ehr]]\nname = "care"\nurl = "{department.url}"\nrequests_per_second = 1000\n'
        'on_invalid = "refuse"\n'
        'types = ["Organization", "Patient", "ServiceRequest", "Task", "Communication"]\n'
    )
    return file


def coprod(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--config", str(config), *arguments])


def printed(result: Result) -> Any:
    return json.loads(result.stdout)


def test_sync_prints_one_json_document_and_ends_with_1_for_dead_letters(config: Path) -> None:
    result = coprod(config, "sync", "--json")
    assert result.exit_code == 1
    (report,) = printed(result)
    assert report["ehr"] == "care"
    assert report["types"]["Patient"] == {
        "read": 1,
        "created": 1,
        "updated": 0,
        "unchanged": 0,
        "deleted": 0,
        "conflicts": 0,
        "dead": 0,
        "dismissed": 0,
        "merged": 0,
        "not_valid": 0,
    }
    assert report["types"]["Task"]["dead"] == 1
    assert report["changes"] == []


def test_sync_logs_one_line_a_page_without_personal_data(config: Path) -> None:
    result = coprod(config, "sync")
    lines = [line for line in result.stderr.splitlines() if "event='page'" in line]
    assert len(lines) == 5
    assert any("type='Patient'" in line and "read=1" in line for line in lines)
    assert "Öst" not in result.stderr
    assert "dead-letters list" in result.stderr


def test_sync_of_a_good_ehr_ends_with_0(config: Path, department: Ehr) -> None:
    department.broken.clear()
    result = coprod(config, "sync", "care", "--full")
    assert result.exit_code == 0
    assert "Patient" in result.stdout


def test_dry_run_shows_each_line_and_writes_nothing(config: Path, department: Ehr, store_path: str) -> None:
    department.broken.clear()
    result = coprod(config, "sync", "--dry-run")
    assert result.exit_code == 0
    assert '+ identifier[0].value: "19700102"' in result.stdout
    with Store.open(store_path) as store:
        assert store.head() == 0
    (report,) = printed(coprod(config, "sync", "--dry-run", "--json"))
    assert {change["change"] for change in report["changes"]} == {"created"}
    assert {"path": "birthDate", "before": None, "after": "1970-01-02"} in [
        line for change in report["changes"] for line in change["diff"]
    ]


def test_a_question_to_a_person_is_told_once_with_where_to_answer(config: Path, department: Ehr) -> None:
    department.load(patient("q"))
    assert "question" not in coprod(config, "sync", "--dry-run").stderr
    first, second = coprod(config, "sync").stderr, coprod(config, "sync").stderr
    assert "1 new question waits for a person; see: fhir-coprod people list" in first
    assert "question" not in second


def test_all_columns_of_the_report_fit_into_a_terminal_of_80_characters(config: Path) -> None:
    assert "unchanged deleted conflicts dead merged" in coprod(config, "sync").stdout


def test_an_unreachable_ehr_is_a_fault_that_says_so(tmp_path: Path, store_path: str) -> None:
    file = tmp_path / "away.toml"
    file.write_text(
        f'[store]\nurl = "{store_path}"\n[[ehr]]\nname = "away"\nurl = "http://127.0.0.1:9"\ntimeout = 1\n'
    )
    result = coprod(file, "ehr", "check", "--json")
    assert result.exit_code == 1
    assert "no answer" in printed(result)[0]["error"]


def test_an_ehr_that_answers_html_is_told_apart(tmp_path: Path, store_path: str, department: Ehr) -> None:
    file = tmp_path / "html.toml"
    file.write_text(f'[store]\nurl = "{store_path}"\n[[ehr]]\nname = "site"\nurl = "{department.url}/html"\n')
    result = coprod(file, "ehr", "check")
    assert result.exit_code == 1
    assert "HTML instead of FHIR JSON" in " ".join(result.stderr.split())


def test_ehr_check_shows_software_and_plan(config: Path) -> None:
    result = coprod(config, "ehr", "check")
    assert result.exit_code == 0
    assert "Test server 1, FHIR 4.0.1" in result.stdout
    (plan,) = printed(coprod(config, "ehr", "check", "care", "--json"))
    assert plan["fhirVersion"] == "4.0.1"
    assert plan["types"][0] == {
        "type": "Organization",
        "find": "crawl",
        "write": [],
        "observable": True,
        "reason": "everything each time, compared by content",
    }


def test_an_unknown_name_is_wrong_use(config: Path) -> None:
    for arguments in (("sync", "cara"), ("ehr", "check", "cara")):
        error = coprod(config, *arguments).exception
        assert isinstance(error, CoprodError)
        assert error.exit_code == 2
        assert "known: care" in error.message


def test_a_dead_letter_is_listed_shown_and_replayed(config: Path, department: Ehr, store_path: str) -> None:
    coprod(config, "sync")
    (letter,) = printed(coprod(config, "dead-letters", "list", "--json"))
    assert (letter["ehr"], letter["type"], letter["foreignId"]) == ("care", "Task", "bad")
    assert letter["position"] == "Task, page 1, entry 1"
    assert ["Task.status"] in [issue.get("expression") for issue in letter["outcome"]["issue"]]
    shown = coprod(config, "dead-letters", "show", str(letter["id"]))
    assert shown.stdout.endswith(BAD.decode() + "\n")
    again = coprod(config, "dead-letters", "replay")
    assert again.exit_code == 1
    assert ": open: Task.status" in again.stdout

    department.broken.clear()
    coprod(config, "sync")
    assert printed(coprod(config, "dead-letters", "list", "--json")) == []
    (closed,) = printed(coprod(config, "dead-letters", "list", "--all", "--json"))
    assert closed["state"] == "resolved"
    assert "no dead letters" in coprod(config, "dead-letters", "list").stdout


def test_an_unknown_letter_says_so(config: Path) -> None:
    assert coprod(config, "db", "upgrade").exit_code == 0
    error = coprod(config, "dead-letters", "show", "77").exception
    assert isinstance(error, CoprodError)
    assert "dead-letters list --all" in error.message


def test_the_help_says_what_exit_code_1_means_and_what_full_adds(config: Path) -> None:
    said = " ".join(coprod(config, "sync", "--help").stdout.replace("\u2502", " ").split())
    assert "Exit code 1: done, but" in said
    assert "finds what was deleted" in said


def test_ehr_check_goes_on_after_an_ehr_that_is_set_up_wrongly(config: Path, department: Ehr) -> None:
    wrong = f'[[ehr]]\nname = "first"\nurl = "{department.url}"\nvendor = "nobody"\n'
    config.write_text(config.read_text().replace("[[ehr]]", f"{wrong}[[ehr]]", 1))
    result = coprod(config, "ehr", "check", "--json")
    assert result.exit_code == 1
    first, second = printed(result)
    assert "nobody" in first["error"]
    assert second["fhirVersion"] == "4.0.1"


def test_ehr_check_shows_what_is_wrong_in_a_vendor_file_of_the_site(config: Path) -> None:
    file = config.parent / "ward.toml"
    file.write_text('[types.Task]\nfind = "by-patient"\npatient_parameter = "patiet"\n')
    config.write_text(config.read_text() + 'vendor = "ward.toml"\n')
    result = coprod(config, "ehr", "check", "--json")
    assert result.exit_code == 1
    assert "ward.toml:3: types.Task.patient_parameter: Task has no search" in printed(result)[0]["error"]
    assert "did you mean 'patient'?" in printed(result)[0]["error"]


def test_a_sync_without_any_ehr_makes_no_store(tmp_path: Path) -> None:
    file = tmp_path / "coprod.toml"
    file.write_text('[store]\nurl = "sqlite:///coprod.db"\n')
    result = coprod(file, "sync")
    assert isinstance(result.exception, ConfigError)
    assert "No EHR is set up" in result.exception.message
    assert not (tmp_path / "coprod.db").exists()


def test_a_dry_run_shows_a_first_sync_and_leaves_no_store(tmp_path: Path, department: Ehr) -> None:
    file = tmp_path / "coprod.toml"
    file.write_text(
        f'[store]\nurl = "sqlite:///coprod.db"\n[[ehr]]\nname = "care"\nurl = "{department.url}"\n'
        'types = ["Patient"]\n'
    )
    result = coprod(file, "sync", "--dry-run", "--json")
    assert [change["change"] for change in printed(result)[0]["changes"]] == ["created"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("coprod.db")] == []


def test_a_department_that_its_server_does_not_have_is_a_fault(config: Path) -> None:
    config.write_text(config.read_text() + 'department = "Organization/nope"\n')
    result = coprod(config, "sync", "--json")
    assert result.exit_code == 1
    fault = printed(result)[0]["faults"]["Organization"]
    assert "Organization/nope of the settings is not at this server" in fault
    config.write_text(config.read_text().replace("/nope", "/care"))
    assert printed(coprod(config, "sync", "--json"))[0]["faults"] == {}


def test_a_type_that_there_is_not_is_a_wrong_setting(config: Path) -> None:
    config.write_text(config.read_text().replace('"Patient"', '"Patiant"'))
    result = coprod(config, "ehr", "check")
    assert result.exit_code == 1
    assert "Patiant, which FHIR R4 does not have" in result.stderr


def test_a_lost_reader_of_the_log_is_no_fault_of_the_ehr(config: Path) -> None:
    command = ("fhir_coprod", "--config", str(config), "sync", "--json")
    read, write = os.pipe()
    os.close(read)  # every line to stderr fails from now on
    try:
        done = programs.run(*command, stderr=write)
    finally:
        os.close(write)
    (report,) = json.loads(done.stdout)
    assert (report["error"], report["faults"]) == (None, {})
    assert report["types"]["Patient"]["created"] == 1
