"""What a search refuses, cuts, and looks at in a compartment, over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from fhir_coprod.jsontext import Json
from fhir_coprod.settings import LimitSettings, SiteSettings
from tests.api.conftest import Api, outcome, patient

FORM = {"content_type": "application/x-www-form-urlencoded"}


def observation(subject: Json, **members: Any) -> Json:
    reference = {"reference": f"{subject['resourceType']}/{subject['id']}"}
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": reference,
        **members,
    }


def keys(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    found = [entry["resource"] for entry in answer.json().get("entry", ())]
    return [f"{each['resourceType']}/{each['id']}" for each in found]


REFUSED = [
    "Observation?code:not-in=http://x",
    "Observation?code:in=",
    "Observation?code:below=http://x|y",
    "Observation?subject:below=x",
    "ValueSet?url:contains=zzz",
    "Patient?family:foo=x",
    "Patient?family:foo=x&_summary=count",
    "Observation?subject:Patient.family:foo=x",
    "Patient?_has:Observation:patient:code:foo=x",
    "Patient?_query=x",
    "Patient?_filter=name eq x",
    "Patient?_text=x",
    "Patient?_content=x",
    "Patient?_list=x",
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_would_change_what_is_found_is_refused_and_never_ignored(api: Api, url: str) -> None:
    for headers in ({}, {"prefer": "handling=lenient"}):
        answer = api.get(url, **headers)
        assert answer.status_code == 400
        assert outcome(answer)["code"] == "not-supported"
        assert "not supported" in outcome(answer)["diagnostics"]


def test_so_it_is_in_the_entries_of_a_batch(api: Api) -> None:
    entries = [{"request": {"method": "GET", "url": url}} for url in REFUSED]
    answer = api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
    assert {each["response"]["status"][:3] for each in answer["entry"]} == {"400"}


@pytest.mark.parametrize("cut", ["_elements=status", "_summary=text", "_summary=true"])
def test_what_is_included_stays_whole(api: Api, cut: str) -> None:
    subject = api.create(patient(name=[{"family": "Ek"}]))
    seen = api.create(observation(subject, note=[{"text": "long"}]))
    found = api.get(f"Observation?_id={seen['id']}&_include=Observation:subject&{cut}").json()["entry"]
    assert "note" not in found[0]["resource"]
    assert found[1]["resource"] == subject
    back = api.get(f"Patient?_id={subject['id']}&_revinclude=Observation:subject&{cut}").json()["entry"]
    assert back[1]["resource"] == seen


def test_an_element_that_there_is_not_is_told(api: Api) -> None:
    stored = api.create(patient())
    told = api.get(
        f"Patient?_id={stored['id']}&_elements=nosuch,name,deceased,deceasedBoolean,Patient.gender"
    )
    warnings = told.json()["entry"][-1]["resource"]["issue"]
    assert ["nosuch" in each["diagnostics"] for each in warnings] == [True]


def test_a_day_is_one_of_the_site(sqlite_api: Callable[..., Api]) -> None:
    api = sqlite_api(site=SiteSettings(timezone="Europe/Stockholm"))
    subject = api.create(patient())
    made = api.create(
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "subject": {"reference": f"Patient/{subject['id']}"},
            "authoredOn": "2024-05-01T00:00:00+02:00",
        }
    )
    for found in ("2024-05-01", "ge2024-05-01", "2024-05"):
        assert keys(api.get(f"ServiceRequest?authored={found}")) == [f"ServiceRequest/{made['id']}"]
    assert keys(api.get("ServiceRequest?authored=2024-04-30")) == []
    assert keys(api.get("Patient?birthdate=1912-12-12")) == [f"Patient/{subject['id']}"]


def test_open_alerts_are_found_by_the_search_that_the_docs_name(api: Api) -> None:
    subject = api.create(patient())
    stalled = api.create(
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "subject": {"reference": f"Patient/{subject['id']}"},
        }
    )
    system = "https://fhir-coprod.org/ig/CodeSystem/task-kind"
    kind = {"coding": [{"system": system, "code": "stall-followup"}]}
    focus = {"reference": f"ServiceRequest/{stalled['id']}"}
    task = {"resourceType": "Task", "intent": "order", "code": kind, "focus": focus}
    found = api.create({**task, "status": "requested"})
    api.create({**task, "status": "completed"})
    statuses = "requested,received,accepted,in-progress,on-hold"
    answer = api.get(f"Task?code=stall-followup&status={statuses}&_include=Task:focus")
    assert keys(answer) == [f"Task/{found['id']}", focus["reference"]]


class TestCompartment:
    def test_holds_what_leads_to_its_owner(self, api: Api) -> None:
        one, other = api.create(patient()), api.create(patient())
        mine = [api.create(observation(one)) for _ in range(3)]
        api.create(observation(other, performer=[{"reference": f"Patient/{other['id']}"}]))
        by_them = api.create(observation(other, performer=[{"reference": f"Patient/{one['id']}"}]))
        place = f"Patient/{one['id']}/Observation"
        expected = [f"Observation/{each['id']}" for each in (*mine, by_them)]
        assert keys(api.get(place)) == expected
        assert keys(api.post(f"{place}/_search", b"status=final", **FORM)) == expected
        assert keys(api.get(f"{place}?_id={mine[1]['id']}")) == [expected[1]]
        assert keys(api.get(f"{place}?status=amended")) == []
        assert keys(api.get(f"Patient/{uuid.uuid4()}/Observation")) == []

    def test_pages_by_links_that_stay_in_it(self, api: Api) -> None:
        one, other = api.create(patient()), api.create(patient())
        mine = [api.create(observation(subject)) for subject in (one, other, one, one)]
        seen: list[str] = []
        url: str | None = f"Patient/{one['id']}/Observation?_count=1&status=final"
        while url:
            page = api.get(url)
            seen += keys(page)
            url = next((each["url"] for each in page.json()["link"] if each["relation"] == "next"), None)
            assert url is None or f"/Patient/{one['id']}/Observation?" in url
        assert seen == [f"Observation/{each['id']}" for each in mine if each != mine[1]]

    def test_of_all_types_holds_the_owner_too(self, api: Api) -> None:
        one = api.create(patient())
        seen = api.create(observation(one))
        assert keys(api.get(f"Patient/{one['id']}/*")) == [
            f"Patient/{one['id']}",
            f"Observation/{seen['id']}",
        ]
        assert keys(api.get(f"Patient/{one['id']}/*?_type=Observation")) == [f"Observation/{seen['id']}"]
        assert keys(api.get(f"Patient/{one['id']}/Patient")) == [f"Patient/{one['id']}"]

    @pytest.mark.parametrize(
        ("url", "status"),
        [
            ("Patient/x/Organization", 400),
            ("Patient/x/*?_type=Organization", 400),
            ("Organization/x/Observation", 404),
            ("Patient/x/Nonsense", 404),
            ("Patient/x/Observation?code:foo=1", 400),
        ],
    )
    def test_says_what_it_cannot_hold(self, api: Api, url: str, status: int) -> None:
        answer = api.get(url)
        assert answer.status_code == status
        assert outcome(answer)

    def test_of_every_kind_is_searched(self, api: Api) -> None:
        for owner in ("Encounter", "Practitioner", "RelatedPerson", "Device"):
            assert keys(api.get(f"{owner}/x/Observation")) == []


class TestEverything:
    @pytest.fixture
    def case(self, api: Api) -> dict[str, Json]:
        nurse = api.create({"resourceType": "Practitioner", "active": True})
        one = api.create(patient())
        binary = api.create({"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})
        attachment = {"contentType": "text/plain", "url": f"Binary/{binary['id']}"}
        named = {"performer": [{"reference": f"Practitioner/{nurse['id']}"}]}
        made = {
            "nurse": nurse,
            "patient": one,
            "binary": binary,
            "old": api.create(observation(one, effectiveDateTime="2020-05-01", **named)),
            "new": api.create(observation(one, effectiveDateTime="2024-05-01")),
            "undated": api.create(observation(one)),
            "document": api.create(
                {
                    "resourceType": "DocumentReference",
                    "status": "current",
                    "date": "2024-05-01T10:00:00Z",
                    "subject": {"reference": f"Patient/{one['id']}"},
                    "content": [{"attachment": attachment}],
                }
            ),
        }
        return {name: each | {"key": f"{each['resourceType']}/{each['id']}"} for name, each in made.items()}

    def found(self, api: Api, case: dict[str, Json], query: str = "") -> set[str]:
        names = {each["key"]: name for name, each in case.items()}
        place = f"Patient/{case['patient']['id']}/$everything"
        return {names[key] for key in keys(api.get(f"{place}?{query}"))}

    def test_brings_what_is_referred_to_and_binaries(self, api: Api, case: dict[str, Json]) -> None:
        assert self.found(api, case) == set(case)

    def test_chooses_by_type_and_change_from_all_that_would_come(
        self, api: Api, case: dict[str, Json]
    ) -> None:
        assert self.found(api, case, "_type=Practitioner,Binary") == {"nurse", "binary"}
        since = case["document"]["meta"]["lastUpdated"]
        changed = {name: value for name, value in case["nurse"].items() if name not in ("meta", "key")} | {
            "active": False
        }
        api.put(case["nurse"]["key"], changed)
        assert self.found(api, case, f"_since={since}") == {"document", "nurse"}

    @pytest.mark.parametrize(
        "asked", ["", "_type=Observation,Practitioner,Binary", "_since=2000-01-01T00:00:00Z"]
    )
    def test_pages_give_each_resource_once_and_what_is_referred_to_at_the_end(
        self, api: Api, case: dict[str, Json], asked: str
    ) -> None:
        place = f"Patient/{case['patient']['id']}/$everything?{asked}"
        whole = api.get(place)
        assert whole.json()["total"] == len(keys(whole))
        for count in (1, 2, 3):
            seen: list[str] = []
            url: str | None = f"{place}&_count={count}"
            while url:
                page = api.get(url)
                assert len(keys(page)) <= count
                assert "total" not in page.json()
                seen += keys(page)
                url = next((each["url"] for each in page.json()["link"] if each["relation"] == "next"), None)
            assert seen == keys(whole)
            assert seen[-2:] == [case["binary"]["key"], case["nurse"]["key"]]

    @pytest.mark.parametrize("cursor", ["Nonsense.", "Observation.x", "x"])
    def test_refuses_a_cursor_that_it_did_not_give(
        self, api: Api, case: dict[str, Json], cursor: str
    ) -> None:
        place = f"Patient/{case['patient']['id']}/$everything"
        assert outcome(api.get(f"{place}?_cursor={cursor}"))["code"] == "invalid"

    def test_limits_the_time_of_the_care(self, api: Api, case: dict[str, Json]) -> None:
        always = {"patient", "undated"}
        assert self.found(api, case, "end=2021") == {*always, "old", "nurse"}
        assert self.found(api, case, "start=2021") == {*always, "new", "document", "binary"}
        assert self.found(api, case, "start=2024-05-01&end=2024-05-01") == {
            *always,
            "new",
            "document",
            "binary",
        }
        assert self.found(api, case, "start=2025") == always
        place = f"Patient/{case['patient']['id']}/$everything"
        for wrong in ("start=soon", "end=2024-13"):
            assert outcome(api.get(f"{place}?{wrong}"))["code"] == "invalid"

    def test_ends_a_page_by_its_bytes(self, sqlite_api: Callable[..., Api]) -> None:
        api = sqlite_api(limits=LimitSettings(answer_bytes=50_000))
        one = api.create(patient())
        for _ in range(5):
            api.create(observation(one, note=[{"text": "x" * 20_000}]))
        seen: list[str] = []
        url: str | None = f"Patient/{one['id']}/$everything"
        pages = 0
        while url:
            page = api.get(url)
            pages += 1
            assert len(page.content) < 60_000
            seen += keys(page)
            url = next((each["url"] for each in page.json()["link"] if each["relation"] == "next"), None)
        assert pages == 3
        assert len(set(seen)) == len(seen) == 6
