"""The strict verdict: what R4 allows, and a sender may want to know of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.profiles import CoproductionGoal
from fhir_coprod.validation import validate

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">Anna</div>'


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "text": {"status": "generated", "div": DIV}, **elements}


def extended(url: str) -> dict[str, Any]:
    return patient(extension=[{"url": url, "valueString": "x"}])


def errors(resource: dict[str, Any]) -> list[tuple[str, str]]:
    """Code and place of each error of the strict verdict; without it there is none."""
    assert validate(resource), "the fault must be one of the strict verdict only"
    return [(issue.code, issue.expression) for issue in validate(resource, strict=True).errors]


def test_an_extension_that_nobody_here_knows_is_refused_at_its_place() -> None:
    inside = patient(_birthDate={"extension": [{"url": "https://ehr.test/age", "valueInteger": 1}]})
    assert errors(extended("https://ehr.test/eye-colour")) == [("extension", "Patient.extension[0]")]
    assert errors(inside) == [("extension", "Patient.birthDate.extension[0]")]


@pytest.mark.parametrize(
    "url",
    [
        "http://hl7.org/fhir/StructureDefinition/organization-brand",
        "https://example.org/fhir/test",
        "http://fhir.example.com/x",
        "http://hl7.org/fhir/StructureDefinition/patient-birthPlace-of-tomorrow",
    ],
)
def test_what_hl7_may_have_defined_since_and_what_is_an_example_stays_a_remark(url: str) -> None:
    assert errors(extended(url)) == []
    assert url in str(validate(extended(url), strict=True))


@pytest.mark.parametrize("url", ["https://hl7.org.evil.test/fhir/x", "https://notexample.org/x"])
def test_an_address_that_only_looks_like_theirs_is_refused(url: str) -> None:
    assert errors(extended(url)) == [("extension", "Patient.extension[0]")]


@pytest.mark.parametrize(
    "text",
    [
        "<script>x</script>",
        "Anna <b>Berg",
        "</div>",
        "<BR/>",
        "<!-- x",
        "<img src=x onerror=alert(1)",
        "<svg/onload=alert(1)>",
        "<resource type>\\<id>",
    ],
)
def test_a_tag_in_a_text_is_refused(text: str) -> None:
    assert errors(patient(name=[{"text": text}])) == [("invalid", "Patient.name[0].text")]


@pytest.mark.parametrize(
    "text",
    [
        "Hb <120 g/l",
        "a < b and c > d",
        "<https://ehr.test>",
        "<anna@ehr.test>",
        "x<y",
        "->",
        "<3",
        "&lt;b&gt;",
    ],
)
def test_a_text_without_a_tag_is_none(text: str) -> None:
    assert errors(patient(name=[{"text": text}])) == []


def test_narrative_may_be_html_wherever_it_stands() -> None:
    ward = {"resourceType": "Organization", "id": "w", "name": "Ward", "text": patient()["text"]}
    managing = {"reference": "#w"}
    assert errors(patient(contained=[ward], managingOrganization=managing)) == []
    ward["name"] = "<i>Ward</i>"
    place = "Patient.contained[0].name"
    assert errors(patient(contained=[ward], managingOrganization=managing)) == [("invalid", place)]


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_refused_is_refused_strictly_too(value: Any) -> None:
    resource = patient(name=value)
    found = validate(resource)
    strictly = validate(resource, strict=True)
    assert set(found.errors) <= set(strictly.errors)


def test_a_list_that_is_too_long_says_so_once() -> None:
    names = [{"text": "<b>"}, {"extension": [{"url": "https://ehr.test/x", "valueString": "y"}]}] * 1200
    found = validate(patient(name=names), strict=True)
    assert len(found.errors) == 1000
    assert [issue.code for issue in found].count("too-long") == 1


def test_models_of_python_are_judged_as_their_json() -> None:
    goal = CoproductionGoal.in_own_words("Walk <b>far</b>", patient="Patient/a")
    places = [issue.expression for issue in validate(goal, strict=True).errors]
    assert places == ["Goal.description.text"]
    assert [i.expression for i in validate(goal.model_dump(), strict=True).errors] == places


def test_the_command_is_strict_when_it_is_asked_to_be(tmp_path: Path) -> None:
    file = tmp_path / "patients.ndjson"
    file.write_text("\n".join(json.dumps(extended(f"https://ehr.test/{n}")) for n in range(3)))
    assert CliRunner().invoke(app, ["validate", str(file)]).exit_code == 0
    told = CliRunner().invoke(app, ["validate", "--strict", str(file)])
    assert told.exit_code == 1
    assert "3 not valid" in told.stdout
