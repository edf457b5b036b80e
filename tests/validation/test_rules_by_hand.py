"""Rules that no comparison with HL7's engine or validator holds: what obeys each, and what breaks it.

The validator checks them by hand, or a comparison leaves them out for a reason; so each has its own cases.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model import invariants
from fhir_coprod.validation.validator import default
from tests.validation import oracle
from tests.validation.fast.test_tiers import agree
from tests.validation.fhirpath.test_hl7 import ELSEWHERE
from tests.validation.small import basic, observation, patient, plan

WHY = "http://example.org/why"
UNKNOWN = {
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    ]
}


def told_by(div: str) -> Json:
    return patient(text={"status": "generated", "div": div})


def within(inside: str) -> Json:
    return told_by(f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>')


def holding(*contained: Json, **members: Any) -> Json:
    return observation(contained=list(contained), **members)


def practitioner(**members: Any) -> Json:
    return {"resourceType": "Practitioner", **members}


def limits(low: Json, high: Json) -> Json:
    return observation(valueRange={"low": low, "high": high})


BY = {"performer": [{"reference": "#p"}]}

CASES: dict[str, tuple[list[Json], list[Json]]] = {
    # rule: what obeys it, what breaks it
    "ele-1": (
        [
            patient(birthDate="1970-03-30", _birthDate={"id": "a1"}),
            patient(birthDate="1970-03-30", _birthDate={"id": "a1", **UNKNOWN}),
            patient(_birthDate={"id": "a1", **UNKNOWN}),
            patient(_birthDate=UNKNOWN),
            observation(_status={"id": "s"}),
            observation(code={"text": "x", "_text": {"id": "t1"}}),
            patient(name=[{"given": ["A", "B"], "_given": [None, {"id": "g2"}]}]),
            patient(extension=[{"url": WHY, "valueString": "x", "_valueString": {"id": "v"}}]),
            patient(name=[{"id": "n", "family": "Berg"}]),
            patient(name=[{"id": "n", "extension": [{"url": WHY, "valueString": "x"}]}]),
        ],
        [
            patient(_birthDate={"id": "a1"}),
            patient(name=[{"given": ["A", None], "_given": [None, {"id": "g2"}]}]),
            patient(name=[{"_given": [{"id": "g2"}]}]),
            patient(extension=[{"url": WHY, "_valueString": {"id": "v"}}]),
            patient(name=[{"id": "n"}]),
            patient(name=[{}]),
            observation(code={"coding": [{"id": "c"}]}),
        ],
    ),
    "ext-1": (
        [
            patient(extension=[{"url": WHY, "valueString": "x"}]),
            patient(extension=[{"url": WHY, "_valueString": UNKNOWN}]),
            patient(extension=[{"url": WHY, "extension": [{"url": "part", "valueString": "x"}]}]),
        ],
        [
            patient(extension=[{"url": WHY}]),
            patient(
                extension=[{"url": WHY, "valueString": "x", "extension": [{"url": "part", "valueCode": "x"}]}]
            ),
            patient(birthDate="1970", _birthDate={"extension": [{"url": WHY}]}),
        ],
    ),
    "dom-2": (
        [holding(practitioner(id="p"), **BY)],
        [holding(practitioner(id="p", contained=[practitioner(id="q")]), **BY)],
    ),
    "dom-3": (
        [
            holding(practitioner(id="p"), **BY),
            patient(contained=[basic(id="b", subject={"reference": "#"})]),
            observation(
                contained=[practitioner(id="p"), basic(id="b", subject={"reference": "#p"})],
                focus=[{"reference": "#b"}],
            ),
            plan(
                contained=[{"resourceType": "PlanDefinition", "id": "d", "status": "draft"}],
                instantiatesCanonical=["#d"],
            ),
        ],
        [
            holding(practitioner(id="p")),
            holding(practitioner(id="p"), practitioner(id="q"), **BY),
            holding(practitioner(), subject={"reference": "Patient/1"}),
        ],
    ),
    "dom-4": (
        [holding(practitioner(id="p", meta={"source": "urn:x"}), **BY)],
        [
            holding(practitioner(id="p", meta={"versionId": "1"}), **BY),
            holding(practitioner(id="p", meta={"lastUpdated": "2026-01-01T00:00:00Z"}), **BY),
        ],
    ),
    "dom-5": (
        [holding(practitioner(id="p", meta={"tag": [{"code": "x"}]}), **BY)],
        [holding(practitioner(id="p", meta={"security": [{"code": "R"}]}), **BY)],
    ),
    "dom-6": (
        [patient(), holding(practitioner(id="p"), **BY)],
        [
            {"resourceType": "Patient"},
            {"resourceType": "Patient", "contained": [basic(id="b", subject={"reference": "#"})]},
        ],
    ),
    "ref-1": (
        [
            holding(practitioner(id="p"), **BY),
            patient(contained=[basic(id="b", subject={"reference": "#"})]),
            observation(subject={"reference": "Patient/p"}),
            observation(subject={"display": "somebody"}),
        ],
        [
            observation(**BY),
            observation(subject={"reference": "#"}),
            holding(practitioner(id="p"), performer=[{"reference": "#p"}, {"reference": "#P"}]),
        ],
    ),
    "txt-1": (
        [within("Ada"), within('<p style="color:red"><b>Ada</b> <a href="#p">Berg</a></p>')],
        [
            within("Ada<script>alert(1)</script>"),
            within('<p onclick="alert(1)">Ada</p>'),
            within('<a href="javascript:alert(1)">Ada</a>'),
            within("<form>Ada</form>"),
            told_by("<div>Ada</div>"),
            told_by('<p xmlns="http://www.w3.org/1999/xhtml">Ada</p>'),
        ],
    ),
    "txt-2": (
        [within("Ada"), within('<img src="#photo" alt="Ada"/>')],
        [within(""), within("  \n"), within("<p><b/></p>")],
    ),
    "rng-2": (
        [
            limits({"value": 1, "unit": "km"}, {"value": 2, "unit": "km"}),
            limits({"value": 2}, {"value": 2}),
            observation(valueRange={"low": {"value": 1}}),
            observation(valueRange={"high": {"value": 1}}),
        ],
        [
            limits({"value": 2}, {"value": 1}),
            limits(
                {"value": 1, "system": "http://unitsofmeasure.org", "code": "kg"},
                {"value": 2, "system": "http://unitsofmeasure.org", "code": "m"},
            ),
        ],
    ),
}

_TOLD_AS = {"txt-2": "txt-1"}
"""One test looks for both of these."""


def left_out() -> set[str]:
    """The rules that some comparison leaves out, or whose FHIRPath the validator does not run."""
    by_message = {
        key
        for said, _ in (*oracle.HL7_REFUSES, *oracle.WE_REFUSE)
        for key in re.findall(r"\(([a-z]+-\d+)\)", said)
    }
    by_hand = invariants.STRUCTURAL | invariants.NATIVE.keys() | invariants.SAID_ELSEWHERE
    return {*by_message, *ELSEWHERE, *by_hand}


def test_every_rule_that_is_left_out_of_a_comparison_has_cases_here() -> None:
    assert left_out() - CASES.keys() == set()
    assert all(obeying and breaking for obeying, breaking in CASES.values())


@pytest.mark.parametrize(
    ("key", "resource"), [(key, one) for key, (obeying, _) in CASES.items() for one in obeying]
)
def test_what_obeys_the_rule_passes(key: str, resource: Json) -> None:
    outcome = default().explain(resource)
    assert not outcome.errors, str(outcome)
    assert not any(f"({key})" in issue.message for issue in outcome)
    agree(default(), resource)


@pytest.mark.parametrize(
    ("key", "resource"), [(key, one) for key, (_, breaking) in CASES.items() for one in breaking]
)
def test_what_breaks_the_rule_is_told_by_its_name(key: str, resource: Json) -> None:
    outcome = default().explain(resource)
    assert any(f"({_TOLD_AS.get(key, key)})" in issue.message for issue in outcome), str(outcome)
    assert bool(outcome.errors) == (key != "dom-6"), str(outcome)
    agree(default(), resource)
