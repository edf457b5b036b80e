"""Status rules of https://hl7.org/fhir/R4/http.html: read, vread, create, update, delete and history."""

from __future__ import annotations

import gzip
from email.utils import parsedate_to_datetime

import pytest

from tests.api.conftest import Api, identifier_of, outcome, patient

OBSERVATION = (
    b'{"resourceType":"Observation","status":"final","code":{"text":"a"},"valueQuantity":{"value":1.50}}'
)


def test_create_answers_with_id_version_and_place(api: Api) -> None:
    answer = api.post("Patient", patient(id="chosen-by-client"))
    stored = answer.json()
    assert answer.status_code == 201
    assert stored["id"] != "chosen-by-client"
    assert stored["meta"]["versionId"] == "1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["location"] == f"http://localhost/fhir/Patient/{stored['id']}/_history/1"
    modified = parsedate_to_datetime(answer.headers["last-modified"])
    assert stored["meta"]["lastUpdated"].startswith(modified.strftime("%Y-%m-%dT%H:%M:%S"))


def test_read_gives_the_bytes_that_were_stored(api: Api) -> None:
    raw = (
        b'{"resourceType":"Observation","status":"final", "code": {"text":"x"},'
        b'"valueQuantity":{"value":19.00},"_effectiveDateTime":{"extension":[{"url":"http://a.b/c","valueString":"x"}]}}'
    )
    created = api.post("Observation", raw)
    assert created.status_code == 201, created.text
    read = api.get(f"Observation/{created.json()['id']}")
    assert read.status_code == 200
    assert read.content == created.content
    assert b'"valueQuantity":{"value":19.00}' in read.content
    assert b'"code": {"text":"x"}' in read.content


def test_head_is_a_read_without_the_body(api: Api) -> None:
    stored = api.create(patient())
    whole, head = api.get(f"Patient/{stored['id']}"), api.request("HEAD", f"Patient/{stored['id']}")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["etag"] == whole.headers["etag"]


def test_update_makes_a_version_and_vread_gives_the_old_one(api: Api) -> None:
    first = api.create(patient())
    answer = api.put(f"Patient/{first['id']}", {**first, "birthDate": "1913-01-01"})
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.json()["meta"]["lastUpdated"] > first["meta"]["lastUpdated"]
    assert api.get(f"Patient/{first['id']}/_history/1").json() == first
    assert api.get(f"Patient/{first['id']}/_history/2").content == answer.content


def test_unchanged_resource_makes_no_version(api: Api) -> None:
    first = api.create(patient())
    answer = api.put(f"Patient/{first['id']}", first)
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')
    assert len(api.get(f"Patient/{first['id']}/_history").json()["entry"]) == 1


def test_update_under_a_new_id_creates(api: Api) -> None:
    fresh = patient(id="mine." + patient()["identifier"][0]["value"][:20])
    answer = api.put(f"Patient/{fresh['id']}", fresh)
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/Patient/{fresh['id']}/_history/1")


def test_deleted_is_gone_until_it_is_written_again(api: Api) -> None:
    stored = api.create(patient())
    path = f"Patient/{stored['id']}"
    deletion = api.delete(path)
    assert (deletion.status_code, deletion.content) == (204, b"")
    assert deletion.headers["etag"] == 'W/"2"'
    assert api.get(path).status_code == 410
    assert outcome(api.get(path))["code"] == "deleted"
    assert api.get(f"{path}/_history/1").status_code == 200
    assert api.get(f"{path}/_history/2").status_code == 410
    assert api.get(f"Patient?identifier={identifier_of(stored)}").json()["total"] == 0
    assert api.delete(path).status_code == 204
    revived = api.put(path, stored)
    assert (revived.status_code, revived.headers["etag"]) == (201, 'W/"3"')
    methods = [entry["request"]["method"] for entry in api.get(f"{path}/_history").json()["entry"]]
    assert methods == ["PUT", "DELETE", "POST"]


def test_deleting_what_never_was_is_no_error(api: Api) -> None:
    assert api.delete("Patient/never-was").status_code == 204


def test_history_of_a_deleted_resource_has_no_body_for_the_deletion(api: Api) -> None:
    stored = api.create(patient())
    api.delete(f"Patient/{stored['id']}")
    newest, oldest = api.get(f"Patient/{stored['id']}/_history").json()["entry"]
    assert "resource" not in newest
    assert newest["response"]["status"].startswith("204")
    assert oldest["resource"] == stored
    assert oldest["response"]["etag"] == 'W/"1"'


@pytest.mark.parametrize("place", ["Basic/{id}/_history", "Basic/_history", "_history"])
def test_history_pages_without_skipping_or_repeating(api: Api, place: str) -> None:
    code = {"code": {"text": "paged"}}
    id = api.create({"resourceType": "Basic", **code})["id"]
    for n in range(6):
        api.put(f"Basic/{id}", {"resourceType": "Basic", "id": id, "code": {"text": f"paged {n}"}})
    seen: list[tuple[str, str]] = []
    url: str | None = place.format(id=id) + "?_count=2"
    while url and len(seen) < 7:
        page = api.get(url).json()
        assert len(page["entry"]) <= 2
        seen += [
            (e["resource"]["id"], e["resource"]["meta"]["versionId"])
            for e in page["entry"]
            if "resource" in e
        ]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert seen[:7] == [(id, str(n)) for n in range(7, 0, -1)]


def test_history_since_leaves_out_what_is_older(api: Api) -> None:
    first = api.create(patient())
    second = api.put(f"Patient/{first['id']}", {**first, "birthDate": "1913"}).json()
    since = second["meta"]["lastUpdated"]
    entries = api.get(f"Patient/{first['id']}/_history?_since={since}").json()["entry"]
    assert [entry["resource"]["meta"]["versionId"] for entry in entries] == ["2"]


class TestConditionalRead:
    def test_known_etag_is_304_without_a_body(self, api: Api) -> None:
        stored = api.create(patient())
        for tag in ('W/"1"', '"1"', 'W/"7", W/"1"', "1", "*"):
            answer = api.get(f"Patient/{stored['id']}", If_None_Match=tag)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == 'W/"1"'

    def test_other_etag_is_200(self, api: Api) -> None:
        stored = api.create(patient())
        assert api.get(f"Patient/{stored['id']}", If_None_Match='W/"2"').status_code == 200

    def test_not_modified_since_its_own_last_modified(self, api: Api) -> None:
        stored = api.create(patient())
        when = api.get(f"Patient/{stored['id']}").headers["last-modified"]
        assert api.get(f"Patient/{stored['id']}", If_Modified_Since=when).status_code == 304
        before = "Mon, 01 Jan 2001 00:00:00 GMT"
        assert api.get(f"Patient/{stored['id']}", If_Modified_Since=before).status_code == 200

    def test_etag_goes_before_the_date(self, api: Api) -> None:
        stored = api.create(patient())
        when = api.get(f"Patient/{stored['id']}").headers["last-modified"]
        answer = api.get(f"Patient/{stored['id']}", If_None_Match='W/"9"', If_Modified_Since=when)
        assert answer.status_code == 200

    def test_malformed_date_is_ignored(self, api: Api) -> None:
        stored = api.create(patient())
        assert api.get(f"Patient/{stored['id']}", If_Modified_Since="yesterday").status_code == 200


class TestIfMatch:
    def test_newest_version_is_accepted(self, api: Api) -> None:
        stored = api.create(patient())
        changed = {**stored, "birthDate": "1914"}
        assert api.put(f"Patient/{stored['id']}", changed, If_Match='W/"1"').status_code == 200
        assert (
            api.put(f"Patient/{stored['id']}", {**changed, "birthDate": "1915"}, If_Match="*").status_code
            == 200
        )

    @pytest.mark.parametrize("tag", ['W/"2"', 'W/"0"', 'W/"abc"', '"9999999999999999999999"'])
    def test_any_other_is_412_and_changes_nothing(self, api: Api, tag: str) -> None:
        stored = api.create(patient())
        path = f"Patient/{stored['id']}"
        assert api.put(path, {**stored, "birthDate": "1914"}, If_Match=tag).status_code == 412
        assert api.delete(path, If_Match=tag).status_code == 412
        replacement = [{"op": "replace", "path": "/birthDate", "value": "1914"}]
        refused = api.patch(path, replacement, If_Match=tag)
        assert refused.status_code == 412
        assert "read it again" in outcome(refused)["diagnostics"]
        assert api.get(path).json() == stored

    @pytest.mark.parametrize("tag", ["1", "W/1", 'W/"1', '"1" "2"'])
    def test_malformed_is_400(self, api: Api, tag: str) -> None:
        stored = api.create(patient())
        answer = api.put(f"Patient/{stored['id']}", stored, If_Match=tag)
        assert answer.status_code == 400
        assert 'W/"' in outcome(answer)["diagnostics"]

    def test_without_a_resource_is_412(self, api: Api) -> None:
        fresh = patient(id="if-match-on-nothing")
        assert api.put("Patient/if-match-on-nothing", fresh, If_Match="*").status_code == 412

    def test_one_winner_among_parallel_updates(self, api: Api) -> None:
        stored = api.create(patient())
        options = [
            {
                "json": {**stored, "birthDate": f"19{n}"},
                "headers": {"if-match": 'W/"1"', "content-type": "application/fhir+json"},
            }
            for n in range(20, 40)
        ]
        answers = api.together(*(("PUT", f"Patient/{stored['id']}", each) for each in options))
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19

    def test_if_none_match_star_only_creates(self, api: Api) -> None:
        fresh = patient(id="only-once-" + patient()["identifier"][0]["value"][:8])
        assert api.put(f"Patient/{fresh['id']}", fresh, If_None_Match="*").status_code == 201
        assert api.put(f"Patient/{fresh['id']}", fresh, If_None_Match="*").status_code == 412


class TestPrefer:
    def test_minimal_sends_no_body(self, api: Api) -> None:
        answer = api.post("Patient", patient(), Prefer="return=minimal")
        assert (answer.status_code, answer.content) == (201, b"")
        assert answer.headers["location"]
        assert answer.headers["etag"] == 'W/"1"'

    def test_outcome_says_what_happened(self, api: Api) -> None:
        answer = api.post("Patient", patient(), Prefer="return=OperationOutcome")
        assert answer.status_code == 201
        assert outcome(answer)["severity"] == "information"
        stored = api.create(patient())
        assert outcome(api.delete(f"Patient/{stored['id']}", Prefer="return=OperationOutcome"))

    def test_strict_refuses_unknown_parameters_and_lenient_tells(self, api: Api) -> None:
        refused = api.get("Patient?colour=blue&birthdate=1912-12-12", Prefer="handling=strict")
        assert refused.status_code == 400
        lenient = api.get("Patient?colour=blue&birthdate=1912-12-12", Prefer="handling=lenient").json()
        link = next(link["url"] for link in lenient["link"] if link["relation"] == "self")
        assert "colour" not in link
        assert "birthdate=1912-12-12" in link
        told = [entry for entry in lenient["entry"] if entry["search"]["mode"] == "outcome"]
        assert "colour" in told[0]["resource"]["issue"][0]["diagnostics"]


class TestForm:
    def test_pretty_is_the_same_json_on_several_lines(self, api: Api) -> None:
        stored = api.post("Observation", OBSERVATION).json()
        answer = api.get(f"Observation/{stored['id']}?_pretty=true")
        assert answer.json() == stored
        assert b'\n  "id"' in answer.content
        assert b"1.50" in answer.content

    def test_gzip_when_the_caller_takes_it(self, api: Api) -> None:
        stored = api.create(patient(name=[{"text": "x" * 4000}]))
        answer = api.get(f"Patient/{stored['id']}", Accept_Encoding="gzip")
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json() == stored
        assert (
            "content-encoding" not in api.get(f"Patient/{stored['id']}", Accept_Encoding="identity").headers
        )

    def test_gzip_bodies_are_taken(self, api: Api) -> None:
        import json

        packed = gzip.compress(json.dumps(patient()).encode())
        assert api.post("Patient", packed, Content_Encoding="gzip").status_code == 201

    def test_generic_json_is_answered_as_such(self, api: Api) -> None:
        stored = api.create(patient())
        answer = api.get(f"Patient/{stored['id']}", Accept="application/json")
        assert answer.headers["content-type"] == "application/json; charset=utf-8"

    @pytest.mark.parametrize("summary", ["true", "text", "data", "false"])
    def test_summary_marks_what_lost_something(self, api: Api, summary: str) -> None:
        text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
        stored = api.create(patient(text=text, contact=[{"name": {"text": "c"}}], active=True))
        shown = api.get(f"Patient/{stored['id']}?_summary={summary}").json()
        tags = [tag["code"] for tag in shown["meta"].get("tag", [])]
        assert ("SUBSETTED" in tags) == (summary != "false")
        assert ("text" in shown) == (summary in ("text", "false"))
        assert ("contact" in shown) == (summary in ("data", "false"))
        assert ("birthDate" in shown) == (summary != "text")
        assert shown["id"] == stored["id"]

    def test_elements_keep_what_is_named_and_what_is_mandatory(self, api: Api) -> None:
        raw = OBSERVATION[:-1] + b',"note":[{"text":"n"}]}'
        stored = api.post("Observation", raw).json()
        answer = api.get(f"Observation?_id={stored['id']}&_elements=value")
        shown = answer.json()["entry"][0]["resource"]
        assert set(shown) == {"resourceType", "id", "meta", "status", "code", "valueQuantity"}
        assert b"1.50" in answer.content
        refused = api.put(f"Observation/{stored['id']}", shown)
        assert refused.status_code == 422
        assert "SUBSETTED" in outcome(refused)["diagnostics"]
