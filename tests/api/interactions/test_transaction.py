"""Transaction and batch: https://hl7.org/fhir/R4/http.html#transaction, rule by rule."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import LimitSettings
from fhir_coprod.store.sqlite import SqliteDatabase
from tests.api.conftest import Api, identifier_of, outcome, patient


def bundle(*entries: Json, type: str = "transaction") -> Json:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def entry(method: str, url: str, resource: Json | None = None, full_url: str = "", **request: Any) -> Json:
    made: Json = {"request": {"method": method, "url": url, **request}}
    if resource:
        made["resource"] = resource
    if full_url:
        made["fullUrl"] = full_url
    return made


def observation(subject: str, **members: Any) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **members,
    }


def performed(api: Api, sent: Json, **headers: str) -> list[Json]:
    answer = api.post("", sent, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == f"{sent['type']}-response"
    entries: list[Json] = answer.json()["entry"]
    assert len(entries) == len(sent["entry"])
    return entries


def location(entry: Json) -> str:
    """Type/id of what an entry stored."""
    return str(entry["response"]["location"]).partition("/_history")[0]


def urn() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


class TestTransaction:
    def test_references_within_it_point_at_the_new_ids(self, api: Api) -> None:
        one, two = urn(), urn()
        found = performed(
            api,
            bundle(
                entry("POST", "Observation", observation(one, hasMember=[{"reference": two}]), urn()),
                entry("POST", "Patient", patient(), one),
                entry("POST", "Observation", observation(one), two),
            ),
        )
        assert [e["response"]["status"] for e in found] == ["201 Created"] * 3
        assert all(e["response"]["etag"] == 'W/"1"' and e["response"]["lastModified"] for e in found)
        stored = api.get(location(found[0])).json()
        assert stored["subject"]["reference"] == location(found[1])
        assert stored["hasMember"][0]["reference"] == location(found[2])

    def test_references_relative_to_a_foreign_full_url_follow_it(self, api: Api) -> None:
        home = "https://other.example/fhir"
        found = performed(
            api,
            bundle(
                entry("POST", "Patient", patient(), f"{home}/Patient/7"),
                entry("POST", "Observation", observation("Patient/7"), f"{home}/Observation/8"),
                entry("POST", "Observation", observation(f"{home}/Patient/7"), f"{home}/Observation/9"),
            ),
        )
        for each in found[1:]:
            assert api.get(location(each)).json()["subject"]["reference"] == location(found[0])

    def test_entries_run_in_the_order_of_the_specification(self, api: Api) -> None:
        old = api.create(patient())
        path = f"Patient/{old['id']}"
        other = api.create(patient())
        fresh = patient(id=f"t-{uuid.uuid4()}")
        found = performed(
            api,
            bundle(
                entry("GET", path),
                entry("GET", f"Patient?identifier={identifier_of(fresh)}"),
                entry("PUT", f"Patient/{fresh['id']}", fresh),
                entry("POST", "Patient", patient(), ifNoneExist=f"identifier={identifier_of(other)}"),
                entry("DELETE", path),
            ),
        )
        statuses = [e["response"]["status"][:3] for e in found]
        assert statuses == ["410", "200", "201", "200", "204"]
        assert found[1]["resource"]["total"] == 1
        assert found[0]["response"]["outcome"]["issue"][0]["code"] == "deleted"

    def test_one_fault_undoes_everything(self, api: Api) -> None:
        wanted, stored = patient(), api.create(patient())
        before = api.store.head()
        answer = api.post(
            "",
            bundle(
                entry("POST", "Patient", wanted),
                entry("PUT", f"Patient/{stored['id']}", {**stored, "birthDate": "1950"}, ifMatch='W/"7"'),
            ),
        )
        assert answer.status_code == 412
        assert outcome(answer)["expression"] == ["Bundle.entry[1]"]
        assert api.store.head() == before
        assert api.get(f"Patient?identifier={identifier_of(wanted)}").json()["total"] == 0

    def test_all_invalid_entries_are_named_at_once(self, api: Api) -> None:
        broken = patient(gender="f")
        answer = api.post(
            "",
            bundle(
                entry("POST", "Patient", broken),
                entry("POST", "Patient", patient()),
                entry("POST", "Patient", broken),
            ),
        )
        assert answer.status_code == 422
        places = [place for issue in answer.json()["issue"] for place in issue.get("expression", [])]
        assert "Bundle.entry[0].resource.gender" in places
        assert "Bundle.entry[2].resource.gender" in places
        assert not any("entry[1]" in place for place in places)

    def test_two_entries_on_one_resource_are_400(self, api: Api) -> None:
        stored = api.create(patient())
        put = entry("PUT", f"Patient/{stored['id']}", {**stored, "birthDate": "1950"})
        for second in (
            entry("DELETE", f"Patient/{stored['id']}"),
            entry("PUT", f"Patient?identifier={identifier_of(stored)}", {**stored, "birthDate": "1951"}),
            put,
        ):
            answer = api.post("", bundle(put, second))
            assert answer.status_code == 400
            assert "one resource" in outcome(answer)["diagnostics"]
        assert api.get(f"Patient/{stored['id']}").json() == stored

    def test_one_full_url_twice_is_400(self, api: Api) -> None:
        same = urn()
        answer = api.post(
            "", bundle(entry("POST", "Patient", patient(), same), entry("POST", "Patient", patient(), same))
        )
        assert answer.status_code == 400

    def test_conditional_create_that_finds_one_is_what_references_get(self, api: Api) -> None:
        stored, name = api.create(patient()), urn()
        found = performed(
            api,
            bundle(
                entry("POST", "Patient", patient(), name, ifNoneExist=f"identifier={identifier_of(stored)}"),
                entry("POST", "Observation", observation(name)),
            ),
        )
        assert found[0]["response"]["status"] == "200 OK"
        assert api.get(location(found[1])).json()["subject"]["reference"] == f"Patient/{stored['id']}"

    def test_identical_conditional_creates_store_one(self, api: Api) -> None:
        wanted, one, two = patient(), urn(), urn()
        condition = f"identifier={identifier_of(wanted)}"
        found = performed(
            api,
            bundle(
                entry("POST", "Patient", wanted, one, ifNoneExist=condition),
                entry("POST", "Patient", wanted, two, ifNoneExist=condition),
                entry("POST", "Observation", observation(two)),
            ),
        )
        assert [e["response"]["status"] for e in found] == ["201 Created", "200 OK", "201 Created"]
        assert location(found[0]) == location(found[1])
        assert api.get(location(found[2])).json()["subject"]["reference"] == location(found[0])
        assert api.get(f"Patient?{condition}").json()["total"] == 1

    def test_conditional_references_are_resolved(self, api: Api) -> None:
        stored = api.create(patient())
        query = f"Patient?identifier={identifier_of(stored)}"
        found = performed(api, bundle(entry("POST", "Observation", observation(query))))
        assert api.get(location(found[0])).json()["subject"]["reference"] == f"Patient/{stored['id']}"

    @pytest.mark.parametrize(
        ("reference", "status"),
        [
            ("Patient?identifier=urn:test|nobody", 412),
            ("Patient?birthdate=1912-12-12", 412),
            ("Nonsense?a=b", 400),
        ],
    )
    def test_conditional_references_that_find_none_or_several_undo_it(
        self, api: Api, reference: str, status: int
    ) -> None:
        api.create(patient())
        api.create(patient())
        answer = api.post("", bundle(entry("POST", "Observation", observation(reference))))
        assert answer.status_code == status
        assert outcome(answer)["expression"] == ["Bundle.entry[0]"]

    def test_patches_travel_as_binary(self, api: Api) -> None:
        stored = api.create(patient())
        patch = json.dumps([{"op": "replace", "path": "/birthDate", "value": "1960"}]).encode()
        binary = {
            "resourceType": "Binary",
            "contentType": "application/json-patch+json",
            "data": base64.b64encode(patch).decode(),
        }
        found = performed(api, bundle(entry("PATCH", f"Patient/{stored['id']}", binary)))
        assert found[0]["response"]["status"] == "200 OK"
        assert api.get(f"Patient/{stored['id']}").json()["birthDate"] == "1960"

    def test_number_lexemes_survive(self, api: Api) -> None:
        subject = urn()
        raw = json.dumps(
            bundle(
                entry("POST", "Observation", observation(subject, valueQuantity={"value": 19})),
                entry("POST", "Patient", patient(), subject),
            )
        )
        answer = api.post("", raw.replace('"value": 19', '"value": 19.00').encode())
        assert b"19.00" in api.get(location(answer.json()["entry"][0])).content

    def test_representation_is_given_when_asked_for(self, api: Api) -> None:
        sent = bundle(entry("POST", "Patient", patient()))
        assert "resource" not in performed(api, sent)[0]
        assert performed(api, sent, Prefer="return=representation")[0]["resource"]["id"]

    def test_empty_one_does_nothing(self, api: Api) -> None:
        answer = api.post("", {"resourceType": "Bundle", "type": "transaction"})
        assert (answer.status_code, answer.json()) == (
            200,
            {"resourceType": "Bundle", "type": "transaction-response"},
        )

    def test_more_entries_than_the_limit_are_413(self, api: Api) -> None:
        assert api.post("", bundle(*[entry("GET", "metadata")] * 201)).status_code == 413

    @pytest.mark.parametrize(
        "bad",
        [
            entry("POST", ""),
            entry("POST", "Patient/$validate", {"resourceType": "Patient"}),
            entry("POST", "Patient"),
            entry("PUT", "Patient/a"),
            entry("POST", "Patient", {"resourceType": "Observation"}),
            entry("PUT", "Patient/a", {"resourceType": "Patient", "id": "b"}),
            entry("POST", "https://other.example/Patient", {"resourceType": "Patient"}),
            entry("MERGE", "Patient/a"),
            entry("PATCH", "Patient/a", {"resourceType": "Patient"}),
            entry("PATCH", "Patient/a", {"resourceType": "Parameters", "parameter": [{"name": "x"}]}),
            entry("GET", "Patient?name=%ff"),
        ],
        ids=str,
    )
    def test_entries_that_mean_nothing_are_400(self, api: Api, bad: Json) -> None:
        answer = api.post("", bundle(bad))
        assert answer.status_code == 400, answer.text
        assert outcome(answer)["expression"][0].startswith("Bundle.entry[0]")

    def test_parallel_transactions_with_the_same_conditional_create_store_one(self, api: Api) -> None:
        wanted = patient()
        sent = bundle(entry("POST", "Patient", wanted, ifNoneExist=f"identifier={identifier_of(wanted)}"))
        options = {"json": sent, "headers": {"content-type": "application/fhir+json"}}
        answers = api.together(*[("POST", "", options)] * 16)
        places = {location(answer.json()["entry"][0]) for answer in answers}
        assert len(places) == 1


class TestBatch:
    def test_entries_are_independent(self, api: Api) -> None:
        stored = api.create(patient())
        found = performed(
            api,
            bundle(
                entry("POST", "Patient", patient()),
                entry("POST", "Patient", patient(gender="f")),
                entry("GET", f"Patient/{stored['id']}"),
                entry("GET", "Patient/absent"),
                entry("DELETE", "Nonsense/1"),
                entry("PUT", f"Patient/{stored['id']}", {**stored, "birthDate": "1970"}, ifMatch='W/"1"'),
                entry("GET", f"Patient/{stored['id']}", ifNoneMatch='W/"2"'),
                entry("POST", "Patient/$validate", patient(gender="f")),
                entry("GET", "metadata"),
                type="batch",
            ),
        )
        statuses = [e["response"]["status"][:3] for e in found]
        assert statuses == ["201", "422", "200", "404", "404", "200", "304", "200", "200"]
        assert found[2]["resource"]["birthDate"] == "1970"
        for failed in (found[1], found[3], found[4]):
            assert failed["response"]["outcome"]["issue"][0]["diagnostics"]
        assert found[8]["resource"]["resourceType"] == "CapabilityStatement"

    def test_a_batch_in_a_batch_is_refused(self, api: Api) -> None:
        inner = bundle(type="batch")
        found = performed(api, bundle(entry("POST", "", inner), type="batch"))
        assert found[0]["response"]["status"][:3] == "400"

    def test_hundreds_of_entries_share_commits(self, api: Api) -> None:
        found = performed(
            api, bundle(*[entry("POST", "Patient", patient()) for _ in range(200)], type="batch")
        )
        assert {e["response"]["status"] for e in found} == {"201 Created"}
        assert len({location(e) for e in found}) == 200


class TestAnswerSize:
    """The answers to a bundle's entries are bounded together: what fits is given, the rest refused."""

    @pytest.mark.parametrize("type", ["batch", "transaction"])
    def test_entries_that_would_make_the_answer_too_large_are_refused_each(
        self, sqlite_api: Callable[..., Api], type: str
    ) -> None:
        api = sqlite_api(limits=LimitSettings(answer_bytes=100_000))
        stored = api.create(patient(name=[{"text": "x" * 8_000}]))
        reads = [entry("GET", f"Patient/{stored['id']}") for _ in range(200)]
        writing = entry("POST", "Patient", patient())
        found = performed(api, bundle(*reads, writing, type=type))
        statuses = [each["response"]["status"][:3] for each in found]
        assert statuses[-1] == "201"
        given = statuses[:-1].count("200")
        assert 8 <= given <= 12
        assert statuses[:-1].count("413") == 200 - given
        refused = next(each for each in found if each["response"]["status"].startswith("413"))
        assert "another bundle" in refused["response"]["outcome"]["issue"][0]["diagnostics"]

    def test_what_has_no_room_is_not_even_read(
        self, sqlite_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api = sqlite_api(limits=LimitSettings(answer_bytes=10_000))
        api.create(patient(name=[{"text": "x" * 8_000}]))
        asked: list[object] = []
        search = api.store.search
        monkeypatch.setattr(api.store, "search", lambda query: asked.append(query) or search(query))
        performed(api, bundle(*[entry("GET", "Patient?_count=10") for _ in range(500)], type="batch"))
        assert len(asked) < 12


class TestFaultsOfOurs:
    """What fails in one entry of a batch is told there, and the other entries are answered."""

    def test_an_entry_that_fails_leaves_the_others_alone(
        self,
        sqlite_api: Callable[..., Api],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        api = sqlite_api()

        def fail(*_: object) -> None:
            raise KeyError("Tolvan Tolvansson")

        monkeypatch.setattr(api.store, "search", fail)
        sent = bundle(entry("GET", "Patient?name=x"), entry("POST", "Patient", patient()), type="batch")
        found = performed(api, sent)
        assert [each["response"]["status"][:3] for each in found] == ["500", "201"]
        assert "incident" in found[0]["response"]["outcome"]["issue"][0]["diagnostics"]
        assert "Tolvan" not in str(found) + caplog.text

    def test_a_store_that_is_gone_is_not_named(
        self, sqlite_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api = sqlite_api()

        def gone(*_: object) -> None:
            raise ConfigError("sqlite:////home/clinic/secret.db is gone")

        monkeypatch.setattr(api.store, "search", gone)
        found = performed(api, bundle(entry("GET", "Patient?name=x"), type="batch"))
        assert found[0]["response"]["status"].startswith("503")
        assert "secret" not in str(found)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What writers ask an SQLite store; begins with the first store that is opened after it."""
    asked: list[str] = []
    connect = SqliteDatabase._connect_writer

    def watched(self: SqliteDatabase) -> sqlite3.Connection:
        connection = connect(self)
        connection.set_trace_callback(lambda sql: asked.append(sql) if sql.startswith("SELECT") else None)
        return connection

    monkeypatch.setattr(SqliteDatabase, "_connect_writer", watched)
    return asked


def test_a_transaction_asks_the_store_no_more_often_when_it_has_more_entries(
    questions: list[str], sqlite_api: Callable[..., Api]
) -> None:
    api = sqlite_api()

    def asked(count: int) -> int:
        entries = [
            *(entry("POST", "Patient", patient(), f"urn:uuid:{uuid.uuid4()}") for _ in range(count)),
            *(entry("PUT", f"Patient/a{n}", patient(id=f"a{n}")) for n in range(count)),
        ]
        questions.clear()
        assert api.post("", bundle(*entries)).status_code == 200
        return len(questions)

    asked(1)
    assert 0 < asked(3) == asked(60)


class TestOverlappingEntries:
    """https://hl7.org/fhir/R4/http.html#trules: DELETE, POST, PUT in this order, and no overlap."""

    @pytest.mark.parametrize("conditional", [True, False])
    def test_a_conditional_create_of_what_is_deleted_beside_it_makes_a_new_one(
        self, api: Api, conditional: bool
    ) -> None:
        old = api.create(patient())
        criteria = f"identifier={identifier_of(old)}"
        here = f"urn:uuid:{uuid.uuid4()}"
        wanted = patient(identifier=old["identifier"])
        basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": here}}
        answer = api.post(
            "",
            bundle(
                entry("POST", "Basic", basic),
                entry("POST", "Patient", wanted, here, ifNoneExist=criteria),
                entry("DELETE", f"Patient?{criteria}" if conditional else f"Patient/{old['id']}"),
            ),
        )
        statuses = [each["response"]["status"][:3] for each in answer.json()["entry"]]
        assert statuses == ["201", "201", "204"]
        assert api.get(f"Patient/{old['id']}").status_code == 410
        [left] = api.get(f"Patient?{criteria}").json()["entry"]
        stored = api.get(answer.json()["entry"][0]["response"]["location"].partition("/_history")[0]).json()
        assert stored["subject"]["reference"] == f"Patient/{left['resource']['id']}"

    @pytest.mark.parametrize("methods", [("PUT", "PUT"), ("POST", "PUT"), ("PUT", "POST")])
    def test_two_entries_that_would_each_make_what_one_criterion_names_are_400(
        self, api: Api, methods: tuple[str, str]
    ) -> None:
        wanted = patient()
        criteria = f"identifier={identifier_of(wanted)}"
        entries = [
            entry("PUT", f"Patient?{criteria}", wanted)
            if method == "PUT"
            else entry("POST", "Patient", wanted, ifNoneExist=criteria)
            for method in methods
        ]
        answer = api.post("", bundle(*entries))
        assert answer.status_code == 400
        assert "about one resource" in outcome(answer)["diagnostics"]
        assert api.get(f"Patient?{criteria}").json()["total"] == 0

    def test_history_of_the_system_may_be_read_in_a_transaction(self, api: Api) -> None:
        answer = api.post("", bundle(entry("GET", "_history?_count=1")))
        assert answer.json()["entry"][0]["resource"]["type"] == "history"

    def test_if_modified_since_of_an_entry_is_an_instant(self, api: Api) -> None:
        stored = api.create(patient())
        place = f"Patient/{stored['id']}"
        for moment, status in (("2999-01-01T00:00:00Z", "304"), ("1999-01-01T00:00:00+01:00", "200")):
            answer = api.post("", bundle(entry("GET", place, ifModifiedSince=moment), type="batch"))
            assert answer.json()["entry"][0]["response"]["status"].startswith(status)
        updated = datetime.fromisoformat(stored["meta"]["lastUpdated"])
        for before, status in ((timedelta(0), "304"), (timedelta(milliseconds=1), "200")):
            moment = (updated - before).isoformat(timespec="milliseconds")
            answer = api.post("", bundle(entry("GET", place, ifModifiedSince=moment), type="batch"))
            assert answer.json()["entry"][0]["response"]["status"].startswith(status)
        answer = api.post("", bundle(entry("GET", place, ifModifiedSince="yesterday"), type="batch"))
        assert answer.json()["entry"][0]["response"]["status"].startswith("400")


@pytest.mark.parametrize("size", [100_000])
def test_links_in_a_narrative_are_found_in_time_that_follows_its_length(api: Api, size: int) -> None:
    here = f"urn:uuid:{uuid.uuid4()}"
    comment = "<!-- " + "<a " * (size // 3) + "- -->"
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{comment}<a href="{here}">me</a></div>'
    wanted = patient(text={"status": "generated", "div": div})
    began = time.perf_counter()
    answer = api.post("", bundle(entry("POST", "Patient", wanted, here)))
    assert answer.status_code == 200, answer.text
    assert time.perf_counter() - began < 5
    place = answer.json()["entry"][0]["response"]["location"].partition("/_history")[0]
    id = place.rpartition("/")[2]
    assert f'href="Patient/{id}"' in api.get(place).json()["text"]["div"]
