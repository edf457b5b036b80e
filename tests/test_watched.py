"""The table of watched types says of R4 what is so."""

from __future__ import annotations

import pytest

from fhir_coprod import definitions, watched
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
