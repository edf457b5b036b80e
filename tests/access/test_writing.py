"""Writes stay within the rights of their caller, and open nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhir_coprod.jsontext import Json
from tests.access.callers import CALLERS, caller
from tests.access.conftest import Hospital, local
from tests.access.hospital import label, observation, order, ref, task

A, B, ALL = CALLERS["person of A"], CALLERS["person of B"], CALLERS["person of all"]
P1, PROGRAM = CALLERS["patient p1"], CALLERS["program"]
Head = Callable[[], int]


def of(type: str, data: Json, **more: Any) -> Json:
    return {"resourceType": type, **data, **more}


def bundle(kind: str, *entries: tuple[str, str, Json | None]) -> Json:
    """A Bundle of (method, url, resource); the fullUrl of each is urn:uuid with its number."""
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [
            {
                "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{number:012}",
                "request": {"method": method, "url": url},
                **({"resource": resource} if resource else {}),
            }
            for number, (method, url, resource) in enumerate(entries)
        ],
    }


def urn(number: int) -> str:
    return f"urn:uuid:00000000-0000-4000-8000-{number:012}"


def test_a_referral_for_a_patient_who_is_known_is_taken(changing: Hospital) -> None:
    said = changing.ask(
        A, "POST", "ServiceRequest", of("ServiceRequest", order("Patient/p1", "Organization/A"))
    )
    assert said.status == 201, said.text


@pytest.mark.parametrize("patient", ["Patient/p4", "Patient/alone", "Patient/never-was", "Patient/p6"])
def test_nobody_opens_a_record_by_a_referral(changing: Hospital, head: Head, patient: str) -> None:
    before = head()
    for resource in (
        of("ServiceRequest", order(patient, "Organization/A")),
        of("Task", task("", patient, "Organization/A")),
        of("Task", task("ServiceRequest/early", patient, "Organization/A")),
    ):
        said = changing.ask(A, "POST", resource["resourceType"], resource)
        assert said.status == 403, said.text
    assert head() == before
    id = patient.partition("/")[2]
    assert changing.ask(A, "GET", patient).text.replace(id, "n") == changing.ask(A, "GET", "Patient/n").text


@pytest.mark.parametrize("focus", ["s3", "s14", "s9", "never-was"])
def test_nobody_opens_a_referral_by_a_task(changing: Hospital, head: Head, focus: str) -> None:
    before = head()
    said = changing.ask(A, "POST", "Task", of("Task", task(f"ServiceRequest/{focus}", "", "Organization/A")))
    assert said.status == 403
    assert head() == before


def test_a_patient_opens_nobodys_order_to_a_department(changing: Hospital, head: Head) -> None:
    before = head()
    for focus in ("s3", "never-was"):
        resource = of("Task", task(f"ServiceRequest/{focus}", "Patient/p1", "Organization/A"))
        assert changing.ask(P1, "POST", "Task", resource).status == 403
    assert head() == before
    resource = of("Task", task("ServiceRequest/early", "Patient/p1", "Organization/A"))
    assert changing.ask(P1, "POST", "Task", resource).status == 201


def test_a_patient_who_comes_with_the_referral_is_taken(changing: Hospital) -> None:
    said = changing.ask(
        A,
        "POST",
        "",
        bundle(
            "transaction",
            ("POST", "Patient", of("Patient", {"gender": "female"})),
            ("POST", "ServiceRequest", of("ServiceRequest", order(urn(0), "Organization/A"))),
        ),
    )
    assert said.status == 200, said.text
    place = said.json["entry"][0]["response"]["location"].partition("/_history")[0]
    assert changing.ask(A, "GET", place).status == 200
    assert changing.ask(B, "GET", place).status == 404


def test_a_transaction_opens_no_record_for_its_later_entries(changing: Hospital, head: Head) -> None:
    before = head()
    known = {"resourceType": "Patient", "id": "p4", "gender": "male"}
    said = changing.ask(
        A,
        "POST",
        "",
        bundle(
            "transaction",
            ("POST", "ServiceRequest", of("ServiceRequest", order("Patient/p4", "Organization/A"))),
            ("PUT", "Patient/p4", known),
        ),
    )
    assert said.status in (403, 404)
    assert head() == before


def test_an_absolute_reference_to_ourselves_opens_nothing(changing: Hospital, head: Head) -> None:
    before = head()
    named = "http://localhost/fhir/Patient/p4"
    said = changing.ask(A, "POST", "ServiceRequest", of("ServiceRequest", order(named, "Organization/A")))
    assert said.status == 403
    assert head() == before


def test_nobody_moves_a_record_to_where_it_is_hidden_or_from_there(changing: Hospital, head: Head) -> None:
    before = head()
    moved = of("Observation", observation("Patient/p4"), id="o1")
    assert changing.ask(A, "PUT", "Observation/o1", moved).status == 403
    taken = of("Observation", observation("Patient/p1"), id="o4")
    assert changing.ask(A, "PUT", "Observation/o4", taken).status == 404
    new = of("ServiceRequest", order("Patient/p4", "Organization/A", "Organization/B"), id="early")
    assert changing.ask(A, "PUT", "ServiceRequest/early", new).status == 403
    assert head() == before
    kept = of("Observation", observation("Patient/p1", "b"), id="o1")
    assert changing.ask(A, "PUT", "Observation/o1", kept).status == 200


@pytest.mark.parametrize("patient", ["Patient/p4", "Patient/never-was"])
def test_nobody_writes_into_the_record_of_a_patient_whom_they_do_not_see(
    changing: Hospital, head: Head, patient: str
) -> None:
    """It is in sight afterwards, as it names one's own patient as well."""
    before = head()
    into = observation(patient, performer=[ref("Patient/p1")])
    link = {"gender": "female", "link": [{"other": ref(patient), "type": "seealso"}]}
    both = [{"actor": ref(name), "status": "accepted"} for name in ("Patient/p1", patient)]
    meeting = {"status": "proposed", "participant": both}
    for who in (A, P1):
        for method, url, resource in (
            ("POST", "Observation", of("Observation", into)),
            ("PUT", "Observation/o1", of("Observation", into, id="o1")),
            ("PUT", "Patient/p1", of("Patient", link, id="p1")),
            ("POST", "Appointment", of("Appointment", meeting)),
            ("POST", "RelatedPerson", of("RelatedPerson", {"patient": ref(patient)})),
        ):
            assert changing.ask(who, method, url, resource).status == 403, (method, url)
            entry = (method, url, resource)
            assert changing.ask(who, "POST", "", bundle("transaction", entry)).status == 403, (method, url)
    assert head() == before


def test_a_record_that_names_another_patient_already_can_be_changed(changing: Hospital) -> None:
    """An Appointment of two patients: who sees one of them changes it, and adds nobody."""
    both = [{"actor": ref(name), "status": "declined"} for name in ("Patient/p1", "Patient/p3")]
    kept = of("Appointment", {"status": "proposed", "participant": both}, id="a1")
    assert changing.ask(P1, "PUT", "Appointment/a1", kept).status == 200
    added = [*both, {"actor": ref("Patient/p4"), "status": "accepted"}]
    assert changing.ask(P1, "PUT", "Appointment/a1", {**kept, "participant": added}).status == 403


@pytest.mark.parametrize("code", ["V", "NOAUTH"])
def test_nobody_writes_what_a_label_keeps_from_them(changing: Hospital, head: Head, code: str) -> None:
    before = head()
    said = changing.ask(A, "POST", "Observation", of("Observation", observation("Patient/p1"), **label(code)))
    assert said.status == 403
    assert head() == before


def test_departments_change_no_roles_of_anybody(changing: Hospital, head: Head) -> None:
    """Whoever moves a role to their department would get its referrals."""
    before = head()
    role = of("PractitionerRole", {"organization": ref("Organization/A")}, id="rb")
    assert changing.ask(A, "PUT", "PractitionerRole/rb", role).status == 404
    assert changing.ask(A, "POST", "PractitionerRole", of("PractitionerRole", role)).status == 403
    assert changing.ask(A, "DELETE", "PractitionerRole/rb").status == 204
    assert head() == before
    assert changing.ask(ALL, "PUT", "PractitionerRole/rb", role).status == 200


def test_criteria_match_only_what_is_in_sight(changing: Hospital, head: Head) -> None:
    said = changing.ask(
        A,
        "POST",
        "Observation",
        of("Observation", observation("Patient/p1")),
        if_none_exist="_id=o4",
    )
    assert said.status == 201
    before = head()
    assert changing.ask(A, "DELETE", "Observation?_id=o4").status == 204
    assert head() == before
    for id in ("o4", "never"):
        body = of("Observation", observation("Patient/p1"), id=id)
        said = changing.ask(A, "PUT", f"Observation?_id={id}", body)
        assert said.status == 404
        assert said.text == changing.ask(A, "PUT", "Observation?_id=n", {**body, "id": "n"}).text.replace(
            "Observation/n", f"Observation/{id}"
        )
    assert head() == before


def test_a_conditional_write_is_a_search_too(changing: Hospital) -> None:
    writer = caller("person", "user/Observation.cud", "A")
    for method, url, more in (
        ("POST", "Observation", {"if_none_exist": "_id=o1"}),
        ("PUT", "Observation?_id=o1", {}),
        ("DELETE", "Observation?_id=o1", {}),
    ):
        said = changing.ask(writer, method, url, of("Observation", observation("Patient/p1")), **more)
        assert said.status == 403
        assert "user/Observation.s" in said.text


def test_a_reference_by_criteria_finds_only_what_is_in_sight(changing: Hospital, head: Head) -> None:
    before = head()
    for id in ("p4", "never"):
        said = changing.ask(
            A,
            "POST",
            "",
            bundle(
                "transaction",
                ("POST", "Observation", of("Observation", observation(f"Patient?_id={id}"))),
            ),
        )
        assert said.status == 412, said.text
    assert head() == before


def test_an_update_creates_only_for_whom_may_create(changing: Hospital) -> None:
    updater = caller("program", "system/Observation.u")
    body = of("Observation", observation("Patient/p1"), id="fresh")
    assert changing.ask(updater, "PUT", "Observation/fresh", body).status == 403
    both = caller("program", "system/Observation.cu")
    assert changing.ask(both, "PUT", "Observation/fresh", body).status == 201
    assert changing.ask(A, "PUT", "Observation/fresher", {**body, "id": "fresher"}).status == 404


def test_if_match_tells_nothing_of_what_is_hidden(changing: Hospital) -> None:
    answers = set()
    for id in ("o4", "never-was"):
        body = of("Observation", observation("Patient/p1"), id=id)
        for headers in ({"if_match": 'W/"1"'}, {"if_none_match": "*"}):
            said = changing.ask(A, "PUT", f"Observation/{id}", body, **headers)
            answers.add((said.status, said.text.replace(id, "ID"), str(headers)))
    assert len(answers) == 2


def test_a_scope_with_criteria_limits_what_is_written(changing: Hospital, head: Head) -> None:
    writer = caller("program", "system/Observation.crus?code=a")
    before = head()
    wrong = of("Observation", observation("Patient/p1", "b"))
    assert changing.ask(writer, "POST", "Observation", wrong).status == 403
    assert changing.ask(writer, "PUT", "Observation/o1", {**wrong, "id": "o1"}).status == 403
    assert changing.ask(writer, "PUT", "Observation/o5", {**wrong, "id": "o5"}).status == 404
    assert head() == before
    right = of("Observation", observation("Patient/p4", "a"))
    assert changing.ask(writer, "POST", "Observation", right).status == 201


def test_a_patient_writes_in_the_own_record_only(changing: Hospital, head: Head) -> None:
    before = head()
    assert changing.ask(P1, "POST", "Observation", of("Observation", observation("Patient/p4"))).status == 403
    assert changing.ask(P1, "PUT", "Patient/p4", of("Patient", {"id": "p4"})).status == 404
    assert changing.ask(P1, "POST", "Bundle", of("Bundle", {"type": "collection"})).status == 403
    assert head() == before
    assert changing.ask(P1, "POST", "Observation", of("Observation", observation("Patient/p1"))).status == 201


def test_a_message_smuggles_nothing_in(changing: Hospital, head: Head) -> None:
    """Its entries become resources of their own; each takes the right to write it."""
    before = head()
    inside = of("Patient", {"id": "p4", "gender": "male"})
    message = of(
        "Bundle",
        {
            "type": "document",
            "identifier": {"system": "urn:x", "value": "1"},
            "timestamp": "2026-01-01T00:00:00Z",
            "entry": [
                {
                    "fullUrl": "http://localhost/fhir/Composition/k",
                    "resource": {
                        "resourceType": "Composition",
                        "id": "k",
                        "status": "final",
                        "type": {"text": "x"},
                        "date": "2026-01-01",
                        "subject": ref("Patient/p4"),
                        "author": [ref("Practitioner/doc")],
                        "title": "x",
                    },
                },
                {
                    "fullUrl": "http://localhost/fhir/Practitioner/doc",
                    "resource": of("Practitioner", {"id": "doc"}),
                },
                {"fullUrl": "http://localhost/fhir/Patient/p4", "resource": inside},
            ],
        },
    )
    for rights in (A, P1, caller("program", "system/Bundle.cruds"), caller("program", "system/Bundle.c")):
        said = changing.ask(rights, "POST", "Bundle", message)
        assert said.status == 403, said.text
    assert head() == before
    assert changing.ask(PROGRAM, "POST", "Bundle", message).status == 201


def test_validation_of_a_write_tells_what_the_write_would(changing: Hospital, head: Head) -> None:
    before = head()
    answers = set()
    for id in ("o4", "never-was"):
        body = of("Observation", observation("Patient/p1"), id=id)
        said = changing.ask(A, "POST", f"Observation/{id}/$validate?mode=update", body)
        answers.add((said.status, said.text.replace(id, "ID")))
    assert len(answers) == 1
    body = of("Observation", observation("Patient/p4"))
    said = changing.ask(A, "POST", "Observation/$validate?mode=create", body)
    assert "not within what you may write" in said.text
    assert head() == before


@pytest.mark.parametrize("who", ["program", "person of A", "patient p1"])
def test_nobody_writes_the_audit(changing: Hospital, who: str) -> None:
    for method, url in (
        ("POST", "AuditEvent"),
        ("PUT", "AuditEvent/1"),
        ("DELETE", "AuditEvent/1"),
        ("PATCH", "AuditEvent/1"),
        ("DELETE", "AuditEvent?_id=1"),
    ):
        assert changing.ask(CALLERS[who], method, url, of("AuditEvent", {"id": "1"})).status == 405


def test_a_batch_writes_what_may_be_written_and_nothing_else(changing: Hospital) -> None:
    said = changing.ask(
        A,
        "POST",
        "",
        bundle(
            "batch",
            ("POST", "Observation", of("Observation", observation("Patient/p1"))),
            ("POST", "Observation", of("Observation", observation("Patient/p4"))),
            ("DELETE", "Observation/o4", None),
            ("PUT", "Observation/o4", of("Observation", observation("Patient/p1"), id="o4")),
        ),
    )
    assert [each["response"]["status"][:3] for each in said.json["entry"]] == ["201", "403", "204", "404"]
    assert local(changing, "GET", "Observation/o4").json["subject"] == ref("Patient/p4")
