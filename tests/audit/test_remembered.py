"""What is remembered of calls: every one, whom it was about, and nothing that it should not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_coprod.audit.events import patients_in
from fhir_coprod.audit.queries import patients_asked_for, remembered
from fhir_coprod.jsontext import Json
from tests.api.conftest import patient
from tests.audit.conftest import Audited


def observation(of: str, **members: Any) -> Json:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    subject = {"reference": f"Patient/{of}"}
    return {"resourceType": "Observation", "status": "final", "code": code, "subject": subject, **members}


def told(audited: Audited) -> list[tuple[str, int, list[tuple[str, int, str]]]]:
    return [
        (
            found.event.interaction,
            found.event.status,
            [(f"{each.type}/{each.id}", each.version, each.patient) for each in found.event.about],
        )
        for found in audited.calls()
    ]


def test_each_interaction_is_remembered_with_the_patient_it_was_about(audited: Audited) -> None:
    api = audited.api
    api.put("Patient/anna", patient(id="anna"))
    api.put("Observation/o", observation("anna", id="o"))
    api.get("Observation/o")
    api.get("Observation/o/_history/1")
    api.get("Observation?patient=Patient/anna&_count=5")
    api.get("Observation?patient=Patient/nobody")
    api.get("Observation/o/_history")
    api.get("Patient/anna/$everything")
    api.get("Observation/o/$validate")
    api.delete("Observation/o")
    o, anna = ("Observation/o", 1, "anna"), ("Patient/anna", 1, "anna")
    assert told(audited) == [
        ("update", 201, [anna]),
        ("update", 201, [o]),
        ("read", 200, [o]),
        ("vread", 200, [o]),
        ("search-type", 200, [o]),
        ("search-type", 200, [("Patient/nobody", 0, "nobody")]),
        ("history-instance", 200, [o]),
        ("$everything", 200, [anna, o]),
        ("$validate", 200, [o]),
        ("delete", 204, [("Observation/o", 2, "anna")]),
    ]


def test_what_was_refused_or_not_there_is_remembered_as_it_was_answered(audited: Audited) -> None:
    api = audited.api
    api.get("Patient/hidden")
    api.get("Nonsense/1")
    api.put("Patient/p", b"{")
    api.get("Patient?nonsense=1", prefer="handling=strict")
    assert [(name, status) for name, status, _ in told(audited)] == [
        ("read", 404),
        ("read", 404),
        ("update", 400),
        ("search-type", 400),
    ]
    assert told(audited)[0][2] == [("Patient/hidden", 0, "hidden")]


def test_each_entry_of_a_bundle_is_a_call_of_its_own(audited: Audited) -> None:
    audited.api.put("Patient/anna", patient(id="anna"))
    for kind in ("batch", "transaction"):
        entries = [
            {"request": {"method": "GET", "url": "Patient/anna"}},
            {"resource": observation("anna", id="o"), "request": {"method": "PUT", "url": "Observation/o"}},
            {"request": {"method": "GET", "url": "Patient/gone"}},
        ]
        audited.api.post("", {"resourceType": "Bundle", "type": kind, "entry": entries})
    statuses = [(name, status) for name, status, _ in told(audited)[1:]]
    assert sorted(statuses[:3]) == [("read", 200), ("read", 404), ("update", 201)]
    assert sorted(statuses[3:]) == [("read", 200), ("read", 404), ("update", 200)]


def test_no_resource_leaves_without_a_row(audited: Audited) -> None:
    """Whatever is in an answer, by the answer's own text."""
    api = audited.api
    api.put("Organization/d", {"resourceType": "Organization", "id": "d", "name": "D"})
    api.put("Patient/a", patient(id="a", managingOrganization={"reference": "Organization/d"}))
    api.put("Patient/b", patient(id="b"))
    for number in range(3):
        api.put(f"Observation/o{number}", observation("ab"[number % 2], id=f"o{number}"))
    for url in (
        *("Patient/a", "Observation?_include=Observation:subject", "Patient?_revinclude=Observation:subject"),
        *("_history", "Patient/_history", "Observation/o1/_history", "Patient/a/$everything", "Patient/a/*"),
        *("Patient?_has:Observation:patient:_id=o1", "?_type=Patient,Observation", "Patient/b/Observation"),
        *("Patient?_summary=true", "Observation?_elements=status", "Patient?_summary=count"),
    ):
        before = len(audited.calls())
        answer = api.get(url)
        assert answer.status_code == 200, url
        rows = {(each.type, each.id) for found in audited.calls()[before:] for each in found.event.about}
        assert _within(answer.json()) <= rows, url


def _within(answer: Json) -> set[tuple[str, str]]:
    entries = answer.get("entry", [{"resource": answer}])
    resources = [entry["resource"] for entry in entries if "resource" in entry]
    return {(one["resourceType"], one["id"]) for one in resources if "id" in one}


def test_a_write_that_fails_leaves_no_row_that_says_it_was_done(audited: Audited) -> None:
    audited.api.put("Patient/p", patient(id="p"))
    audited.api.put("Patient/p", patient(id="p"), if_match='W/"7"')
    assert [(name, status) for name, status, _ in told(audited)] == [("update", 201), ("update", 412)]


def test_the_query_is_kept_without_what_may_say_who_somebody_is(audited: Audited) -> None:
    audited.api.get("Patient?name=Karlsson&birthdate=1950-01-01&identifier=urn:x|195001011234&_count=7")
    (call,) = audited.calls()
    assert call.event.query == "name=*&birthdate=*&identifier=*&_count=7"


def test_names_of_parameters_are_kept_only_if_they_are_any() -> None:
    query = [
        ("subject:Patient.name", "x"),
        ("Anna Karlsson", "1"),
        ("status", "active,final"),
        ("_has:X:y", ""),
        ("code:text", "z"),
    ]
    assert remembered(query) == "subject:Patient.name=*&*=*&status=active,final&*=*&code:text=*"


def test_patients_that_a_query_names_are_found() -> None:
    query = [("patient", "a,Patient/b"), ("subject", "Group/g"), ("subject:Patient", "c"), ("_id", "d")]
    assert patients_asked_for("Observation", query) == ["a", "b", "c"]
    assert patients_asked_for("Patient", [("_id", "d,e")]) == ["d", "e"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"subject":{"reference":"Patient/a"}}',
        b'{"subject": {"reference"\n:\t"Patient/a" }}',
        b'{"subject":{"reference":"Patient\\/a"}}',
        b'{"subject":{"reference":"\\u0050atient/a"}}',
        b'{"subject":{"reference":"Patient/a/_history/3"}}',
    ],
)
def test_a_patient_is_found_however_the_reference_is_spelled(body: bytes) -> None:
    assert json.loads(body)["subject"]["reference"].startswith("Patient/a")
    assert patients_in(body) == ("a",)


def test_looks_at_pages_are_remembered(audited: Audited) -> None:
    audited.api.put("Patient/anna", patient(id="anna"))
    order = {
        **{"resourceType": "ServiceRequest", "id": "r", "status": "active", "intent": "order"},
        "subject": {"reference": "Patient/anna"},
    }
    audited.api.put("ServiceRequest/r", order)
    for path in ("/", "/referral/ServiceRequest/r", "/health", "/static/board.css"):
        audited.api.get(f"http://localhost{path}")
    assert told(audited)[2:] == [("page", 200, []), ("page", 200, [("ServiceRequest/r", 1, "anna")])]
