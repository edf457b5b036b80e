"""AuditEvents through the FHIR API: in IHE's shape, by rights, and never changed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fhir_coprod import validate
from fhir_coprod.access.rights import Rights
from fhir_coprod.access.scopes import read_scopes
from fhir_coprod.api import gate
from fhir_coprod.api.call import Caller
from fhir_coprod.jsontext import Json
from tests.api.conftest import patient
from tests.audit.conftest import Audited
from tests.audit.test_remembered import observation


def entries(audited: Audited, url: str) -> list[Json]:
    answer = audited.api.get(url)
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


@contextmanager
def calling(
    monkeypatch: pytest.MonkeyPatch, kind: Any, name: str, *scopes: str, **more: Any
) -> Iterator[None]:
    """Whoever calls meanwhile has these rights, as if somebody had found out who it is."""
    rights = Rights(kind, name, read_scopes(scopes), **more)
    with monkeypatch.context() as patched:
        patched.setattr(gate, "caller_at", lambda address: Caller(address, rights))
        yield


def fill(audited: Audited) -> None:
    for id in ("anna", "bo"):
        audited.api.put(f"Patient/{id}", patient(id=id))
        audited.api.put(f"Observation/of-{id}", observation(id, id=f"of-{id}"))
    audited.api.get("Observation/of-anna")
    audited.api.get("Observation?status=final&subject:Patient.birthdate=1912-12-12")
    audited.api.get("Patient/cy")


def test_all_kinds_of_audit_events_are_valid_and_claim_ihes_profiles(audited: Audited) -> None:
    fill(audited)
    audited.api.get("Observation/of-anna/_history")
    audited.api.get("Patient/anna/$everything")
    audited.api.delete("Observation/of-bo")
    made = entries(audited, "AuditEvent?_count=100")
    for one in made:
        assert validate(one), (validate(one).issues, one)
    names = {url.rpartition(".")[2] for one in made for url in one["meta"].get("profile", ())}
    assert names == {"PatientUpdate", "PatientRead", "PatientQuery", "PatientDelete"}
    for one in made:
        check_by_balp(one)


def check_by_balp(one: Json) -> None:
    """What IHE's FSH of BALP 1.1 demands of a successful read, query, create, update or delete.

    Its package is on no registry that our peers come from, so that our validator has not its profiles.
    """
    name = (one["meta"].get("profile") or [""])[0].rpartition(".")[2]
    if not name:
        return
    codes = [agent["type"]["coding"][0]["code"] for agent in one["agent"]]
    reads = name.endswith("Read")
    assert codes[:2] == (["110152", "110153"] if reads else ["110153", "110152"])
    assert all(agent["who"] and agent["network"] for agent in one["agent"][:2])
    assert one["outcome"] == "0"
    by_type = [entity["type"]["code"] for entity in one["entity"]]
    assert by_type.count("2") == 1  # data or query, 1..1
    assert by_type.count("1") == (1 if name.startswith("Patient") else 0)
    for entity in one["entity"]:
        if entity["type"]["code"] == "2":
            assert entity["role"]["code"] == ("24" if name.endswith("Query") else "4")
            assert ("query" in entity) == name.endswith("Query")
            assert ("what" in entity) != name.endswith("Query")


def test_they_are_found_by_patient_date_entity_action_outcome_and_agent(audited: Audited) -> None:
    fill(audited)
    of_anna = entries(audited, "AuditEvent?patient=Patient/anna")
    assert [one["subtype"][0]["code"] for one in of_anna] == ["search-type", "read", "update", "update"]
    assert all("bo" not in str(one["entity"]) for one in of_anna)
    assert len(entries(audited, "AuditEvent?patient=anna&action=U")) == 2
    assert len(entries(audited, "AuditEvent?entity=Observation/of-anna")) == 4  # the search was about two
    assert [one["outcomeDesc"] for one in entries(audited, "AuditEvent?outcome=4")] == ["HTTP 404"]
    assert entries(audited, "AuditEvent?date=lt2020") == []
    assert len(entries(audited, "AuditEvent?patient=bo&date=ge2020-01-01&date=lt2100")) == 3
    assert entries(audited, "AuditEvent?agent=nobody") == []
    assert entries(audited, "Patient/anna/AuditEvent?action=R")[0]["id"] == of_anna[1]["id"]
    assert audited.api.get("AuditEvent?nonsense=1").status_code == 400


def test_pages_show_each_once(audited: Audited) -> None:
    fill(audited)
    audited.stop()
    audited.start()
    url, seen = "AuditEvent?patient=anna&_count=1", []
    while url:
        page = audited.api.get(url).json()
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
        if len(seen) > 30:
            break
    # Each look is remembered as well, and is newer than where the page before it ended.
    assert len(seen) == len(set(seen)) == 4


def test_one_is_read_by_its_id(audited: Audited) -> None:
    fill(audited)
    first = entries(audited, "AuditEvent?patient=anna")[1]
    assert audited.api.get(f"AuditEvent/{first['id']}").json() == first
    for id in ("none", "202001-0123456789abcdef-1-1", f"{first['id'][:-1]}9"):
        assert audited.api.get(f"AuditEvent/{id}").status_code == 404


def test_no_interaction_makes_changes_or_deletes_them(audited: Audited) -> None:
    fill(audited)
    one = entries(audited, "AuditEvent?patient=anna")[0]
    api = audited.api
    assert api.put(f"AuditEvent/{one['id']}", one).status_code == 405
    assert api.post("AuditEvent", one).status_code == 405
    assert api.delete(f"AuditEvent/{one['id']}").status_code == 405
    assert api.delete("AuditEvent?action=R").status_code == 405
    assert api.patch(f"AuditEvent/{one['id']}", [{"op": "remove", "path": "/entity"}]).status_code == 405
    request = {"method": "DELETE", "url": f"AuditEvent/{one['id']}"}
    for kind in ("batch", "transaction"):
        answer = api.post("", {"resourceType": "Bundle", "type": kind, "entry": [{"request": request}]})
        assert "405" in answer.text or answer.status_code == 405
    assert api.get(f"AuditEvent/{one['id']}").json() == one


def test_a_patient_sees_who_looked_at_their_own_record_and_nothing_of_others(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(audited)
    # A department sees those for whom it has a referral.
    order = {"resourceType": "ServiceRequest", "id": "hip", "status": "active", "intent": "order"}
    order |= {"subject": {"reference": "Patient/anna"}, "performer": [{"reference": "Organization/d"}]}
    audited.api.put("ServiceRequest/hip", order)
    with calling(monkeypatch, "person", "https://id|7", "user/*.rs", departments=("Organization/d",)):
        audited.api.get("Observation?status=final")
    with calling(monkeypatch, "patient", "https://id|9", "patient/*.rs", patient="anna"):
        made = entries(audited, "AuditEvent")
        assert len(made) == 6
        assert "bo" not in str([(one["entity"], one["agent"]) for one in made])
        assert "https://id" not in str(made[0]["agent"])
        assert "Organization/d" in str(made[0]["agent"])
        assert entries(audited, "AuditEvent?patient=bo") == []
        of_bo = next(found for found in audited.calls(patient="bo"))
        for number in (0, 1, 2):
            id = f"{of_bo.month}-{of_bo.chain}-{of_bo.number}-{number}"
            assert audited.api.get(f"AuditEvent/{id}").status_code == 404


@pytest.mark.parametrize(
    ("kind", "scopes", "departments", "status"),
    [
        ("program", ["system/*.rs"], (), 200),
        ("program", ["system/AuditEvent.rs"], (), 200),
        ("program", ["system/Patient.rs"], (), 403),
        ("program", ["system/AuditEvent.rs?patient=anna"], (), 403),
        ("program", ["user/*.rs"], ("Organization/d",), 403),
        ("program", ["patient/*.rs"], ("*",), 403),
        ("person", ["user/AuditEvent.s"], ("*",), 200),
        ("person", ["user/AuditEvent.r"], ("*",), 403),
        ("person", ["user/*.rs"], ("Organization/d",), 403),
        ("person", ["user/*.rs"], (), 403),
        ("proxy", ["patient/*.rs"], (), 403),
    ],
)
def test_others_need_a_scope_on_audit_events_and_all_departments(
    audited: Audited,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    scopes: list[str],
    departments: tuple[str, ...],
    status: int,
) -> None:
    with calling(monkeypatch, kind, "them", *scopes, patient="anna", departments=departments):
        assert audited.api.get("AuditEvent/202603-0123456789abcdef-1-0").status_code in (403, 404)
    audited_calls = len(audited.calls())
    with calling(monkeypatch, kind, "them", *scopes, patient="anna", departments=departments):
        assert audited.api.get("AuditEvent").status_code == status
    (call,) = audited.calls()[audited_calls:]
    assert (call.event.kind, call.event.who, call.event.status) == (kind, "them", status)


def test_a_patients_audit_neither_shows_nor_finds_what_is_kept_from_them(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(audited)
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
    audited.api.put("Observation/plain", observation("anna", id="plain"))
    hidden = observation("anna", id="hidden", meta={"security": [label]})
    assert audited.api.put("Observation/hidden", hidden).status_code == 201
    with calling(monkeypatch, "person", "https://id|7", "user/*.rs", departments=("*",)):
        for url in ("Observation/hidden", "Observation/plain", "Observation?status=final"):
            assert audited.api.get(url).status_code == 200
        assert len(entries(audited, "AuditEvent?patient=anna&entity=Observation/hidden")) > 1
    with calling(monkeypatch, "patient", "https://id|9", "patient/*.rs", patient="anna"):
        made = entries(audited, "AuditEvent")
        assert "Observation/plain" in str(made)
        assert "Observation/hidden" not in str(made)
        assert "Observation/hidden" not in str(
            [audited.api.get(f"AuditEvent/{one['id']}").json() for one in made]
        )
        assert entries(audited, "AuditEvent?entity=Observation/plain")
        for url in ("Observation/hidden", "Observation/never-was", "Patient/bo"):
            assert entries(audited, f"AuditEvent?entity={url}") == []
        assert entries(audited, "AuditEvent?agent=https://id%7C7") == [], "staff appear by departments only"
        assert audited.api.get("AuditEvent?address=127.0.0.1").status_code == 400


def test_a_broken_glass_is_told_as_the_purpose(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    with calling(monkeypatch, "person", "https://id|7", "user/*.rs", glass="anna"):
        audited.api.get("Patient/anna")
    made = entries(audited, "AuditEvent?patient=anna")[-1]
    assert made["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"


def test_a_query_is_told_without_the_values_that_were_left_out(audited: Audited) -> None:
    fill(audited)
    made = entries(audited, "AuditEvent?patient=anna")[0]
    (query,) = (entity["query"] for entity in made["entity"] if "query" in entity)
    assert base64.b64decode(query) == b"Observation?status=final&subject:Patient.birthdate=*"
