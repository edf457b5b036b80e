"""The least resources that are valid without a remark, to put something into."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml">Ada</div>'


def patient(**members: Any) -> Json:
    return {"resourceType": "Patient", "text": {"status": "generated", "div": NARRATIVE}, **members}


def observation(**members: Any) -> Json:
    return {
        "resourceType": "Observation",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "final",
        "code": {"text": "Walking distance"},
        **members,
    }


def basic(**members: Any) -> Json:
    return {
        "resourceType": "Basic",
        "text": {"status": "generated", "div": NARRATIVE},
        "code": {"text": "x"},
        **members,
    }


def extended(**value: Any) -> Json:
    return basic(extension=[{"url": "http://example.org/any", **value}])


def plan(**members: Any) -> Json:
    return {
        "resourceType": "CarePlan",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "active",
        "intent": "plan",
        "subject": {"reference": "Patient/1"},
        **members,
    }


def placed(**coding: str) -> Json:
    """A virtual location; R4 has no code for that, and the code system has had one since."""
    coded = {"system": f"{HL7_CODES}location-physical-type", "code": "vi", **coding}
    return {
        "resourceType": "Location",
        "text": {"status": "generated", "div": NARRATIVE},
        "physicalType": {"coding": [coded]},
    }


HL7_CODES = "http://terminology.hl7.org/CodeSystem/"


SYSTEM = "http://hl7.org/fhir/administrative-gender"


HL7 = "http://hl7.org/fhir/StructureDefinition/"
