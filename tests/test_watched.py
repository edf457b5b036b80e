"""The table of watched types says of R4 what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_coprod import definitions, watched
from fhir_coprod.readable import concerns, elements_of
from fhir_coprod.store import index
from fhir_coprod.watch.rules.codes import NEEDED

ROWS = [
    *(
        (type, parameter, row.names[parameter])
        for type, row in watched.WATCHED.items()
        for parameter in row.names
    ),
    *((type, parameter, ("Patient",)) for type, parameter in watched.OF_PATIENT),
    *((type, parameter, ()) for type, parameter in watched.PARTIES),
]


@pytest.mark.parametrize(("type", "parameter", "named"), ROWS, ids=str)
def test_a_parameter_of_the_table_refers_to_the_types_that_the_table_says(
    type: str, parameter: str, named: tuple[str, ...]
) -> None:
    found = definitions.search_parameters(type)[parameter]
    assert found.type == "reference"
    assert set(named) <= set(found.target) or not found.target
    if (type, parameter) != ("DocumentReference", "based-on"):  # an extension, which no path names
        assert watched.path(type, parameter)


@pytest.mark.parametrize(("type", "parameter"), watched.PARTIES)
def test_a_party_may_be_a_role_a_service_a_place_or_a_department_or_stands_behind_one(
    type: str, parameter: str
) -> None:
    targets = definitions.search_parameters(type)[parameter].target
    assert watched.STAFF & set(targets) or type in watched.STAFF


def test_what_a_rule_looks_for_is_watched() -> None:
    assert set(watched.WATCHED) >= NEEDED


def test_parties_are_found_where_they_stand_in_a_resource() -> None:
    ward, role = {"reference": "Location/ward"}, {"reference": "PractitionerRole/nurse"}
    appointment = {
        "resourceType": "Appointment",
        "participant": [{"actor": ward}, {"status": "accepted"}, {"actor": role}],
    }
    assert list(watched.parties(appointment)) == [ward, role]
    encounter = {"resourceType": "Encounter", "participant": [{"individual": role}]}
    assert list(watched.parties(encounter)) == [role]
    assert list(watched.parties({"resourceType": "Observation", "performer": [role]})) == []


def test_who_stands_behind_a_role_comes_in_order() -> None:
    person, clinic = {"reference": "Practitioner/a"}, {"reference": "Organization/b"}
    role = {"resourceType": "PractitionerRole", "organization": clinic, "practitioner": person}
    assert list(watched.behind(role)) == [person, clinic]
    assert list(watched.behind({"resourceType": "Location", "managingOrganization": clinic})) == [clinic]
    assert list(watched.behind({"resourceType": "Organization", "partOf": clinic})) == []


def test_a_parameter_that_is_more_than_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a path"):
        watched.path("Task", "patient")


READS = [(type, path) for type, row in watched.WATCHED.items() for path in row.reads]


@pytest.mark.parametrize(("type", "path"), READS)
def test_what_is_read_is_an_element_of_r4(type: str, path: str) -> None:
    place = type
    for name in path.split("."):
        place = elements_of(place)[name].kind
    assert place


EXTENSION = ("DocumentReference", "based-on")
"""The only one that no path names."""


@pytest.mark.parametrize(("type", "parameter"), [row[:2] for row in ROWS if row[:2] != EXTENSION])
def test_each_reference_by_which_a_record_is_found_is_among_what_is_read(type: str, parameter: str) -> None:
    """Else a record that names its referral in a form that cannot be read would be taken for absent."""
    reads = watched.WATCHED[type].reads
    if reads:
        path = ".".join(watched.path(type, parameter))
        assert any(concerns(path, element) for element in reads)


@pytest.mark.parametrize(("type", "parameter"), [pair for pair in watched.STRAYS if pair[0] != EXTENSION[0]])
def test_a_record_whose_reference_cannot_be_read_has_a_row_for_its_patient(type: str, parameter: str) -> None:
    code = parameter.removesuffix(watched.UNREADABLE)
    path = ".".join(watched.path(type, code))
    reference = {"reference": "Patient/p"}
    patient = {
        "Task": {"for": reference},
        "Appointment": {"participant": [{"actor": reference}]},
    }.get(type, {"subject": reference})
    found = index.unreadable_links(type, {"resourceType": type, **patient}, (path,))
    assert (index.number(type, parameter), "p", "Patient") in found
    assert index.unreadable_links(type, {"resourceType": type}, (path,)) >= {
        (index.number(type, parameter), "", "")
    }
    assert index.unreadable_links(type, {"resourceType": type, **patient}, ("text",)) == set()


def test_every_element_that_the_readers_of_records_ask_for_is_among_what_is_read() -> None:
    """A new one that is missing here would be taken for absent when it cannot be read."""
    known = {path.partition(".")[0] for _, path in READS}
    folder = Path(watched.__file__).parent / "watch" / "record"
    asked = {
        name
        for file in sorted(folder.glob("*.py"))
        for name in re.findall(r"\bdata(?:\.get\(|\[)\"(\w+)\"", file.read_text())
    }
    assert asked > {"status", "focus"}
    of_others = {"birthDate", "deceasedBoolean", "deceasedDateTime", "type"}  # a Patient, an Organization
    assert asked - known <= {"meta", "resourceType", "for", "contained", "extension"} | of_others
