"""What other servers were reported for: each test names where."""

from __future__ import annotations

from tests.api.conftest import Api, patient
from tests.bulk.exports import LATER, export
from tests.bulk.test_export import httpx_url, observation, put
from tests.bulk.test_patients import group, member, simple


def test_the_patient_is_in_the_export_of_a_group(api: Api) -> None:
    """https://github.com/LinuxForHealth/FHIR/issues/2114"""
    put(api, patient(id="a"), observation("o", "a"), group(member("Patient/a")))
    assert set(export(api, "Group/g/$export?_type=Patient").records()) == {"Patient/a"}
    assert set(export(api, "Group/g/$export?_type=Observation").records()) == {"Observation/o"}


def test_records_that_changed_come_although_patient_and_group_have_not(api: Api) -> None:
    """https://github.com/hapifhir/hapi-fhir/issues/4387 and https://github.com/icanbwell/fhir-server/pull/2292"""
    put(api, patient(id="a"), group(member("Patient/a")))
    time = export(api).manifest()["transactionTime"]
    put(api, observation("o", "a"))
    assert set(export(api, f"Group/g/$export?_since={time}").records()) == {"Observation/o"}


def test_type_filters_apply_to_the_members_of_a_group(api: Api) -> None:
    """https://github.com/hapifhir/hapi-fhir/issues/3987"""
    put(api, patient(id="a", gender="male"), patient(id="b", gender="female"))
    put(api, group(member("Patient/a"), member("Patient/b")))
    url = httpx_url("Group/g/$export", _type="Patient,Practitioner", _typeFilter="Patient?gender=female")
    assert set(export(api, url).records()) == {"Patient/b"}


def test_commas_within_a_search_do_not_end_it(api: Api) -> None:
    """https://github.com/hapifhir/hapi-fhir/pull/2463"""
    put(api, *(patient(id=id, identifier=[{"value": id}]) for id in ("foo", "bar", "baz")))
    put(api, *(simple("Practitioner", id, identifier=[{"value": id}]) for id in ("zoo", "zap")))
    searches = "Patient?identifier=foo,bar,Practitioner?identifier=zoo"
    records = export(api, httpx_url("$export", _typeFilter=searches)).records()
    assert set(records) == {"Patient/foo", "Patient/bar", "Practitioner/zoo"}


def test_without_types_all_of_them_come(api: Api) -> None:
    """https://github.com/hapifhir/hapi-fhir/issues/5602"""
    put(api, patient(id="a"), observation("o", "a"))
    assert set(export(api, "Patient/$export").records()) == {"Patient/a", "Observation/o"}


def test_deletions_are_told_and_not_among_the_output(api: Api) -> None:
    """https://github.com/medplum/medplum/issues/10479"""
    put(api, patient(id="a"), observation("o", "a"))
    time = export(api).manifest()["transactionTime"]
    api.delete("Observation/o")
    for path in ("$export", "Patient/$export"):
        found = export(api, f"{path}?_since={time}")
        assert (found.deleted(), found.records()) == ({"Observation/o"}, {})


def test_a_group_that_is_missing_is_told_at_once(api: Api) -> None:
    """https://github.com/HeliosSoftware/hfs/pull/1051"""
    assert api.get("Group/absent/$export", **LATER).status_code == 404


def test_headers_and_addresses_hold_nothing_of_what_was_sent(api: Api) -> None:
    """Nobody can put a line of headers into the answer."""
    put(api, patient(id="a"))
    assert api.get("$export?_type=%f0%28", **LATER).status_code == 400
    for value in ("a%0d%0aSet-Cookie:%20x=1", "%00"):
        answer = api.get(f"$export?_type={value}", **LATER)
        assert answer.status_code == 400
        assert "set-cookie" not in answer.headers
        found = export(api, f"$export?_nonsense={value}", Prefer="handling=lenient")
        assert "set-cookie" not in found.wait().headers
        assert found.manifest()["request"].startswith("http://localhost/fhir/$export")


def test_giant_parameters_are_refused_at_once(api: Api) -> None:
    for query in (
        "_typeFilter=" + ",".join(["Patient%3F_id%3Da"] * 101),
        "_typeFilter=Patient%3F_id%3D" + "a" * 20_001,
        "_type=" + "Patient," * 100 + "X",
        "_elements=" + "a.b.c",
    ):
        assert api.get(f"$export?{query}", **LATER).status_code == 400
    many = [{"name": "patient", "valueReference": {"reference": f"Patient/{n}"}} for n in range(10_001)]
    body = {"resourceType": "Parameters", "parameter": many}
    assert api.post("Patient/$export", body, **LATER).status_code == 400


def test_a_thousand_exports_are_a_few(api: Api) -> None:
    answers = [api.get("$export", **LATER).status_code for _ in range(60)]
    assert answers == [202] * 5 + [429] * 55
