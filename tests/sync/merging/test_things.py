"""Which records are the same organisation or order, and which are not."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.sync.merging.things import resolve
from fhir_coprod.sync.staging.identity import CROWD, Candidate, keys
from fhir_coprod.sync.staging.references import Record

Groups = tuple[tuple[Record, ...], ...]


def thing(ehr: str, id: str, *numbers: str, type: str = "Organization", subject: str = "") -> Candidate:
    """Numbers are values of one system, or `system|value`."""
    split = [number.rpartition("|") for number in numbers]
    data = {
        "resourceType": type,
        "identifier": [{"system": system or "urn:org", "value": value} for system, _, value in split],
    }
    return Candidate(Record(ehr, type, id), keys(data, ehr), subject)


def names(groups: Groups) -> list[set[str]]:
    return [{f"{record.ehr}{record.id}" for record in group} for group in groups]


def test_an_identifier_that_one_ehr_gives_to_several_things_identifies_none() -> None:
    several = [thing("a", "1", "x"), thing("a", "2", "x")]
    assert len(resolve([*several, thing("b", "1", "x")])) == 3


def test_two_things_of_one_ehr_are_not_made_one_through_a_third() -> None:
    third = thing("b", "1", "x", "y")
    assert names(resolve([thing("a", "1", "x"), thing("a", "2", "y"), third])) == [{"a1", "b1"}, {"a2"}]


def test_organisations_of_several_ehrs_are_one_by_identifier() -> None:
    resolved = resolve(
        [thing("a", "1", "X"), thing("b", "2", "X", "Y"), thing("c", "3", "X"), thing("d", "4")]
    )
    assert names(resolved) == [{"a1", "b2", "c3"}, {"d4"}]


def test_units_with_the_number_of_their_company_and_numbers_of_their_own_are_two() -> None:
    company = "urn:company|C1"
    units = [thing("a", "1", company, "urn:unit|H1"), thing("b", "1", company, "urn:unit|H2")]
    assert len(resolve(units)) == 2
    assert len(resolve([units[0], thing("b", "1", company)])) == 1, "nothing speaks against it"


def test_units_whose_numbers_contradict_are_not_made_one_through_a_third() -> None:
    company = "urn:company|C1"
    units = [thing(ehr, "1", company, f"urn:unit|H{ehr}") for ehr in "ab"]
    assert len(resolve([*units, thing("c", "1", company)])) == 2


def test_two_departments_of_the_settings_are_two_whatever_number_they_share() -> None:
    both = [thing("a", "1", "X"), thing("b", "1", "X")]
    departments = [one.record for one in both]
    assert len(resolve(both)) == 1
    assert len(resolve(both, departments=departments)) == 2
    assert names(resolve([*both, thing("c", "1", "X")], departments=departments)) == [{"a1", "c1"}, {"b1"}]
    assert len(resolve(both, departments=departments[:1])) == 1, "its record at another EHR"


def test_a_crowd_is_not_one() -> None:
    crowd = [thing(f"e{n}", "1", "x") for n in range(CROWD + 1)]
    assert len(resolve(crowd)) == CROWD + 1
    assert len(resolve(crowd[:CROWD])) == 1
    assert len(resolve(crowd[:2], crowded={"urn:org|x"})) == 2


def test_things_with_one_name_are_not_one() -> None:
    assert len(resolve([thing("a", "1"), thing("b", "1")])) == 2


def test_nothing_is_nothing() -> None:
    assert resolve([]) == ()


def test_an_order_is_one_only_when_it_concerns_the_same_patient() -> None:
    def orders(*subjects: str) -> int:
        pairs = zip("ab", subjects, strict=True)
        return len(resolve([thing(ehr, "1", "R", type="ServiceRequest", subject=s) for ehr, s in pairs]))

    assert orders("p", "p") == 1
    assert orders("p", "q") == 2
    assert orders("", "") == 2


def test_two_orders_of_one_ehr_are_never_one() -> None:
    orders = [thing("a", n, "R", type="Task", subject="p") for n in "12"]
    assert len(resolve([*orders, thing("b", "3", "R", type="Task", subject="p")])) == 3


# --- orders of one requisition --------------------------------------------------------------------

LEFT = [{"coding": [{"system": "http://snomed.info/sct", "code": "82169009"}]}]
RIGHT = [{"coding": [{"system": "http://snomed.info/sct", "code": "6757004"}]}]
SIDE = "http://hl7.org/fhir/StructureDefinition/procedure-laterality"


def order(
    ehr: str, id: str, code: str = "mri", by: frozenset[str] | None = frozenset(), **more: Any
) -> Candidate:
    data = {
        "resourceType": "ServiceRequest",
        "requisition": {"system": "urn:req", "value": "1"},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": code}]},
        **more,
    }
    return Candidate(Record(ehr, "ServiceRequest", id), keys(data, ehr), "p", by)


def test_an_order_is_found_by_requisition_and_code() -> None:
    resolved = resolve([order("a", "1", "mri"), order("a", "2", "ct"), order("b", "3", "ct")])
    assert names(resolved) == [{"a1"}, {"a2", "b3"}]


@pytest.mark.parametrize(
    ("mine", "theirs", "are_one"),
    [
        ({"bodySite": LEFT}, {"bodySite": RIGHT}, False),
        ({"bodySite": [{"text": "left knee"}]}, {"bodySite": [{"text": "right knee"}]}, False),
        ({"bodySite": LEFT}, {"bodySite": [*LEFT, *RIGHT]}, False),
        ({"bodySite": LEFT}, {"bodySite": LEFT}, True),
        ({"bodySite": LEFT}, {}, True),
        ({"orderDetail": [{"text": "with contrast"}]}, {"orderDetail": [{"text": "without"}]}, False),
        (
            {"extension": [{"url": SIDE, "valueCodeableConcept": LEFT[0]}]},
            {"extension": [{"url": SIDE, "valueCodeableConcept": RIGHT[0]}]},
            False,
        ),
        (
            {"bodySite": [{"text": "knee", "extension": [{"url": SIDE, "valueCodeableConcept": LEFT[0]}]}]},
            {"bodySite": [{"text": "knee", "extension": [{"url": SIDE, "valueCodeableConcept": RIGHT[0]}]}]},
            False,
        ),
        ({"by": frozenset("x")}, {"by": frozenset("y")}, False),
        ({"by": frozenset("xy")}, {"by": frozenset("y")}, True),
        ({"by": frozenset("x")}, {"by": None}, True),
        ({"by": frozenset("x")}, {}, True),
        ({"note": [{"text": "left"}]}, {"note": [{"text": "right"}]}, True),
    ],
)
def test_orders_of_one_requisition_and_code_are_two_where_place_or_performer_differ(
    mine: dict[str, Any], theirs: dict[str, Any], are_one: bool
) -> None:
    assert (len(resolve([order("a", "1", **mine), order("b", "1", **theirs)])) == 1) is are_one


def test_orders_with_one_identifier_are_one_whatever_their_place_is_called() -> None:
    number = [{"system": "urn:order", "value": "1"}]
    mine, theirs = (
        order(e, "1", bodySite=site, identifier=number) for e, site in (("a", LEFT), ("b", RIGHT))
    )
    assert len(resolve([mine, theirs])) == 1
