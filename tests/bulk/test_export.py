"""`$export` of the whole system, and what all exports have in common."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fhir_coprod.api.formats import from_http_date
from tests.api.conftest import Api, outcome, patient
from tests.bulk.conftest import Make
from tests.bulk.exports import LATER, Export, export, export_by_post


def observation(id: str, of: str, **members: object) -> dict[str, object]:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    subject = {"reference": f"Patient/{of}"}
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": code,
        "subject": subject,
        **members,
    }


def put(api: Api, *resources: dict[str, object]) -> None:
    for resource in resources:
        answer = api.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code in (200, 201), answer.text


class TestEverything:
    def test_is_exported_as_it_is_read(self, api: Api) -> None:
        put(api, patient(id="a"), patient(id="b"), observation("o", "a"))
        api.delete("Patient/b")
        found = export(api)
        records = found.records()
        assert set(records) == {"Patient/a", "Observation/o"}
        for name, record in records.items():
            assert record == api.get(name).json()
        manifest = found.manifest()
        assert manifest["request"] == "http://localhost/fhir/$export"
        assert manifest["requiresAccessToken"] is False
        assert (manifest["deleted"], manifest["error"]) == ([], [])
        expires = from_http_date(found.wait().headers["expires"])
        assert expires is not None

    def test_takes_one_line_each_however_it_was_sent(self, api: Api) -> None:
        text = json.dumps(patient(id="a", name=[{"family": "Å\u2028\\n"}]), indent=2).encode()
        assert api.put("Patient/a", text).status_code == 201
        assert set(export(api).records()) == {"Patient/a"}

    def test_an_empty_store_has_no_files(self, api: Api) -> None:
        manifest = export(api).manifest()
        assert manifest["output"] == []
        assert manifest["transactionTime"]

    def test_is_packed_if_asked_for_and_comes_in_parts(self, api: Api) -> None:
        put(api, *(patient(id=f"p{n}") for n in range(30)))
        url = export(api).manifest()["output"][0]["url"]
        whole = api.request("GET", url, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in whole.headers
        packed = api.request("GET", url, headers={"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == whole.content
        size = len(whole.content)
        for asked, part in (
            ("bytes=0-9", whole.content[:10]),
            (f"bytes={size - 5}-", whole.content[-5:]),
            ("bytes=-7", whole.content[-7:]),
            (f"bytes=3-{size * 2}", whole.content[3:]),
        ):
            answer = api.request("GET", url, headers={"range": asked})
            assert (answer.status_code, answer.content) == (206, part)
        assert api.request("GET", url, headers={"range": f"bytes={size}-"}).status_code == 416
        head = api.request("HEAD", url, headers={"accept-encoding": "identity"})
        assert (head.headers["content-length"], head.content) == (str(size), b"")

    def test_deletes_are_followed_by_nothing(self, api: Api, tmp_path: Path) -> None:
        put(api, patient(id="a"))
        found = export(api)
        url = found.manifest()["output"][0]["url"]
        assert list((tmp_path / "bulk").rglob("*.ndjson"))
        assert api.delete(found.place).status_code == 202
        for gone in (found.place, url):
            assert api.get(gone).status_code == 404
        assert api.delete(found.place).status_code == 404
        assert not list((tmp_path / "bulk").rglob("*.ndjson"))


class TestSince:
    def test_gives_what_has_changed_and_what_was_deleted(self, api: Api) -> None:
        put(api, patient(id="a"), patient(id="b"), patient(id="c"), patient(id="d"))
        time = export(api).manifest()["transactionTime"]
        assert export(api, f"$export?_since={time}").manifest()["output"] == []
        put(api, patient(id="b"), patient(id="e"))
        api.delete("Patient/c")
        api.delete("Patient/d")
        put(api, patient(id="d"))
        found = export(api, f"$export?_since={time}")
        assert set(found.records()) == {"Patient/b", "Patient/d", "Patient/e"}
        assert found.deleted() == {"Patient/c"}
        later = export(api, f"$export?_since={found.manifest()['transactionTime']}")
        assert (later.records(), later.deleted()) == ({}, set())

    def test_until_leaves_out_what_changed_later(self, api: Api) -> None:
        put(api, patient(id="a"), patient(id="b"))
        put(api, patient(id="b"))
        time = api.get("Patient/b").json()["meta"]["lastUpdated"]
        assert set(export(api, f"$export?_until={time}").records()) == {"Patient/a"}

    def test_a_time_that_is_none_is_refused(self, api: Api) -> None:
        assert outcome(api.get("$export?_since=yesterday", **LATER))["code"] == "invalid"


class TestTypesAndFilters:
    def test_only_types_that_are_asked_for(self, api: Api) -> None:
        put(api, patient(id="a"), observation("o", "a"))
        assert set(export(api, "$export?_type=Observation").records()) == {"Observation/o"}
        both = export(api, "$export?_type=Observation&_type=Patient,Task")
        assert set(both.records()) == {"Observation/o", "Patient/a"}

    def test_a_type_that_r4_lacks_is_refused_or_told(self, api: Api) -> None:
        put(api, patient(id="a"))
        assert api.get("$export?_type=Patient,Unicorn", **LATER).status_code == 400
        lenient = export(api, "$export?_type=Patient,Unicorn", Prefer="respond-async, handling=lenient")
        assert set(lenient.records()) == {"Patient/a"}
        assert any("Unicorn" in told for told in lenient.told())

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("_typeFilter=Observation%3Fstatus%3Dfinal", {"o1"}),
            ("_typeFilter=Observation%3Fstatus%3Dfinal,Observation%3Fstatus%3Damended", {"o1", "o2"}),
            (
                "_typeFilter=Observation%3Fstatus%3Dfinal&_typeFilter=Observation%3Fstatus%3Damended",
                {"o1", "o2"},
            ),
            ("_typeFilter=Observation%3Fstatus%3Dfinal,amended", {"o1", "o2"}),
            ("_typeFilter=Observation%3Fstatus%3Dfinal%26date%3Dgt2024", set()),
            ("_typeFilter=Observation%3Fdate%3Dgt2019-12", {"o1", "o3"}),
            ("_typeFilter=Observation%3Fstatus:not%3Dfinal", {"o2", "o3"}),
            ("_typeFilter=Observation%3Fsubject%3DPatient/b", {"o3"}),
            ("_typeFilter=Observation%3Fcode%3Dhttp://loinc.org|8867-4%26_id%3Do3", {"o3"}),
            ("_typeFilter=Patient%3F_id%3Dnobody", {"o1", "o2", "o3"}),
        ],
    )
    def test_type_filters(self, api: Api, query: str, expected: set[str]) -> None:
        put(
            api,
            patient(id="a"),
            patient(id="b"),
            observation("o1", "a", effectiveDateTime="2020-02-02"),
            observation("o2", "a", status="amended", effectiveDateTime="2019-02-02"),
            observation("o3", "b", status="preliminary", effectiveDateTime="2021-02-02"),
        )
        records = export(api, f"$export?_type=Observation,Patient&{query}").records()
        assert {name.partition("/")[2] for name in records if name.startswith("Obs")} == expected

    @pytest.mark.parametrize(
        "filter",
        [
            "Observation?nonsense=1",
            "Observation?_sort=date",
            "Observation?_include=Observation:subject",
            "Observation?subject.name=x",
            "Observation?_has:Provenance:target:agent=x",
            "Observation?date=nonsense",
            "Condition?code=x",
            "status=final",
            "?status=final",
        ],
    )
    def test_filters_that_cannot_be_used_are_refused_or_told(self, api: Api, filter: str) -> None:
        url = httpx_url("$export", _type="Observation", _typeFilter=filter)
        refused = api.get(url, **LATER)
        assert refused.status_code == 400
        assert outcome(refused)["severity"] == "error"
        lenient = export(api, url, Prefer="respond-async, handling=lenient")
        assert len(lenient.told()) == 1

    def test_elements_cut_and_say_so(self, api: Api) -> None:
        put(api, patient(id="a", name=[{"family": "A"}]), observation("o", "a"))
        records = export(api, "$export?_elements=Patient.birthDate").records()
        assert "name" not in records["Patient/a"]
        assert records["Patient/a"]["birthDate"]
        assert records["Patient/a"]["meta"]["tag"][0]["code"] == "SUBSETTED"
        assert records["Observation/o"] == api.get("Observation/o").json()
        all_of_it = export(api, "$export?_elements=id").records()["Observation/o"]
        assert set(all_of_it) == {"resourceType", "id", "meta", "status", "code"}
        assert api.get("$export?_elements=name.family", **LATER).status_code == 400


class TestWhatIsAsked:
    @pytest.mark.parametrize("form", ["ndjson", "application/ndjson", "application/fhir+ndjson"])
    def test_ndjson_by_each_of_its_names(self, api: Api, form: str) -> None:
        assert export(api, f"$export?_outputFormat={form}").manifest()["output"] == []

    @pytest.mark.parametrize(
        "query",
        [
            "_outputFormat=text/csv",
            "includeAssociatedData=LatestProvenanceResources",
            "organizeOutputBy=Patient",
            "nonsense=1",
            "patient=Patient/a",
            "_since=2020-01-01T00:00:00Z&_since=2021-01-01T00:00:00Z",
        ],
    )
    def test_what_is_not_supported_is_refused(self, api: Api, query: str) -> None:
        answer = api.get(f"$export?{query}", **LATER)
        assert answer.status_code == 400
        assert outcome(answer)["severity"] == "error"

    def test_lenient_goes_on_and_tells(self, api: Api) -> None:
        found = export(api, "$export?nonsense=1&includeAssociatedData=x", Prefer="handling=lenient")
        assert len(found.told()) == 2

    def test_parameters_by_post(self, api: Api) -> None:
        put(api, patient(id="a"), observation("o", "a"))
        found = export_by_post(
            api,
            "$export",
            {"name": "_type", "valueString": "Observation"},
            {"name": "_since", "valueInstant": "2020-01-01T00:00:00Z"},
        )
        assert set(found.records()) == {"Observation/o"}
        assert found.manifest()["request"] == "http://localhost/fhir/$export"
        assert api.post("$export", patient(id="a")).status_code == 400
        assert (
            api.post("$export", {"resourceType": "Parameters", "parameter": [{"name": "_type"}]}).status_code
            == 400
        )

    def test_a_batch_can_begin_one_and_cannot_fetch_files(self, api: Api) -> None:
        put(api, patient(id="a"))
        url = export(api).manifest()["output"][0]["url"].removeprefix("http://localhost/fhir/")
        entries = [{"request": {"method": "GET", "url": each}} for each in ("$export", url)]
        answer = api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
        assert [each["response"]["status"][:3] for each in answer["entry"]] == ["202", "400"]


class TestLimits:
    def test_one_client_has_so_many(self, make_api: Make) -> None:
        api = make_api({"jobs_per_client": 2})
        first = export(api)
        first.manifest()
        export(api)
        refused = api.get("$export", **LATER)
        assert refused.status_code == 429
        assert outcome(refused)["code"] == "throttled"
        assert refused.headers["retry-after"].isdecimal()
        api.delete(first.place)
        export(api).manifest()

    def test_none_where_they_are_switched_off(self, make_api: Make) -> None:
        assert make_api({"jobs": 0}).get("$export", **LATER).status_code == 400

    def test_files_expire_with_their_export(self, make_api: Make, tmp_path: Path) -> None:
        api = make_api({"hours": 0.000_05})
        put(api, patient(id="a"))
        found = export(api)
        for _ in range(400):
            if found.wait().status_code == 404:
                break
        else:
            raise AssertionError("it does not expire")
        export(api)
        assert len(list((tmp_path / "bulk").glob("*/*"))) <= 1

    @pytest.mark.parametrize(
        "name", ["..%2f..%2fcoprod.db", "../x.ndjson", "%00", "a" * 32 + ".ndjson", ".ndjson", "x" * 500]
    )
    def test_no_other_file_can_be_named(self, api: Api, name: str) -> None:
        found = export(api)
        found.manifest()
        assert api.get(f"{found.place}/{name}").status_code == 404


def test_two_workers_tell_the_same(make_api: Make) -> None:
    one, other = make_api(), make_api()
    put(one, patient(id="a"))
    found = export(one)
    found.manifest()
    there = Export.__new__(Export)
    there.api, there.place = other, found.place
    assert there.records() == found.records()
    assert other.delete(found.place).status_code == 202
    assert one.get(found.place).status_code == 404


def httpx_url(path: str, **query: str) -> str:
    from urllib.parse import urlencode

    return f"{path}?{urlencode(query)}"


def test_gzip_ends_well(api: Api) -> None:
    put(api, patient(id="a"))
    url = export(api).manifest()["output"][0]["url"]

    async def raw() -> bytes:
        async with api.http.stream("GET", url, headers={"accept-encoding": "gzip"}) as answer:
            return b"".join([piece async for piece in answer.aiter_raw()])

    assert json.loads(gzip.decompress(api._runner.run(raw())))["id"] == "a"
