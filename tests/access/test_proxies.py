"""A proxy sees what the patient lets them see, as long as it does; names prove nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_coprod.access.proxies import NOBODY, proxy_rights
from fhir_coprod.access.rights import Rights
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from tests.access.callers import CALLERS
from tests.access.conftest import Hospital
from tests.access.hospital import ref
from tests.access.test_objections import put, refusal, sees

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
SETTINGS = Settings()
ROLE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def permit(patient: str, *actors: str, **provision: Any) -> Json:
    """A Consent by which a patient lets these in."""
    return refusal(patient, *actors, **{"type": "permit", **provision})


def related(patient: str, code: str = "", **more: Any) -> Json:
    data: Json = {"resourceType": "RelatedPerson", "active": True, "patient": ref(patient), **more}
    if code:
        data["relationship"] = [{"coding": [{"system": ROLE, "code": code}]}]
    return data


@pytest.fixture
def family(changing: Hospital) -> Hospital:
    put(changing, "rania", related("Patient/p1"))
    put(changing, "sibling", related("Patient/p3"))
    put(changing, "c", permit("Patient/p1", "RelatedPerson/rania"))
    return changing


def rights(hospital: Hospital, person: str = "rania", patient: str = "p1", now: datetime = NOW) -> Rights:
    return proxy_rights(hospital.store, SETTINGS, person, patient, now)


def test_a_proxy_reads_what_is_not_sensitive(family: Hospital) -> None:
    own = rights(family)
    assert own.kind == "proxy"
    assert sees(family, own, "Observation/o1")
    assert family.ask(own, "GET", "Patient?_id=p1,p2,p3,p4").names == ["Patient/p1"]
    for label in ("R", "V", "SEX", "MST", "PSY", "ETH", "NOPAT", "NOAUTH", "TBOO", "BARE", "BAD1"):
        assert not sees(family, own, f"Observation/o{label}"), label
    assert family.ask(own, "PUT", "Patient/p1", {"resourceType": "Patient", "id": "p1"}).status == 403


def test_who_is_not_named_is_nobody(family: Hospital) -> None:
    assert rights(family, "sibling") is NOBODY
    assert rights(family, "sibling", "p3") is NOBODY
    assert rights(family, "mother", "p2") is NOBODY
    assert rights(family, "none-such") is NOBODY
    assert rights(family, "rania", "p2") is NOBODY
    assert rights(family, "", "") is NOBODY
    assert family.ask(NOBODY, "GET", "Patient/p1").status in (403, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "inactive"}, {"status": "draft"}, {"status": "proposed"}, {"status": "entered-in-error"},
        {"status": "rejected"}, {"status": 7}, {"scope": {"text": "patient-privacy"}},
        {"patient": ref("Patient/p3")}, {"patient": ref("http://elsewhere.test/Patient/p1")},
        {"provision": {"type": "permit"}}, {"provision": None},
    ],
)  # fmt: skip
def test_another_consent_lets_nobody_in(family: Hospital, change: Json) -> None:
    data = {**permit("Patient/p1", "RelatedPerson/rania"), **change}
    put(family, "c", {name: value for name, value in data.items() if value is not None})
    assert rights(family) is NOBODY


@pytest.mark.parametrize(
    "provision",
    [
        {"period": {"end": "2026-11-30"}}, {"period": {"start": "2026-12-02"}}, {"period": {"end": "x"}},
        {"period": {"end": "2026-12-01T11:59:59Z"}}, {"purpose": [{"code": "TREAT"}]},
        {"code": [{"text": "x"}]}, {"class": [{"system": "urn:x", "code": "Observation"}]},
        {"data": [{"meaning": "instance", "reference": ref("Observation/o1")}]},
        {"dataPeriod": {"start": "2026"}}, {"action": [{"coding": [{"code": "disclose"}]}]},
        {"provision": [{"type": "deny"}]}, {"provision": [{"type": "permit"}]}, {"type": "deny"},
        {"type": 7},
    ],
)  # fmt: skip
def test_what_is_over_or_not_understood_permits_nothing(family: Hospital, provision: Json) -> None:
    put(family, "c", permit("Patient/p1", "RelatedPerson/rania", **provision))
    assert rights(family) is NOBODY


def test_a_permission_is_over_the_moment_it_ends(family: Hospital) -> None:
    put(family, "c", permit("Patient/p1", "RelatedPerson/rania", period={"end": "2026-12-01T12:00:00Z"}))
    assert rights(family).scopes
    assert rights(family, now=NOW + timedelta(seconds=1)) is NOBODY
    put(family, "c", permit("Patient/p1", "RelatedPerson/rania"))
    assert rights(family).scopes
    family.store.write(lambda t: t.delete("Consent", "c"))
    assert rights(family) is NOBODY


def test_each_of_several_actors_is_let_in_and_nobody_else(family: Hospital) -> None:
    put(family, "other", related("Patient/p1"))
    put(family, "third", related("Patient/p1"))
    put(family, "c", permit("Patient/p1", "RelatedPerson/rania", "RelatedPerson/other"))
    assert rights(family).scopes
    assert rights(family, "other").scopes
    assert rights(family, "third") is NOBODY


def test_a_refusal_outweighs_a_permission(family: Hospital) -> None:
    put(family, "no", refusal("Patient/p1", "RelatedPerson/rania"))
    assert rights(family) is NOBODY


@pytest.mark.parametrize(
    "change",
    [{"active": False}, {"patient": ref("Patient/p3")}, {"period": {"end": "2026-11-30"}},
     {"period": {"start": "2027"}}, {"period": {"end": 7}}],
)  # fmt: skip
def test_a_related_person_who_is_so_no_longer_is_nobody(family: Hospital, change: Json) -> None:
    assert rights(family).scopes
    put(family, "rania", {**related("Patient/p1"), **change})
    assert rights(family) is NOBODY
    assert rights(family, patient="p3") is NOBODY


def test_a_part_of_the_record_is_permitted_alone(family: Hospital) -> None:
    only = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]
    put(family, "c", permit("Patient/p1", "RelatedPerson/rania", **{"class": only}))
    own = rights(family)
    assert sees(family, own, "Observation/o1")
    assert family.ask(own, "GET", "Condition/c1").status == 403


def test_a_patient_releases_a_label_and_never_what_is_kept_from_themselves(family: Hospital) -> None:
    labels = [{"system": ACT, "code": code} for code in ("SEX", "NOPAT", "NOAUTH")]
    put(family, "c", permit("Patient/p1", "RelatedPerson/rania", securityLabel=labels))
    own = rights(family)
    assert own.cleared == {"SEX"}
    assert sees(family, own, "Observation/oSEX")
    assert not sees(family, own, "Observation/oNOPAT")


def born(hospital: Hospital, date: str) -> None:
    put(hospital, "kid", {"resourceType": "Patient", "birthDate": date, "name": [{"family": "One"}]})


@pytest.mark.parametrize("code", ["MTH", "FTH", "PRN", "GUARD"])
def test_parents_speak_for_a_small_child_until_its_birthday(changing: Hospital, code: str) -> None:
    put(changing, "parent", related("Patient/kid", code))
    for date, is_small in (
        ("2020-05-05", True), ("2013-12-02", True), ("2013-12-01", False), ("2010-01-01", False),
        ("2020", False), ("2027-01-01", False),
    ):  # fmt: skip
        born(changing, date)
        assert bool(rights(changing, "parent", "kid").scopes) == is_small, date
    put(changing, "yes", permit("Patient/kid", "RelatedPerson/parent"))
    assert rights(changing, "parent", "kid").scopes  # the minor has released it


def test_no_other_relative_and_no_namesake_speaks_for_a_child(changing: Hospital) -> None:
    born(changing, "2020-05-05")
    put(changing, "aunt", related("Patient/kid", "AUNT", name=[{"family": "One"}]))
    put(changing, "bare", related("Patient/kid", name=[{"family": "One"}]))
    other = related("Patient/kid")
    other["relationship"] = [{"coding": [{"system": "urn:x", "code": "MTH"}], "text": "mother"}]
    put(changing, "other", other)
    for who in ("aunt", "bare", "other", "sibling"):
        assert rights(changing, who, "kid") is NOBODY
    put(changing, "parent", related("Patient/kid", "MTH", period={"end": "2026-01-01"}))
    assert rights(changing, "parent", "kid") is NOBODY


def test_nobody_lets_themselves_in_by_a_consent(family: Hospital) -> None:
    put(family, "third", related("Patient/p1"))
    data = permit("Patient/p1", "RelatedPerson/third")
    own = rights(family)
    writing = replace(CALLERS["proxy of p1"], scopes=CALLERS["patient p1"].scopes)
    assert family.ask(own, "POST", "Consent", data).status == 403
    assert family.ask(writing, "POST", "Consent", data).status == 403
    assert rights(family, "third") is NOBODY
