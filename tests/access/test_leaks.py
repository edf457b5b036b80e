"""Leaks that other servers have had, each as a test here."""

from __future__ import annotations

import pytest

from fhir_coprod.access.sight import read_criteria, seen, sight
from fhir_coprod.errors import BadRequest
from fhir_coprod.store import Query
from tests.access.callers import CALLERS, caller
from tests.access.conftest import Hospital
from tests.access.hospital import HISTORY, observation
from tests.access.oracle import Oracle

ORACLE = Oracle.of(HISTORY)
A, P1, P2 = CALLERS["person of A"], CALLERS["patient p1"], CALLERS["patient p2"]


def total(hospital: Hospital, who: object, url: str) -> int:
    said = hospital.ask(who, "GET", f"{url}{'&' if '?' in url else '?'}_total=accurate")  # type: ignore[arg-type]
    assert said.status == 200, said.text
    count: int = said.json["total"]
    return count


def test_values_are_not_inferred_through_has(filled: Hospital) -> None:
    """Who may see patients but no Observation learns nothing of these by `_has`.

    https://github.com/hapifhir/hapi-fhir/issues/6065
    """
    few = caller("program", "system/Patient.rs")
    assert total(filled, few, "Patient?_has:Observation:patient:code=a") == 0
    assert total(filled, few, "Patient?_has:Observation:patient:code:not=a") == 0
    assert total(filled, few, "Patient?_has:Observation:subject:status:missing=false") == 0
    assert total(filled, CALLERS["program"], "Patient?_has:Observation:patient:code=a") > 0


@pytest.mark.parametrize(
    "url",
    [
        "Observation?subject:Patient.family=One",
        "Observation?subject:Patient.organization:missing=false",
        "QuestionnaireResponse?questionnaire.title=Open",
    ],
)
def test_chains_look_only_at_what_a_search_would_find(filled: Hospital, url: str) -> None:
    """Chains, also by canonicals, apply the same filters to what they lead through.

    https://github.com/medplum/medplum/pull/9973
    """
    few = caller("program", "system/Observation.rs system/QuestionnaireResponse.rs")
    assert total(filled, few, url) == 0
    assert total(filled, CALLERS["program"], url) > 0


def test_criteria_that_are_chains_hold_on_every_way(filled: Hospital) -> None:
    """A policy with a chain was kept by one way to read and not by another.

    https://github.com/medplum/medplum/issues/7641
    """
    who = caller("program", "system/Observation.rs?subject:Patient.gender=male system/Patient.rs")
    own = {name for name in ORACLE.seen(who) if name.startswith("Observation/")}
    assert own
    assert set(filled.ask(who, "GET", "Observation?_count=500").names) == own
    along = filled.ask(who, "GET", "Patient?_revinclude=Observation:subject&_count=500").names
    assert {name for name in along if name.startswith("Observation/")} <= own
    for name in ("Observation/o1", "Observation/o2"):
        assert (filled.ask(who, "GET", name).status == 200) == (name in own)


def test_linked_patients_are_not_in_the_compartment(filled: Hospital) -> None:
    """Patient.link leads from one patient's compartment into another's.

    https://github.com/hapifhir/hapi-fhir/issues/4151, https://github.com/hapifhir/hapi-fhir/issues/1777,
    https://github.com/LinuxForHealth/FHIR/issues/3592
    """
    assert filled.ask(P1, "GET", "Patient/p2").status == 404
    assert filled.ask(P1, "GET", "Patient").names == ["Patient/p1"]
    for url in ("Patient?_include=Patient:link", "Patient?_revinclude=Patient:link"):
        assert filled.ask(P1, "GET", url).names == ["Patient/p1"]
    assert total(filled, P1, "Patient?link:Patient.gender=male") == 0
    assert total(filled, P1, "Patient/p1/Patient") <= 1


@pytest.mark.parametrize(
    "value", ["Patient/p4", "p4", "http://localhost/fhir/Patient/p4", "p1,p4", "Patient/p1,Patient/p4"]
)
def test_every_way_to_write_an_id_is_limited(filled: Hospital, value: str) -> None:
    """Checks of the parameter looked at one form, or at the first of several ids.

    https://github.com/hapifhir/hapi-fhir/issues/3249, https://github.com/hapifhir/hapi-fhir/issues/2222
    """
    for url in (
        "Observation?patient=",
        "Observation?subject:Patient=" if "/" not in value else "Task?patient=",
    ):
        said = filled.ask(P1, "GET", f"{url}{value}")
        assert said.status == 200
        assert set(said.names) <= ORACLE.seen(P1)


def test_devices_are_their_patients(filled: Hospital) -> None:
    """Device is in no compartment of R4, and was open, or closed, to all.

    https://github.com/hapifhir/hapi-fhir/issues/6536, https://github.com/hapifhir/hapi-fhir/pull/8031
    """
    assert filled.ask(P1, "GET", "Device").names == ["Device/d1"]
    assert filled.ask(P2, "GET", "Device").names == []
    assert filled.ask(P2, "GET", "Device/d1").status == filled.ask(P2, "GET", "Device/d2").status == 404


def test_no_answer_tells_what_a_search_found_and_hid(filled: Hospital) -> None:
    """Searches that found something of others were refused, those that found nothing were not.

    https://github.com/LinuxForHealth/FHIR/issues/1849, https://github.com/LinuxForHealth/FHIR/issues/2669
    """
    for type in ("Observation", "Condition", "ServiceRequest", "AllergyIntolerance"):
        hidden = filled.ask(P1, "GET", f"{type}?patient=p3")
        never = filled.ask(P1, "GET", f"{type}?patient=p9")
        assert hidden.text.replace("p3", "p9") == never.text
        refused = caller("patient", "patient/Patient.rs", patient="p1")
        assert filled.ask(refused, "GET", f"{type}?patient=p3").status == 403
        assert filled.ask(refused, "GET", f"{type}?patient=p9").status == 403


def test_ids_of_patients_are_not_found_out_by_reading(filled: Hospital) -> None:
    """https://github.com/LinuxForHealth/FHIR/pull/1809"""
    for url in ("Patient/{}", "Patient/{}/_history", "Patient/{}/_history/1", "Patient/{}/$everything"):
        hidden = filled.ask(P1, "GET", url.format("p3"))
        assert hidden.status == 404
        assert hidden.text.replace("p3", "p9") == filled.ask(P1, "GET", url.format("p9")).text


def test_the_history_of_the_system_tells_of_nothing_hidden(filled: Hospital) -> None:
    """https://github.com/LinuxForHealth/FHIR/issues/2300"""
    for who in ("patient p1", "person of A", "proxy of p1", "program of observations"):
        rights = CALLERS[who]
        said = filled.ask(rights, "GET", "_history?_count=1000")
        assert set(said.names) <= ORACLE.seen(rights), who


def test_lists_are_their_patients(filled: Hospital) -> None:
    """Lists were opened to all for the sake of formularies.

    https://github.com/LinuxForHealth/FHIR/pull/2444
    """
    assert filled.ask(P1, "GET", "List").names == ["List/l1"]
    along = filled.ask(P1, "GET", "List?_include=List:item").names
    assert "Observation/o3" not in along


def test_an_update_moves_nothing_into_another_compartment(changing: Hospital) -> None:
    """https://github.com/hapifhir/hapi-fhir/issues/5558"""
    moved = {"resourceType": "Observation", "id": "o1", **observation("Patient/p2")}
    assert changing.ask(P1, "PUT", "Observation/o1", moved).status == 403
    assert changing.ask(P1, "GET", "Observation/o1").status == 200


def test_what_is_outside_of_compartments_is_open_only_if_it_is_about_nobody(filled: Hospital) -> None:
    """All types outside of the compartments were opened as universal.

    https://github.com/microsoft/fhir-server/pull/2929
    """
    for url in ("Bundle/b1", "Binary/x1", "Device/d2", "Group/all", "Person/both", "Task/t3"):
        assert filled.ask(P1, "GET", url).status == 404
    assert filled.ask(P1, "GET", "Organization/A").status == 200


def test_an_id_that_several_have_tells_nothing_of_those_that_are_hidden(filled: Hospital) -> None:
    """Ours: a bare id that several resources have is refused, so the refusal told that they were there."""
    assert filled.ask(CALLERS["program"], "GET", "Observation?subject=same").status == 400
    for who in ("patient p1", "person of A", "program of observations"):
        assert filled.ask(CALLERS[who], "GET", "Observation?subject=same").status == 200


@pytest.mark.parametrize(
    "criteria", ["code:not=a", "subject:missing=true", "subject:Patient.gender:not=male"]
)
def test_scopes_do_not_say_what_is_not_there(filled: Hospital, criteria: str) -> None:
    """Ours: what has lost a row of the index would match."""
    who = caller("program", f"system/Observation.rs?{criteria}")
    assert total(filled, who, "Observation") == 0
    with pytest.raises(BadRequest, match="say what is not there"):
        read_criteria("Observation", who.scopes[0].criteria)


@pytest.mark.parametrize("criteria", ["nonsense=1", "code:of-type=1", "_filter=code eq a", "date=nonsense"])
def test_criteria_that_cannot_be_read_open_nothing(filled: Hospital, criteria: str) -> None:
    who = caller("program", f"system/Observation.rs?{criteria.replace(' ', '+')}".replace("+", "%20"))
    assert total(filled, who, "Observation") == 0


def test_sort_tells_nothing_of_what_is_hidden(filled: Hospital) -> None:
    """Only values of the resource itself decide about its place."""
    for code in ("subject", "performer", "code", "status"):
        for direction in ("", "-"):
            query = Query.parse(
                "Observation", [("_sort", direction + code), ("_count", "500")], sight=sight(A, "s")
            )
            found = [version.reference for version in filled.store.search(query).matches]
            whole = Query.parse("Observation", [("_sort", direction + code), ("_count", "500")])
            order = [version.reference for version in filled.store.search(whole).matches]
            assert found == [name for name in order if name in ORACLE.seen(A)]


def test_canonicals_bring_nothing_that_is_hidden(filled: Hospital) -> None:
    """Ours: inclusions by url took another way than those by id."""
    found = filled.ask(A, "GET", "QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire").names
    assert {"QuestionnaireResponse/r2", "Questionnaire/q1"} <= set(found)
    assert "Questionnaire/q2" not in found
    found = filled.ask(A, "GET", "Questionnaire?_revinclude=QuestionnaireResponse:questionnaire").names
    assert "Questionnaire/q2" not in found
    assert "QuestionnaireResponse/r2" not in found


def test_pages_ask_for_many_referrals_at_once(filled: Hospital) -> None:
    names = [name for name in ORACLE.versions if name.startswith("ServiceRequest/")]
    for who in ("person of A", "person of B", "patient p1", "person of none"):
        rights = CALLERS[who]
        expected = {name for name in ORACLE.seen(rights, "r") if name in names}
        assert seen(filled.store, rights, [*names, "ServiceRequest/never", "nonsense", ""]) == expected
    assert seen(filled.store, CALLERS["local"], ["ServiceRequest/s9", "ServiceRequest/s2"]) == {
        "ServiceRequest/s2"
    }
