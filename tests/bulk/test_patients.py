"""`$export` of all patients and of the members of a Group: what belongs to it, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api, patient
from tests.bulk.exports import LATER, export, export_by_post
from tests.bulk.test_export import observation, put

Json = dict[str, Any]


def group(*members: Json, **more: Any) -> Json:
    listed = {"member": list(members)} if members else {}
    return {"resourceType": "Group", "id": "g", "type": "person", "actual": True, **listed, **more}


def member(reference: str, **more: Any) -> Json:
    return {"entity": {"reference": reference}, **more}


def simple(type: str, id: str, **more: Any) -> Json:
    return {"resourceType": type, "id": id, **more}


def task(id: str, of: str, **more: Any) -> Json:
    return simple(
        "Task", id, status="draft", intent="order", **{"for": {"reference": f"Patient/{of}"}}, **more
    )


def provenance(id: str, target: str) -> Json:
    return simple(
        "Provenance",
        id,
        target=[{"reference": target}],
        recorded="2026-01-01T00:00:00Z",
        agent=[{"who": {"reference": "Practitioner/author"}}],
    )


def hospital(api: Api) -> None:
    """Two patients with records, who treats them, and what has nothing to do with patients."""
    put(
        api,
        simple("Organization", "parent", name="P"),
        simple("Organization", "ward", name="W", partOf={"reference": "Organization/parent"}),
        simple("Organization", "elsewhere", name="E"),
        *(simple("Practitioner", id, active=True) for id in ("doctor", "author", "other")),
        simple(
            "PractitionerRole",
            "role",
            practitioner={"reference": "Practitioner/doctor"},
            organization={"reference": "Organization/ward"},
        ),
        patient(id="a", link=[{"other": {"reference": "Patient/b"}, "type": "seealso"}]),
        patient(id="b"),
        observation("oa", "a", performer=[{"reference": "PractitionerRole/role"}]),
        observation("ob", "b"),
        task("ta", "a"),
        task("tb", "b"),
        provenance("pa", "Observation/oa"),
        provenance("pb", "Observation/ob"),
        simple("Device", "da", patient={"reference": "Patient/a"}),
        simple("Device", "db", patient={"reference": "Patient/b"}),
        simple("Location", "far", name="F"),
    )


OF_A = {"Patient/a", "Observation/oa", "Task/ta", "Provenance/pa", "Device/da"}
OF_B = {"Patient/b", "Observation/ob", "Task/tb", "Provenance/pb", "Device/db"}
AROUND_A = {"PractitionerRole/role", "Practitioner/doctor", "Organization/ward", "Organization/parent"}
AUTHOR = {"Practitioner/author"}


def test_all_patients_with_what_they_refer_to(api: Api) -> None:
    hospital(api)
    assert set(export(api, "Patient/$export").records()) == OF_A | OF_B | AROUND_A | AUTHOR


def test_members_of_a_group_and_nobody_else(api: Api) -> None:
    hospital(api)
    put(api, group(member("Patient/a")))
    assert set(export(api, "Group/g/$export").records()) == OF_A | AROUND_A | AUTHOR | {"Group/g"}
    put(api, group(member("Patient/b")))
    assert set(export(api, "Group/g/$export").records()) == OF_B | AUTHOR | {"Group/g"}


def test_a_group_that_names_others_is_not_in_an_export_of_some(api: Api) -> None:
    hospital(api)
    put(api, group(member("Patient/a")), {**group(member("Patient/a"), member("Patient/b")), "id": "both"})
    records = export(api, "Group/g/$export").records()
    assert "Group/g" in records
    assert "Group/both" not in records


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ([], set()),
        ([member("Patient/a", inactive=True), member("Patient/b")], {"b"}),
        ([member("Patient/a", period={"end": "2020-01-01"}), member("Patient/b")], {"b"}),
        ([member("Patient/a", period={"end": "2999-01-01"})], {"a"}),
        ([member("Practitioner/doctor")], set()),
        ([member("Patient/nobody")], set()),
        ([member("http://localhost/fhir/Patient/a")], {"a"}),
        ([member("http://elsewhere.example/fhir/Patient/a")], set()),
    ],
)
def test_who_is_a_member(api: Api, members: list[Json], found: set[str]) -> None:
    hospital(api)
    put(api, group(*members))
    export_ = export(api, "Group/g/$export?_type=Patient")
    assert {name.removeprefix("Patient/") for name in export_.records()} == found


def test_an_empty_group_has_a_manifest_without_files(api: Api) -> None:
    hospital(api)
    put(api, group())
    assert export(api, "Group/g/$export").manifest()["output"] == []


def test_groups_in_a_group_count_once_also_in_a_circle(api: Api) -> None:
    hospital(api)
    put(api, {**group(member("Patient/b")), "id": "h"})
    put(api, group(member("Patient/a"), member("Group/h")))
    put(api, {**group(member("Patient/b"), member("Group/g")), "id": "h"})
    records = export(api, "Group/g/$export?_type=Patient").records()
    assert set(records) == {"Patient/a", "Patient/b"}


def test_a_group_by_characteristics_or_none_is_refused(api: Api) -> None:
    characteristic = {"code": {"text": "x"}, "valueBoolean": True, "exclude": False}
    put(api, {**group(), "actual": False, "characteristic": [characteristic]} | {"id": "rule"})
    assert api.get("Group/rule/$export", **LATER).status_code == 400
    assert api.get("Group/absent/$export", **LATER).status_code == 404
    put(api, group())
    api.delete("Group/g")
    assert api.get("Group/g/$export", **LATER).status_code == 410


class TestPatient:
    def test_only_those_patients(self, api: Api) -> None:
        hospital(api)
        one = {"name": "patient", "valueReference": {"reference": "Patient/a"}}
        assert set(export_by_post(api, "Patient/$export", one).records()) == OF_A | AROUND_A | AUTHOR
        put(api, group(member("Patient/a"), member("Patient/b")))
        assert "Patient/b" not in export_by_post(api, "Group/g/$export", one).records()

    @pytest.mark.parametrize("path", ["Patient/$export", "Group/g/$export"])
    def test_who_is_not_here_or_no_member_is_refused(self, api: Api, path: str) -> None:
        hospital(api)
        put(api, group(member("Patient/a")))
        for id in ("nobody",) if path.startswith("Patient") else ("nobody", "b"):
            both = [
                {"name": "patient", "valueReference": {"reference": f"Patient/{each}"}} for each in ("a", id)
            ]
            body = {"resourceType": "Parameters", "parameter": both}
            assert api.post(path, body, **LATER).status_code == 400
            lenient = export_by_post(api, path, *both, Prefer="handling=lenient")
            assert set(lenient.records()) >= OF_A
            assert not OF_B & set(lenient.records())
            assert len(lenient.told()) == 1

    def test_not_in_a_url(self, api: Api) -> None:
        hospital(api)
        assert api.get("Patient/$export?patient=Patient/a", **LATER).status_code == 400


class TestSince:
    def test_changes_and_deletions_of_patients(self, api: Api) -> None:
        hospital(api)
        put(api, observation("kept", "a", performer=[{"reference": "PractitionerRole/role"}]))
        time = export(api, "Patient/$export").manifest()["transactionTime"]
        put(api, observation("oa", "a", status="amended"))
        put(api, observation("new", "b", performer=[{"reference": "Practitioner/other"}]))
        put(api, simple("Organization", "ward", name="W2", partOf={"reference": "Organization/parent"}))
        put(api, simple("Organization", "elsewhere", name="E2"))
        put(api, simple("Location", "far", name="F2"))
        api.delete("Task/tb")
        api.delete("Location/far")
        found = export(api, f"Patient/$export?_since={time}")
        records = set(found.records())
        assert {"Observation/oa", "Observation/new"} <= records
        # What changes refer to comes along; what others refer to comes if it has changed.
        assert {"Practitioner/other", "Organization/ward"} <= records
        assert not records & {"Organization/elsewhere", "Location/far", "Observation/ob", "Patient/a"}
        assert found.deleted() == {"Task/tb"}

    def test_who_joins_a_group_is_exported_whole(self, api: Api) -> None:
        hospital(api)
        put(api, group(member("Patient/a")))
        time = export(api, "Group/g/$export").manifest()["transactionTime"]
        put(api, group(member("Patient/a"), member("Patient/b")))
        records = set(export(api, f"Group/g/$export?_since={time}").records())
        assert records >= OF_B
        assert not OF_A & records
        put(api, group(member("Patient/b")))
        api.delete("Task/ta")
        api.delete("Task/tb")
        assert export(api, f"Group/g/$export?_since={time}").deleted() == {"Task/tb"}


def test_a_file_that_is_attached_has_a_whole_address(api: Api) -> None:
    hospital(api)
    document = simple(
        "DocumentReference",
        "d",
        status="current",
        subject={"reference": "Patient/a"},
        content=[{"attachment": {"contentType": "text/plain", "url": "Binary/secret"}}],
    )
    put(api, document, simple("Binary", "secret", contentType="text/plain", data="QQ=="))
    records = export(api, "Patient/$export").records()
    attachment = records["DocumentReference/d"]["content"][0]["attachment"]
    assert attachment["url"] == "http://localhost/fhir/Binary/secret"
    assert "Binary/secret" not in records


def test_records_that_break_rules_belong_to_their_patient(api: Api) -> None:
    hospital(api)
    odd = observation("odd", "a", performer="nobody", effectiveDateTime=7)
    from fhir_coprod import jsontext
    from fhir_coprod.store.quality import Mark

    mark = (Mark("structure", "Observation.performer", "odd", "r4"),)
    api.store.write(lambda t: t.put(jsontext.from_data(odd), "odd", marks=mark))
    assert "Observation/odd" in export(api, "Patient/$export").records()
