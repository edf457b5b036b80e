"""Searches through canonicals, contained resources, documents and versions, on both databases.

R4 search (https://hl7.org/fhir/R4/search.html), 3.1.1.4.12, 3.1.1.5.3 to 3.1.1.5.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.errors import BadRequest, UnknownParameter
from fhir_coprod.store import Query, Store, index
from fhir_coprod.store.search.conditions import Indexed
from tests.peers.fixtures import NewStore
from tests.store.library import ids, search

A = "http://a.example/"
QR = "QuestionnaireResponse"


def questionnaire(version: str, title: str) -> dict[str, Any]:
    return {"resourceType": "Questionnaire", "url": f"{A}q", "version": version, "title": title}


def medication(code: str) -> dict[str, Any]:
    return {
        "resourceType": "Medication",
        "id": "med",
        "manufacturer": {"reference": "#org"},
        "ingredient": [{"itemCodeableConcept": {"coding": [{"system": f"{A}c", "code": code}]}}],
    }


RESOURCES: dict[str, dict[str, Any]] = {
    "Questionnaire/q1": questionnaire("1", "first") | {"status": "retired"},
    "Questionnaire/q2": questionnaire("2", "second") | {"status": "active"},
    f"{QR}/any": {"resourceType": QR, "status": "completed", "questionnaire": f"{A}q"},
    f"{QR}/two": {"resourceType": QR, "status": "completed", "questionnaire": f"{A}q|2"},
    f"{QR}/part": {"resourceType": QR, "status": "in-progress", "questionnaire": f"{A}q|2#page"},
    f"{QR}/lost": {"resourceType": QR, "status": "stopped", "questionnaire": f"{A}nowhere"},
    "PlanDefinition/plan": {"resourceType": "PlanDefinition", "url": f"{A}plan", "title": "Walk"},
    "CarePlan/walks": {"resourceType": "CarePlan", "instantiatesCanonical": [f"{A}plan", f"{A}q|1"]},
    "Organization/acme": {"resourceType": "Organization", "name": "Acme"},
    "Patient/p": {"resourceType": "Patient", "managingOrganization": {"reference": "Organization/acme"}},
    "MedicationRequest/inside": {
        "resourceType": "MedicationRequest",
        "medicationReference": {"reference": "#med"},
        "subject": {"reference": "Patient/p"},
        "contained": [
            medication("abc"),
            {"resourceType": "Organization", "id": "org", "name": "Within"},
        ],
    },
    "Medication/stored": {
        "resourceType": "Medication",
        "manufacturer": {"reference": "Organization/acme"},
        "ingredient": [{"itemCodeableConcept": {"coding": [{"system": f"{A}c", "code": "abc"}]}}],
    },
    "MedicationRequest/outside": {
        "resourceType": "MedicationRequest",
        "medicationReference": {"reference": "Medication/stored"},
    },
    "MedicationRequest/mixed": {
        "resourceType": "MedicationRequest",
        "medicationReference": {"reference": "#med"},
        "contained": [medication("xyz") | {"manufacturer": {"reference": "Organization/acme"}}],
    },
    "MedicationRequest/coded": {
        "resourceType": "MedicationRequest",
        "medicationCodeableConcept": {"coding": [{"system": f"{A}c", "code": "abc"}]},
    },
    "Bundle/document": {
        "resourceType": "Bundle",
        "type": "document",
        "entry": [
            {
                "resource": {
                    "resourceType": "Composition",
                    "title": "Hello",
                    "subject": {"reference": "Patient/p"},
                }
            }
        ],
    },
    "ServiceRequest/old": {
        "resourceType": "ServiceRequest",
        "subject": {"reference": "Patient/p/_history/1"},
    },
    "ServiceRequest/new": {"resourceType": "ServiceRequest", "subject": {"reference": "Patient/p"}},
    "ServiceRequest/far": {
        "resourceType": "ServiceRequest",
        "subject": {"reference": "Patient/p/_history/9"},
    },
    f"{QR}/own": {
        "resourceType": QR,
        "status": "amended",
        "questionnaire": "#q",
        "contained": [questionnaire("1", "Its own") | {"id": "q"}],
    },
    "DiagnosticReport/pressure": {
        "resourceType": "DiagnosticReport",
        "result": [{"reference": "#bp"}],
        "contained": [
            {
                "resourceType": "Observation",
                "id": "bp",
                "component": [
                    {"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value}}
                    for code, value in (("systolic", 150), ("diastolic", 80), ("a#b#c", 1))
                ],
            }
        ],
    },
    "Group/p": {"resourceType": "Group", "name": "Also p"},
    "Observation/p": {"resourceType": "Observation", "subject": {"reference": "Patient/p"}},
    "Observation/g": {"resourceType": "Observation", "subject": {"reference": "Group/p"}},
}


def put(store: Store, reference: str, data: dict[str, Any]) -> None:
    document, id = jsontext.from_data(data), reference.partition("/")[2]
    store.write(lambda transaction: transaction.put(document, id))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def linked(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    with new_store(request.param) as url, Store.open(url) as store:
        for reference, data in RESOURCES.items():
            put(store, reference, data)
        put(store, "Patient/p", RESOURCES["Patient/p"] | {"active": True})
        yield store


MR = "MedicationRequest?medication"
CASES = [
    # --- canonicals (3.2), with and without version
    (f"{QR}?questionnaire:Questionnaire.title=first", "any"),
    (f"{QR}?questionnaire.title=second", "any two part"),
    (f"{QR}?questionnaire.title=third", ""),
    (f"{QR}?questionnaire.status:not=active", "any own"),
    (f"{QR}?questionnaire.title:missing=false&status=completed", "any two"),
    (f"{QR}?questionnaire={A}q", "any two part"),
    (f"{QR}?questionnaire={A}q|2", "two part"),
    (f"{QR}?questionnaire={A}q|2#page", "part"),
    (f"Questionnaire?_has:{QR}:questionnaire:status=completed", "q1 q2"),
    (f"Questionnaire?_has:{QR}:questionnaire:status=in-progress", "q2"),
    (f"Questionnaire?status=active&_has:{QR}:questionnaire:status:not=stopped", "q2"),
    ("CarePlan?instantiates-canonical:PlanDefinition.title=walk", "walks"),
    ("CarePlan?instantiates-canonical.title=first", "walks"),
    ("CarePlan?instantiates-canonical.title=second", ""),
    ("PlanDefinition?_has:CarePlan:instantiates-canonical:_id=walks", "plan"),
    # --- one version of a definition (3.8)
    (f"Questionnaire?url={A}q", "q1 q2"),
    (f"Questionnaire?url={A}q|2", "q2"),
    (f"Questionnaire?url={A}q|3", ""),
    (f"Questionnaire?url:below={A}", "q1 q2"),
    ("Questionnaire?url:below=http://a.exampl", "q1 q2"),
    (f"Questionnaire?url:below={A}x", ""),
    (f"Questionnaire?url:above={A}q/12/items", "q1 q2"),
    (f"Questionnaire?url:above={A}qq", ""),
    # --- resources that others contain: 3.3
    (f"{MR}.ingredient-code=abc", "inside outside"),
    (f"{MR}.ingredient-code=xyz", "mixed"),
    (f"{MR}:Medication.ingredient-code={A}c|abc&status:missing=true", "inside outside"),
    (f"{MR}.ingredient-code:not=abc", "mixed"),
    (f"{MR}.ingredient-code:missing=false", "inside outside mixed"),
    (f"{MR}.manufacturer.name=within", "inside"),
    (f"{MR}.manufacturer:Organization.name=acme", "outside mixed"),
    (f"{MR}._id=stored", "outside"),
    (f"{MR}.nonsense=1", UnknownParameter),
    (f"{QR}?questionnaire.title=its", "own"),
    ("DiagnosticReport?result.component-code-value-quantity=systolic$gt140", "pressure"),
    ("DiagnosticReport?result.component-code-value-quantity=diastolic$gt140", ""),
    ("DiagnosticReport?result.component-code-value-quantity=a#b#c$1", "pressure"),
    ("Patient?_has:MedicationRequest:patient:medication.ingredient-code=abc", "p"),
    # --- the first resource of a document
    ("Bundle?composition.title=Hello", "document"),
    ("Bundle?composition.title=Bye", ""),
    ("Bundle?composition.subject:Patient.organization.name=acme", "document"),
    # --- an id that several types have (3.12)
    ("Observation?subject=p", BadRequest),
    ("Observation?subject=p&_summary=count", BadRequest),
    ("Observation?patient=p", "p"),
    ("Observation?subject=nobody,p", BadRequest),
    ("Observation?subject=p&performer=p", BadRequest),
    ("Observation?performer=p&subject=p", BadRequest),
    ("Patient?_has:Observation:patient:subject=p", BadRequest),
    ("Observation?subject:Group=p", "g"),
    ("Observation?subject=nobody", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_links_are_followed(linked: Store, text: str, expected: str | type[Exception]) -> None:
    if isinstance(expected, str):
        assert ids(search(linked, text)) == expected
    else:
        with pytest.raises(expected):
            search(linked, text)


INCLUDED = [
    (f"{QR}?_id=any&_include={QR}:questionnaire", "Questionnaire/q1/1 Questionnaire/q2/1"),
    (f"{QR}?_id=two&_include={QR}:questionnaire", "Questionnaire/q2/1"),
    (f"{QR}?_id=part&_include={QR}:*", "Questionnaire/q2/1"),
    (f"{QR}?_id=part&_include=*", "Questionnaire/q2/1"),
    (f"{QR}?_id=lost&_include={QR}:questionnaire", ""),
    (f"Questionnaire?_id=q1&_revinclude={QR}:questionnaire", f"{QR}/any/1"),
    (f"Questionnaire?_id=q2&_revinclude={QR}:questionnaire", f"{QR}/any/1 {QR}/two/1 {QR}/part/1"),
    ("Questionnaire?_id=q1&_revinclude=CarePlan:instantiates-canonical", "CarePlan/walks/1"),
    ("CarePlan?_include=CarePlan:instantiates-canonical:PlanDefinition", "PlanDefinition/plan/1"),
    # An older version was meant (3.9); where it never was here, it is another server's number.
    ("ServiceRequest?_id=old&_include=ServiceRequest:subject", "Patient/p/1"),
    ("ServiceRequest?_id=new&_include=ServiceRequest:subject", "Patient/p/2"),
    ("ServiceRequest?_id=old,new&_include=ServiceRequest:subject", "Patient/p/1 Patient/p/2"),
    ("ServiceRequest?_id=far&_include=ServiceRequest:subject", "Patient/p/2"),
]


@pytest.mark.parametrize(("text", "expected"), INCLUDED, ids=[text for text, _ in INCLUDED])
def test_links_are_included(linked: Store, text: str, expected: str) -> None:
    found = search(linked, text).included
    assert sorted(f"{each.type}/{each.id}/{each.version}" for each in found) == sorted(expected.split())


@pytest.mark.parametrize(
    "text", ["Task?focus.subject.name=x", "Observation?focus.subject.organization.name=x"]
)
def test_a_chain_over_all_types_is_not_refused_for_what_may_be_contained(linked: Store, text: str) -> None:
    assert ids(search(linked, text)) == ""


@pytest.mark.parametrize(
    ("query", "more"),
    [
        (Query.parse("", [("_tag", "x")]), 140),
        (Query.parse("Observation", [], compartment=("Patient", "x")), 1),
        (Query.parse("Observation", [("combo-code", "x")]), 0),
    ],
    ids=["all types", "compartment", "one"],
)
def test_what_differs_only_in_its_parameter_is_looked_up_at_once(query: Query, more: int) -> None:
    (condition,) = query.conditions
    assert isinstance(condition, Indexed)
    assert len(condition.more) >= more
    assert condition.keys().text.count("SELECT") == 1


def test_contained_resources_that_name_each_other_have_rows_that_end() -> None:
    """Each place once, and no deeper than a chain looks."""
    ring = [
        {
            "resourceType": "Organization",
            "id": f"o{n}",
            "name": "x",
            "partOf": {"reference": f"#o{(n + 1) % 50}"},
        }
        for n in range(50)
    ]
    data = {"resourceType": "Patient", "managingOrganization": {"reference": "#o0"}, "contained": ring}
    bare = {"resourceType": "Patient", "managingOrganization": {"reference": "#o0"}}
    more = sum(map(len, index.rows("Patient", data).values())) - sum(
        map(len, index.rows("Patient", bare).values())
    )
    assert 0 < more < 20
