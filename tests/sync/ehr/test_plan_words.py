"""What a plan says of a server and of each type, and what it makes of odd statements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import vendor
from fhir_coprod.sync.ehr.plan import EhrPlan, plan
from tests.sync.ehr.test_plan import EHR, found_by, offer, statement


def task_of(made: EhrPlan) -> dict[str, Any]:
    row = made.of("Task")
    assert row is not None
    return row.to_json()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"software": {"name": "Ward", "version": "7"}}, "Ward 7"),
        ({"software": {"name": "Ward"}, "implementation": {"description": "x"}}, "Ward"),
        ({"software": {"version": "7"}}, "7"),
        ({"implementation": {"description": "Ward at home"}}, "Ward at home"),
        ({"software": "Ward", "implementation": ["x"]}, "unnamed"),
        ({}, "unnamed"),
    ],
)
def test_the_software_is_what_the_server_says_it_is(said: dict[str, Any], expected: str) -> None:
    made = plan(EHR, statement(**said))
    assert made.software == expected
    assert made.to_json() == {
        "ehr": "surgery",
        "url": "https://ehr.example/fhir",
        "software": expected,
        "fhirVersion": "4.0.1",
        "vendor": "",
        "access": "",
        "exports": None,
        "about_exports": None,
        "types": [row.to_json() for row in made.types],
        "wrong": [],
    }
    assert made.vendor == vendor.PLAIN


@pytest.mark.parametrize(
    ("interactions", "parameters", "find", "reason"),
    [
        (("search-type", "history-type"), (), "history", "type history since the last time"),
        (("search-type",), ("_lastUpdated",), "last-updated", "search by _lastUpdated since the last time"),
        (("search-type",), ("_id",), "crawl", "everything each time, compared by content"),
        (("read", "create"), (), "none", "the server does not let Task be searched"),
    ],
)
def test_each_way_has_its_reason(
    interactions: tuple[str, ...], parameters: tuple[str, ...], find: str, reason: str
) -> None:
    made = plan(EHR, statement(offer("Task", *interactions, parameters=parameters)))
    assert task_of(made) == {
        "type": "Task",
        "find": find,
        "write": ["create"] if "create" in interactions else [],
        "observable": find != "none",
        "reason": reason,
    }


def test_what_may_be_written_is_told_in_one_order_whatever_the_server_s_is() -> None:
    made = plan(EHR, statement(offer("Task", "delete", "vread", "patch", "update", "create")))
    assert task_of(made)["write"] == ["create", "update", "patch", "delete"]


@pytest.mark.parametrize(
    ("interactions", "parameters", "by_id"),
    [(("search-type",), ("_id",), True), (("read",), ("_id",), False), (("search-type",), ("id",), False)],
)
def test_records_are_asked_for_together_where_id_can_be_searched(
    interactions: tuple[str, ...], parameters: tuple[str, ...], by_id: bool
) -> None:
    row = plan(EHR, statement(offer("Task", *interactions, parameters=parameters))).of("Task")
    assert row is not None
    assert row.by_id is by_id


def test_id_and_last_updated_may_be_offered_for_the_whole_server() -> None:
    given = statement(offer("Task", "search-type"))
    given["rest"][0]["searchParam"] = [{"name": "_id"}]
    row = plan(EHR, given).of("Task")
    assert row is not None
    assert (row.by_id, row.find) == (True, "crawl")


def test_what_a_vendor_file_leaves_open_is_as_the_statement_says(tmp_path: Path) -> None:
    file = tmp_path / "ward.toml"
    file.write_text(
        '[types.Task]\nqueries = [[["status", "requested"]], [["status", "accepted"]]]\n'
        '[types.ServiceRequest]\nfind = "by-patient"\npatient_parameter = "subject"\n'
    )
    ehr = EhrSettings(name="ward", url="https://ward.example", vendor=str(file))
    offers = [offer(type, "search-type", "history-type") for type in ("Task", "ServiceRequest")]
    made = plan(ehr, statement(*offers))
    assert made.vendor_name == str(file)
    task, order = made.of("Task"), made.of("ServiceRequest")
    assert task is not None
    assert order is not None
    assert task.find == "history"
    assert task.queries == ((("status", "requested"),), (("status", "accepted"),))
    assert task.patient_parameter == "patient"
    assert (order.find, order.patient_parameter, order.queries) == ("by-patient", "subject", ((),))
    assert order.reason == "everything of each known patient, compared by content"


def test_a_type_that_is_not_in_the_plan_has_no_row() -> None:
    ehr = EhrSettings(name="lab", url="https://lab.example", types=("Observation",))
    assert plan(ehr, statement()).of("Task") is None


@pytest.mark.parametrize("version", ["4.0.0", "4.0.1", "4.0"])
def test_every_r4_is_understood(version: str) -> None:
    assert plan(EHR, {**statement(), "fhirVersion": version}).fhir_version == version


def test_a_part_without_a_mode_is_the_server_and_the_first_one_counts() -> None:
    parts = [{"resource": [offer("Task", "search-type")]}, {"mode": "server", "resource": []}]
    assert found_by(plan(EHR, {**statement(), "rest": parts}), "Task") == "crawl"


@pytest.mark.parametrize(
    ("software", "implementation", "address", "name"),
    [
        ("Epic", "", "", "epic"),
        ("Epical", "", "", ""),
        ("", "Oracle Health R4", "", "oracle-health"),
        ("", "An Oracle", "", ""),
        ("Interoperability Services: US Core STU7 FHIR R4", "", "", "meditech"),
        ("Services", "", "", ""),
        ("HAPI FHIR Server", "HAPI FHIR", "https://clinic.example/fhir", "hapi"),
        ("HAPI FHIR Server", "HAPI FHIR", "https://clinic.example/openmrs/ws/fhir2/R4/", "openmrs"),
        ("HAPI FHIR Server", "HAPI FHIR", "https://clinic.example/ws/fhir2/R4/inner", "hapi"),
    ],
)
def test_a_vendor_is_recognised_by_its_address_its_name_or_the_beginning_of_its_description(
    software: str, implementation: str, address: str, name: str
) -> None:
    found, deviations = vendor.recognise(software, implementation, address)
    assert found == name
    assert (deviations == vendor.PLAIN) is not bool(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[headers]\nAuthorization = "x"', "secrets never belong"),
        ('[headers]\nX-API-Key = "x"', "secrets never belong"),
        ('[headers]\nHost = "x"', "set by the client itself"),
        ('[headers]\n"a b" = "x"', "no name of an HTTP header"),
        ('[headers]\nX = ""', "one line of printable ASCII"),
        ('[headers]\nX = " x"', "one line of printable ASCII"),
        ('[headers]\nX = "ö"', "one line of printable ASCII"),
        ('[headers]\nX = "a\\nb"', "one line of printable ASCII"),
        ('[codes]\nrestart = ["1"]\nignore = ["1"]', "'1' is in restart, too"),
        ('[codes]\nrestart = ["1"]\ngone = ["1"]', "'1' is in restart, too"),
        ('[parameters]\n_count = "1"', "page_size"),
        ('[parameters]\napi-key = "x"', "secrets never belong"),
        ('[parameters]\n_sort = ""', "a search parameter and its value"),
        ('like = "nobody"', "none of our files: athenahealth, epic"),
        ('like = "epic"\n[codes]\nignore = ["4113"]', "ward.toml:3: codes.ignore: '4113' is in restart, too"),
        ("[types.Tusk]\nfind = 'crawl'", "Tusk"),
        ("[types.Task]\nqueries = [[['_count', '1']]]", "page_size"),
        ("[types.Task]\nqueries = [[['nope', '1']]]", "nope"),
        ("[types.Task]\nqueries = [[['-of-their-own', '1']]]", ""),
        ("[types.Task]\nfind = 'by-patient'\npatient_parameter = 'focus'", ""),
        ("[types.Task]\npatient_parameter = 'encounter'", "leads to no Patient"),
        ("[types.Organization]\nfind = 'by-patient'", "patient"),
        ("page_size = 0", "page_size"),
        ("page_size = 10001", "page_size"),
        ("overlap_seconds = 86401", "overlap_seconds"),
        ("overlap_seconds = -1", "overlap_seconds"),
    ],
)
def test_what_a_vendor_file_may_not_say_is_a_mistake(text: str, said: str) -> None:
    if not said:
        assert vendor.read(text.encode(), "ward.toml")
        return
    with pytest.raises(ConfigError, match=said):
        vendor.read(text.encode(), "ward.toml")


def test_a_good_vendor_file_says_what_it_says() -> None:
    found = vendor.read(b'page_size = 10000\noverlap_seconds = 0\n[headers]\nX-Y = "a b"\n', "ward.toml")
    assert (found.page_size, found.overlap_seconds, found.headers) == (10000, 0, {"X-Y": "a b"})
    assert (vendor.PLAIN.page_size, vendor.PLAIN.overlap_seconds) == (200, 120)


def test_a_vendor_file_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigError, match=r"vendor file no-such\.toml: cannot be read \(No such file"):
        vendor.load("no-such.toml")


def test_a_file_of_a_site_may_stand_upon_one_of_ours() -> None:
    ours = vendor.load("epic")
    text = 'like = "epic"\npage_size = 200\n[parameters]\nsite = "7"\n[codes]\nignore = ["1"]\n'
    found = vendor.read(f'{text}[types.Task]\nfind = "none"\n'.encode(), "ward.toml")
    assert (found.page_size, found.parameters) == (200, {"site": "7"})
    assert (found.codes.ignore, found.codes.restart) == (("1",), ours.codes.restart)
    assert found.types["Task"] == vendor.TypeDeviation(find="none")
    assert {**found.types, "Task": ours.types["Task"]} == ours.types
