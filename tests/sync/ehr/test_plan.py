"""Making a plan from a CapabilityStatement: those of two real vendors (trimmed), and made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError, EhrAnswer
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import vendor
from fhir_coprod.sync.ehr.plan import EhrPlan, plan
from fhir_coprod.watched import PULLED

DATA = Path(__file__).parents[1] / "data"
EHR = EhrSettings(name="surgery", url="https://ehr.example/fhir")


def of_vendor(file: str) -> EhrPlan:
    return plan(EHR, json.loads((DATA / f"{file}.json").read_text()))


def statement(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": "server", "resource": list(resources)}],
        **more,
    }


def offer(type: str, *interactions: str, parameters: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": type,
        "interaction": [{"code": code} for code in interactions],
        "searchParam": [{"name": name} for name in parameters],
    }


def found_by(made: EhrPlan, type: str) -> str:
    row = made.of(type)
    assert row is not None
    return row.find


def test_epic_is_recognised_and_read_patient_by_patient() -> None:
    made = of_vendor("epic-r4")
    assert made.vendor_name == "epic"
    assert made.software == "Epic May 2026"
    assert found_by(made, "ServiceRequest") == "by-patient"
    assert found_by(made, "Organization") == "by-reference"
    care_plan = made.of("CarePlan")
    assert care_plan is not None
    assert all(dict(query)["category"] for query in care_plan.queries)


def test_epic_shows_no_history_and_no_task_can_be_created_there() -> None:
    made = of_vendor("epic-r4")
    assert not {row.find for row in made.types} & {"history", "last-updated"}
    task = made.of("Task")
    assert task is not None
    assert task.write == ("update",)


def test_oracle_health_is_recognised_without_a_software_name() -> None:
    made = of_vendor("oracle-health-r4")
    assert made.vendor_name == "oracle-health"
    assert found_by(made, "Task") == "none"
    communication = made.of("Communication")
    assert communication is not None
    assert not communication.observable
    assert "category" in communication.reason
    assert communication.write == ("create", "patch")


def test_every_pulled_type_has_a_row_whatever_the_server_offers() -> None:
    made = plan(EHR, statement())
    assert [row.type for row in made.types] == list(PULLED)
    assert not any(row.observable for row in made.types)
    assert "does not offer" in made.types[0].reason


@pytest.mark.parametrize(
    ("interactions", "parameters", "expected"),
    [
        (("read", "search-type", "history-type"), ("_lastUpdated",), "history"),
        (("read", "search-type"), ("_lastUpdated",), "last-updated"),
        (("read", "search-type"), (), "crawl"),
        (("read",), (), "none"),
        (("history-type",), (), "none"),
    ],
)
def test_the_best_way_that_is_offered_is_taken(
    interactions: tuple[str, ...], parameters: tuple[str, ...], expected: str
) -> None:
    made = plan(EHR, statement(offer("Task", *interactions, parameters=parameters)))
    assert found_by(made, "Task") == expected


def test_search_parameters_of_the_whole_server_count() -> None:
    given = statement(offer("Task", "search-type"))
    given["rest"][0]["searchParam"] = [{"name": "_lastUpdated"}]
    assert found_by(plan(EHR, given), "Task") == "last-updated"


def test_only_what_the_statement_says_of_a_server_counts() -> None:
    client = {"mode": "client", "resource": [offer("Task", "search-type")]}
    server = {"mode": "server", "resource": [offer("Patient", "search-type")]}
    made = plan(EHR, {**statement(), "rest": [client, server]})
    assert (found_by(made, "Task"), found_by(made, "Patient")) == ("none", "crawl")


def test_what_is_only_readable_is_followed_where_others_refer_to_it() -> None:
    made = plan(EHR, statement(offer("Organization", "read"), offer("Communication", "read")))
    assert found_by(made, "Organization") == "by-reference"
    assert found_by(made, "Communication") == "none"


def test_the_settings_choose_the_types() -> None:
    ehr = EhrSettings(name="lab", url="https://lab.example", types=("Observation",))
    made = plan(ehr, statement(offer("Observation", "search-type")))
    assert [(row.type, row.find) for row in made.types] == [("Observation", "crawl")]


@pytest.mark.parametrize("version", ["5.0.0", "3.0.2", ""])
def test_another_fhir_version_is_refused_with_what_to_do(version: str) -> None:
    with pytest.raises(EhrAnswer, match="R4"):
        plan(EHR, {**statement(), "fhirVersion": version})


def test_something_else_than_a_capability_statement_is_refused() -> None:
    with pytest.raises(EhrAnswer, match="base address"):
        plan(EHR, {"resourceType": "Patient"})


@pytest.mark.parametrize(
    "odd",
    [{"rest": None}, {"rest": [None]}, {"rest": [{"resource": [{"interaction": "read"}]}]}, {"software": []}],
)
def test_an_odd_statement_makes_a_poor_plan_and_no_crash(odd: dict[str, Any]) -> None:
    made = plan(EHR, {**statement(), **odd})
    assert not any(row.observable for row in made.types)


def test_a_vendor_file_of_the_site_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "local.toml"
    file.write_text('page_size = 7\n[types.Task]\nfind = "none"\nreason = "kept elsewhere"\n')
    ehr = EhrSettings(name="ward", url="https://ward.example", vendor=str(file))
    made = plan(ehr, statement(offer("Task", "search-type")))
    assert made.vendor.page_size == 7
    assert found_by(made, "Task") == "none"


def test_an_unknown_vendor_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="epic"):
        vendor.load("epik")


def test_a_misspelt_key_in_a_vendor_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "local.toml"
    file.write_text("pagesize = 7\n")
    with pytest.raises(ConfigError, match="pagesize"):
        vendor.load(str(file))


@pytest.mark.parametrize("name", vendor.names())
def test_vendor_files_speak_of_types_that_are_pulled(name: str) -> None:
    assert set(vendor.load(name).types) <= {*PULLED, "Observation"}
