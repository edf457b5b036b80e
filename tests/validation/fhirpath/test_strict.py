"""The check for steps that lead nowhere, and that no rule of our profiles has one."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import definitions
from fhir_coprod.validation.fhirpath import UnsupportedFhirPath
from fhir_coprod.validation.fhirpath.parser import parse
from tests.validation.fhirpath.strict import check_steps


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("name.given1", "HumanName has no element given1"),
        ("Encounter.name", "Patient has no element Encounter"),
        ("name.where(usage = 'official')", "HumanName has no element usage"),
        ("contact.all(name.exists() or brithDate.exists())", "Patient.contact has no element brithDate"),
        ("deceasedBoolean", "Patient has no element deceasedBoolean"),
        ("(deceased as Period).value", "Period has no element value"),
        ("name.select(period | address)", "HumanName has no element address"),
        ("children().skip(1)", "no order"),
        ("descendants()[0]", "no order"),
    ],
)
def test_strict_check_finds_a_step_that_leads_nowhere(expression: str, told: str) -> None:
    with pytest.raises(UnsupportedFhirPath, match=told):
        check_steps(parse(expression), "Patient")


def test_rules_of_our_profiles_take_only_steps_that_there_are() -> None:
    checked = 0
    for structure in definitions.own_resources("StructureDefinition"):
        for element in structure["snapshot"]["element"]:
            for constraint in element.get("constraint", ()):
                if constraint.get("expression") and constraint.get("source") == structure["url"]:
                    base = element["path"] if "." not in element["path"] else _base(element)
                    check_steps(parse(constraint["expression"]), base)
                    checked += 1
    assert checked


def _base(element: dict[str, Any]) -> str:
    """The type that a rule of an element is about."""
    (type_,) = element["type"]
    return str(element["path"] if type_["code"] in ("BackboneElement", "Element") else type_["code"])
