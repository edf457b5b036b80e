"""A pull that is cut off goes on where it was: by a quota, by an EHR that stops answering, by a kill."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Outcome
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.reading import listing
from fhir_coprod.sync.staging import unfinished
from fhir_coprod.sync.staging.stage import Counts
from tests.sync.departments import QUICK
from tests.sync.test_gaps import by_patient, orders_of
from tests.sync.test_pages import BASE, answers, has, offer, offers, synced
from tests.sync.test_whole import alive, numbered, state


class Quota:
    """Answers so many requests, then 429 until it is given more."""

    def __init__(self, answer: Any, left: int) -> None:
        self.answer, self.left = answer, left
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.left <= 0:
            return httpx.Response(429)
        self.left -= 1
        self.asked.append(str(request.url))
        return httpx.Response(200, json=self.answer(request))


@respx.mock
def test_a_quota_cuts_off_the_patients_and_the_next_run_goes_on_with_the_others(
    store: Store, tmp_path: Any
) -> None:
    offers(offer("Patient", "search-type"), offer("ServiceRequest", "search-type"))
    answers(numbered(*range(40), total=40))
    quota = Quota(orders_of, 14)
    respx.get(f"{BASE}/ServiceRequest").mock(side_effect=quota)
    vendor = by_patient(tmp_path, "ServiceRequest")
    runs = []
    for _ in range(3):
        runs.append(synced(store, "Patient", "ServiceRequest", vendor=vendor))
        quota.left = 14
    assert [run.counts["ServiceRequest"].created for run in runs] == [14, 14, 12]
    assert len(set(quota.asked)) == 40, "nobody is asked for twice"
    assert [run.ok for run in runs] == [False, False, True]
    assert "429" in runs[0].faults["ServiceRequest"] or "left alone" in runs[0].faults["ServiceRequest"]
    assert state(store, "ServiceRequest").state == "observable"


@respx.mock
def test_what_was_answered_before_a_quota_was_used_up_is_taken_however_late_it_comes(
    store: Store, tmp_path: Any
) -> None:
    offers(offer("Patient", "search-type"), offer("ServiceRequest", "search-type"))
    answers(numbered(*range(12), total=12))
    quota = Quota(orders_of, 4)

    async def answered(request: httpx.Request) -> httpx.Response:
        answer = quota(request)
        if len(quota.asked) == 4 and answer.status_code == 200:
            await asyncio.sleep(0.3)  # meanwhile all others are refused until they give up
        return answer

    respx.get(f"{BASE}/ServiceRequest").mock(side_effect=answered)
    report = synced(store, "Patient", "ServiceRequest", vendor=by_patient(tmp_path, "ServiceRequest"))
    assert not report.ok
    assert report.counts["ServiceRequest"].created == 4


@respx.mock
def test_a_round_that_took_several_runs_is_known_as_of_its_beginning_and_deletes_what_is_gone(
    store: Store, tmp_path: Any
) -> None:
    offers(offer("Patient", "search-type"), offer("ServiceRequest", "search-type"))
    answers(numbered(*range(8), total=8))
    gone: set[str] = set()
    quota = Quota(lambda r: has(total=0) if r.url.params["patient"] in gone else orders_of(r), 99)
    respx.get(f"{BASE}/ServiceRequest").mock(side_effect=quota)
    vendor = by_patient(tmp_path, "ServiceRequest")
    synced(store, "Patient", "ServiceRequest", vendor=vendor)
    first = state(store, "ServiceRequest").last_success
    gone |= {"000", "007"}
    for id in gone:
        respx.get(f"{BASE}/ServiceRequest/s-{id}").respond(410)
    quota.left = 4
    assert synced(store, "Patient", "ServiceRequest", vendor=vendor).counts["ServiceRequest"].deleted == 0
    assert state(store, "ServiceRequest").last_success == first
    quota.left = 99
    report = synced(store, "Patient", "ServiceRequest", vendor=vendor)
    assert report.counts["ServiceRequest"].deleted == 2, "also of those asked for in the run before"
    known = state(store, "ServiceRequest")
    assert known.last_success is not None
    assert first is not None
    assert first < known.last_success < known.since or known.state == "observable"


def paged(request: httpx.Request) -> Any:
    start = int(request.url.params.get("page", 0))
    following = str(start + 10) if start + 10 < 50 else ""
    return numbered(*range(start, start + 10), next=following, total=50)


@respx.mock
def test_pages_go_on_where_a_quota_cut_them_off(store: Store) -> None:
    offers()
    quota = Quota(paged, 3)
    respx.get(f"{BASE}/Patient").mock(side_effect=quota)
    assert synced(store).counts["Patient"].created == 30
    quota.left = 2
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"] == Counts(read=20, created=20)
    assert len(quota.asked) == 5
    assert alive(store) == 50


@respx.mock
def test_pages_that_the_server_has_forgotten_begin_again(store: Store) -> None:
    offers()
    quota = Quota(paged, 3)
    route = respx.get(f"{BASE}/Patient").mock(side_effect=quota)
    synced(store)
    forgotten = {"30"}

    def forgets(request: httpx.Request) -> httpx.Response:
        page = request.url.params.get("page", "0")
        return httpx.Response(410) if page in forgotten and not forgotten.discard(page) else quota(request)

    quota.left = 99
    route.mock(side_effect=forgets)
    assert synced(store).ok
    assert alive(store) == 50


@respx.mock
@pytest.mark.parametrize("full", [False, True])
def test_a_full_run_begins_anew(store: Store, full: bool) -> None:
    offers()
    quota = Quota(paged, 3)
    respx.get(f"{BASE}/Patient").mock(side_effect=quota)
    synced(store)
    quota.left = 99
    synced(store, full=full)
    assert len(quota.asked) == (8 if full else 5)


@respx.mock
def test_a_first_pull_that_is_killed_goes_on_where_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves is what the last transaction wrote."""
    monkeypatch.setattr(listing, "SAVED_EVERY", 0.0)
    monkeypatch.setattr(listing, "HELD", 0.0)
    offers()
    route = respx.get(f"{BASE}/Patient").mock(side_effect=lambda r: httpx.Response(200, json=paged(r)))

    def killed(document: Document) -> Outcome:
        if document.data["id"] == "035":
            raise KeyboardInterrupt
        return OK

    ehr = EhrSettings(name="care", url=BASE, types=("Patient",), requests_per_second=1000)
    with pytest.raises(KeyboardInterrupt):
        run(store, Settings(ehr=(ehr,)), politeness=QUICK, validate=killed)
    before = len(route.calls)
    report = synced(store)
    assert report.ok
    assert [call.request.url.params["page"] for call in route.calls[before:]] == ["30", "40"]
    assert report.counts["Patient"].created == 20
    assert alive(store) == 50


@respx.mock
def test_what_another_version_left_is_begun_again(store: Store) -> None:
    offers()
    answers(has("p"))
    store.write(lambda t: unfinished.save(t.connection, "care", "Patient", b'{"began":7}'))
    assert synced(store).ok
    with store.connect() as connection:
        assert unfinished.read(connection, "care", "Patient") is None
