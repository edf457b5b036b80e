"""A few resources of every kind that the search tests look in, and how they look."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from fhir_coprod.store import Page, Query, Store

V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
UCUM = "http://unitsofmeasure.org"
SCT = "http://snomed.info/sct"


def observation(when: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **when, **more}


def quantity(value: float, unit: str = "mg", system: str = UCUM, code: str = "mg") -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": system, "code": code}


RESOURCES: dict[str, dict[str, Any]] = {
    # Strings, tokens
    "Patient/anna": {
        "resourceType": "Patient",
        "meta": {
            "profile": ["https://fhir-coprod.org/ig/StructureDefinition/x"],
            "tag": [{"system": "urn:tag", "code": "t1"}],
            "security": [{"system": "urn:sec", "code": "R"}],
            "source": "urn:lab",
        },
        "active": True,
        "gender": "female",
        "birthDate": "1970-05-31",
        "name": [{"family": "Åkesson-Berg", "given": ["Anna", "Maria"]}, {"text": "Annie O'Hara"}],
        "identifier": [
            {"system": "urn:pnr", "value": "19700531-1234"},
            {
                "system": "urn:mrn",
                "value": "A,1|x",
                "type": {"coding": [{"system": V2, "code": "MR"}], "text": "Medical record"},
            },
        ],
        "telecom": [{"system": "phone", "value": "070-123"}, {"system": "email", "value": "a@b.se"}],
        "address": [{"city": "Malmö", "line": ["Storgatan 1"], "postalCode": "211 20"}],
        "generalPractitioner": [{"reference": "Practitioner/doc"}],
        "managingOrganization": {"reference": "Organization/clinic"},
    },
    "Patient/bo": {
        "resourceType": "Patient",
        "active": False,
        "gender": "male",
        "birthDate": "1970",
        "name": [{"family": "ÅKESSON", "given": ["Bo"]}],
        "identifier": [{"value": "19700531-1234"}, {"system": "urn:mrn", "value": "b2"}],
        "managingOrganization": {"identifier": {"system": "urn:org", "value": "42"}, "display": "Elsewhere"},
        "link": [{"other": {"reference": "Patient/anna"}, "type": "seealso"}],
    },
    "Patient/cy": {"resourceType": "Patient", "deceasedBoolean": True},
    # References
    "Practitioner/doc": {"resourceType": "Practitioner", "name": [{"family": "Doctor"}]},
    "Organization/clinic": {
        "resourceType": "Organization",
        "name": "Clinic",
        "partOf": {"reference": "Organization/hospital"},
    },
    "Organization/hospital": {"resourceType": "Organization", "name": "Hospital"},
    # Dates
    "Observation/year": observation({"effectiveDateTime": "2013"}),
    "Observation/month": observation({"effectiveDateTime": "2013-01"}),
    "Observation/day": observation({"effectiveDateTime": "2013-01-14"}),
    "Observation/minute": observation({"effectiveDateTime": "2013-01-14T10:00:00Z"}),
    "Observation/zone": observation({"effectiveDateTime": "2013-01-14T23:30:00-05:00"}),
    "Observation/open": observation({"effectivePeriod": {"start": "2013-01-10"}}),
    "Observation/ended": observation({"effectivePeriod": {"end": "2013-01-20"}}),
    "Observation/period": observation({"effectivePeriod": {"start": "2013-01-13", "end": "2013-01-15"}}),
    "Observation/timing": observation({"effectiveTiming": {"event": ["2014-02-01", "2014-02-03"]}}),
    # Quantities
    "Observation/q100": observation({}, valueQuantity=quantity(100)),
    "Observation/q99.6": observation({}, valueQuantity=quantity(99.6)),
    "Observation/q5.4": observation({}, valueQuantity=quantity(5.4, unit="gram", code="g")),
    "Observation/qnone": observation({}, valueQuantity={"value": 100}),
    "Observation/subject": observation(
        {},
        subject={"reference": "Patient/anna"},
        valueCodeableConcept={"coding": [{"system": SCT, "code": "1", "display": "Low back pain"}]},
        performer=[{"reference": "Practitioner/doc"}],
    ),
    "Observation/other": observation(
        {}, subject={"reference": "Patient/bo"}, hasMember=[{"reference": "Observation/subject"}]
    ),
    "Observation/away": observation({}, subject={"reference": "http://other.example/fhir/Patient/anna"}),
    "Observation/shown": observation({}, subject={"display": "somebody"}),
    # Numbers
    "RiskAssessment/r1": {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.8}]},
    "RiskAssessment/r2": {
        "resourceType": "RiskAssessment",
        "prediction": [{"probabilityDecimal": 0.75}, {"probabilityDecimal": 0.1}],
    },
    # URIs and canonicals
    "ValueSet/v": {"resourceType": "ValueSet", "status": "active", "url": "http://x.example/vs/a"},
    "ServiceRequest/s": {
        "resourceType": "ServiceRequest",
        "status": "active",
        "subject": {"reference": "Patient/anna/_history/3"},
        "instantiatesCanonical": ["http://x.example/plan|1.0"],
        "code": {"text": "only words"},
        "basedOn": [{"reference": "#inner"}],
    },
    "ServiceRequest/b": {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "subject": {"reference": "Group/anna"},
        "basedOn": [{"reference": "ServiceRequest/s"}],
    },
    "Location/ward": {
        "resourceType": "Location",
        "position": {"latitude": 59.3500, "longitude": 18.0300},
    },
    "Location/island": {"resourceType": "Location", "position": {"latitude": -16.8, "longitude": 179.99}},
    "Location/nowhere": {"resourceType": "Location"},
    "Task/t": {
        "resourceType": "Task",
        "status": "requested",
        "focus": {"reference": "ServiceRequest/s"},
        "for": {"reference": "Patient/anna"},
        "owner": {"reference": "Organization/clinic"},
    },
}


def search(store: Store, text: str, **options: Any) -> Page:
    """`Type?a=b`; `+` stands for itself."""
    type, _, query = text.partition("?")
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    return store.search(Query.parse(type, pairs, strict=True, **options))


def ids(page: Page) -> str:
    return " ".join(version.id for version in page.matches)
