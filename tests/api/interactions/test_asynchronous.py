"""`Prefer: respond-async`: what takes long is answered later, by whatever process is asked for the answer."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from fhir_coprod.api.formats import from_http_date
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import LimitSettings, Settings, StoreSettings
from fhir_coprod.store import Store, async_requests
from fhir_coprod.store.async_requests import AsyncRequest
from fhir_coprod.store.lease import Lease
from tests.api.conftest import Api, outcome, patient
from tests.api.interactions.test_transaction import bundle, entry, observation

LATER = {"Prefer": "respond-async"}


def accepted(answer: httpx.Response) -> str:
    """The address at which the answer will be."""
    assert answer.status_code == 202, answer.text
    assert outcome(answer)["severity"] == "information"
    assert answer.headers["preference-applied"] == "respond-async"
    return answer.headers["content-location"]


def fetched(api: Api, place: str) -> httpx.Response:
    """The answer, once it is there."""
    for _ in range(2000):
        answer = api.get(place)
        if answer.status_code != 202:
            return answer
        assert answer.headers["retry-after"].isdecimal()
        assert len(answer.headers["x-progress"]) <= 100
        api._runner.run(asyncio.sleep(0.005))
    raise AssertionError("no answer came")


def only(answer: httpx.Response) -> Json:
    """The one entry of the answer."""
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["resourceType"], found["type"], len(found["entry"])) == ("Bundle", "batch-response", 1)
    made: Json = found["entry"][0]
    return made


@pytest.fixture
def few(module_store: Store) -> Iterator[Api]:
    """An endpoint that keeps two requests."""
    settings = Settings(
        store=StoreSettings(url=f"{module_store._database.url.get_backend_name()}://"),
        limits=LimitSettings(async_requests=2),
    )
    module_store.write(lambda t: t.session.run("DELETE FROM async_request"))
    api = Api(module_store, settings)
    yield api
    api.close()


def kept(store: Store) -> int:
    with store.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM async_request").scalar_one())


class TestWhatIsAnsweredLater:
    @pytest.mark.parametrize(
        "url",
        [
            "Patient?_id={id}",
            "?_type=Patient,Observation&_id={id}",
            "Patient/{id}/_history",
            "Patient/_history?_count=1",
            "_history?_count=1",
            "Patient/{id}/Observation?status=final",
            "Patient/{id}/$everything?_count=1",
        ],
    )
    def test_gives_what_it_gives_at_once(self, few: Api, url: str) -> None:
        id = few.create(patient())["id"]
        few.create(observation(f"Patient/{id}"))
        url = url.format(id=id)
        found = only(fetched(few, accepted(few.get(url, **LATER))))
        assert found["response"]["status"] == "200 OK"
        assert found["resource"] == few.get(url).json()

    def test_may_be_asked_for_as_a_form_and_strictly(self, few: Api) -> None:
        id = few.create(patient())["id"]
        form = {"data": {"_id": id}, "headers": LATER}
        found = only(fetched(few, accepted(few.request("POST", "Patient/_search", **form))))
        assert [each["resource"]["id"] for each in found["resource"]["entry"]] == [id]
        wrong = accepted(few.get("Patient?nonsense=1", Prefer="respond-async, handling=strict"))
        assert only(fetched(few, wrong))["response"]["status"] == "400 Bad Request"

    def test_tells_errors_in_the_answer(self, few: Api) -> None:
        found = only(fetched(few, accepted(few.get("Patient/absent/$everything", **LATER))))
        assert found["response"]["status"] == "404 Not Found"
        assert found["response"]["outcome"]["issue"][0]["severity"] == "error"

    def test_says_until_when_it_can_be_fetched(self, few: Api) -> None:
        place = accepted(few.get("Patient?_count=0", **LATER))
        assert fetched(few, place).content == fetched(few, place).content
        until = from_http_date(fetched(few, place).headers["expires"])
        assert until is not None
        assert timedelta(minutes=59) < until - datetime.now(UTC) < timedelta(minutes=61)

    def test_takes_no_longer_than_its_own_limit(self, sqlite_api: Callable[..., Api]) -> None:
        api = sqlite_api(limits=LimitSettings(async_seconds=0.000_001))
        api.create(patient())
        found = only(fetched(api, accepted(api.get("Patient?name:contains=x", **LATER))))
        assert found["response"]["status"] == "503 Service Unavailable"


class TestWhatIsNot:
    def test_writes_are_answered_at_once(self, few: Api) -> None:
        made = few.post("Patient", patient(), **LATER)
        assert made.status_code == 201
        sent = bundle(entry("POST", "Patient", patient()), entry("GET", "Patient?_count=1"), type="batch")
        done = few.post("", sent, **LATER)
        assert [each["response"]["status"] for each in done.json()["entry"]] == ["201 Created", "200 OK"]
        assert kept(few.store) == 0

    def test_nothing_is_where_none_may_be_kept(self, sqlite_api: Callable[..., Api]) -> None:
        api = sqlite_api(limits=LimitSettings(async_requests=0))
        assert api.get("Patient?_count=0", **LATER).json()["type"] == "searchset"

    def test_what_may_not_be_done_is_refused_at_once(self, few: Api) -> None:
        assert few.get("Nonsense?_count=1", **LATER).status_code == 404
        assert few.get("Patient?_count=1", **LATER, Accept="application/fhir+xml").status_code == 406
        assert kept(few.store) == 0


class TestWhatIsKept:
    def test_is_bounded_in_number_until_it_is_taken_back(self, few: Api) -> None:
        first, _ = (accepted(few.get("Patient?_count=0", **LATER)) for _ in range(2))
        full = few.get("Patient?_count=0", **LATER)
        assert (full.status_code, "DELETE" in outcome(full)["diagnostics"]) == (503, True)
        assert few.delete(first).status_code == 202
        assert [few.get(first).status_code, few.delete(first).status_code] == [404, 404]
        accepted(few.get("Patient?_count=0", **LATER))

    def test_is_forgotten_when_it_is_old(self, few: Api) -> None:
        place = accepted(few.get("Patient?_count=0", **LATER))
        only(fetched(few, place))
        id, old = place.rpartition("/")[2], AsyncRequest(0, b"{}")
        few.store.write(lambda t: async_requests.answer(t, id=id, kept=old, answer=b"{}", seconds=-1))
        assert few.get(place).status_code == 404
        accepted(few.get("Patient?_count=0", **LATER))
        assert kept(few.store) == 1

    def test_is_not_told_if_it_is_not_as_it_was_written(self, few: Api) -> None:
        place = accepted(few.get("Patient?_count=0", **LATER))
        only(fetched(few, place))
        few.store.write(lambda t: t.session.run("UPDATE async_request SET answer = ?", (b'{"x":1}',)))
        assert few.get(place).status_code == 404

    def test_unknown_ones_are_not_found(self, few: Api) -> None:
        assert few.get(f"_async/{uuid.uuid4()}").status_code == 404
        assert few.delete("_async/x").status_code == 404


class TestAfterTheProcessThatWorkedOnIt:
    def asked(self, few: Api, id: str) -> str:
        """A request that another process has accepted, and has not answered."""
        call = {
            "interaction": "search-type",
            "method": "GET",
            "base": "http://localhost/fhir",
            "type": "Patient",
            "query": [["_id", id]],
            "caller": {"address": ""},
        }
        name, raw = str(uuid.uuid4()), json.dumps(call).encode()
        few.store.write(lambda t: async_requests.add(t, id=name, request=raw, seconds=60, most=20))
        return name

    def test_has_ended_another_goes_on(self, few: Api) -> None:
        id = few.create(patient())["id"]
        found = only(fetched(few, f"_async/{self.asked(few, id)}"))
        assert [each["resource"]["id"] for each in found["resource"]["entry"]] == [id]

    def test_is_asked_for_it_or_another(self, few: Api, api: Api) -> None:
        id = few.create(patient())["id"]
        place = accepted(few.get(f"Patient?_id={id}", **LATER))
        found = fetched(few, place).content
        assert fetched(api, place).content == found

    def test_still_works_the_others_leave_it_to_that_one(self, few: Api) -> None:
        name = self.asked(few, "x")
        other = Lease(f"async/{name}", 60, "elsewhere/1//x")
        assert few.store.write(other.take) is None
        for _ in range(3):
            assert few.get(f"_async/{name}").status_code == 202
            few._runner.run(asyncio.sleep(0.05))
        few.store.write(other.give_up)
        assert only(fetched(few, f"_async/{name}"))["response"]["status"] == "200 OK"
