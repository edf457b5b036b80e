"""Which of two versions is the newer one, and which records are only a part."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.store import Store
from fhir_coprod.sync.staging.order import Order
from tests.sync.records import Json, patient
from tests.sync.test_pages import BASE, answers, genders, offer, offers, page, synced
from tests.sync.test_whole import alive, state


def version(gender: str, number: str, time: str, **more: Any) -> Json:
    stamps = {"versionId": number, "lastUpdated": f"2026-03-02T{time}:00Z"}
    return {"resource": patient("p", gender=gender, meta=stamps), **more}


def care(kind: str) -> None:
    """A server whose plan is of that kind; its history shows what its search shows."""
    if kind == "history":
        offers(offer("Patient", "search-type", "history-type"))
    elif kind == "last-updated":
        offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
    else:
        offers()


def shows(kind: str, *entries: Json) -> None:
    answers(page(*entries))
    if kind == "history":
        respx.get(f"{BASE}/Patient/_history").respond(json=page(*entries))


PLANS = ["history", "last-updated", "crawl"]


@respx.mock
@pytest.mark.parametrize("kind", PLANS)
def test_a_later_version_with_an_older_stamp_wins(store: Store, kind: str) -> None:
    """The clock was set back, or several machines write."""
    care(kind)
    shows(kind, version("male", "1", "11:00"))
    synced(store)
    past = [version("male", "1", "11:00")] if kind == "history" else []
    shows(kind, version("female", "2", "10:00"), *past)
    assert synced(store).counts["Patient"].updated == 1
    assert genders(store) == ["female"]
    assert synced(store).counts["Patient"].unchanged == 1


@respx.mock
@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("time", ["09:00", "10:00"])
def test_an_earlier_version_with_an_older_stamp_does_not_win(store: Store, kind: str, time: str) -> None:
    care(kind)
    shows(kind, version("female", "2", "10:00"))
    synced(store)
    shows(kind, version("male", "1", time))
    assert synced(store).counts["Patient"].unchanged == 1
    assert genders(store) == ["female"]


@respx.mock
@pytest.mark.parametrize("kind", PLANS)
def test_a_server_that_counts_anew_is_believed_by_its_stamps(store: Store, kind: str) -> None:
    care(kind)
    shows(kind, version("male", "7", "10:00"))
    synced(store)
    shows(kind, version("female", "1", "11:00"))
    synced(store)
    assert genders(store) == ["female"]


@respx.mock
def test_a_crawl_goes_by_content_where_version_numbers_say_nothing(store: Store) -> None:
    offers()
    answers(page(version("male", "W/a", "11:00")))
    synced(store)
    answers(page(version("female", "W/b", "10:00")))
    assert synced(store).counts["Patient"].updated == 1


@respx.mock
def test_what_comes_first_in_a_history_is_the_newest_where_numbers_say_nothing(store: Store) -> None:
    care("history")
    shows("history", version("male", "a", "10:30"))
    synced(store)
    shows(
        "history",
        version("female", "c", "10:10"),
        version("other", "b", "11:00"),
        version("male", "a", "10:30"),
    )
    synced(store)
    assert genders(store) == ["female"]


ORDERS = st.builds(
    Order,
    st.none() | st.integers(1, 3),
    st.sampled_from(["", "2026-03-02T10:00:00.000000Z", "2026-03-02T11:00:00.000000Z"]),
)


@given(ORDERS, ORDERS, st.booleans())
def test_of_two_versions_at_most_one_is_older(one: Order, other: Order, by_content: bool) -> None:
    assert not (one.is_before(other, by_content=by_content) and other.is_before(one, by_content=by_content))
    assert not one.is_before(one, by_content=by_content)


@given(ORDERS, ORDERS)
def test_a_greater_number_is_never_older_and_a_later_time_neither(one: Order, other: Order) -> None:
    if one.number is not None and other.number is not None and one.number > other.number:
        assert not one.is_before(other, by_content=False)
    if one.updated > other.updated:
        assert not one.is_before(other, by_content=False) or (other.number or 0) > (one.number or 9)


# --- deletions, told in other ways ----------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(
    "entry",
    [
        {"request": {"method": "GET", "url": "Patient/p/_history/2"}, "response": {"status": "410"}},
        {
            "request": {"method": "GET", "url": "Patient/p"},
            "response": {"status": "410 Gone"},
            "resource": None,
        },
        {
            "fullUrl": f"{BASE}/Patient/p",
            "request": {"method": "DELETE", "url": "Patient?identifier=urn:x|1"},
            "response": {"status": "204"},
        },
        {"fullUrl": f"{BASE}/Patient/p", "request": {"method": "DELETE", "url": f"{BASE}/Patient?_id=p"}},
        {"fullUrl": f"{BASE}/Patient/p", "request": {"method": "DELETE", "url": None}},
    ],
)
def test_a_deletion_is_seen_however_a_history_tells_it(store: Store, entry: Json) -> None:
    care("history")
    shows("history", version("male", "1", "10:00"))
    synced(store)
    respx.get(f"{BASE}/Patient/_history").respond(json=page(entry))
    respx.get(f"{BASE}/Patient/p").respond(410)
    assert synced(store).counts["Patient"].deleted == 1


@respx.mock
def test_a_request_that_failed_with_a_body_is_no_deletion(store: Store) -> None:
    care("history")
    shows("history", version("male", "1", "10:00"))
    synced(store)
    failed = version(
        "female", "2", "11:00", request={"method": "PUT", "url": "Patient/p"}, response={"status": "404"}
    )
    respx.get(f"{BASE}/Patient/_history").respond(json=page(failed))
    synced(store)
    assert genders(store) == ["female"]


# --- a part of a record ---------------------------------------------------------------------------

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def part(number: str = "2", **more: Any) -> Json:
    meta = {"versionId": number, "lastUpdated": f"2026-03-02T1{number}:00:00Z", "tag": [SUBSETTED]}
    return {"resourceType": "Patient", "id": "p", "meta": meta, "name": [{"family": "Öst"}], **more}


@respx.mock
def test_a_part_of_a_record_does_not_replace_the_whole(store: Store) -> None:
    offers()
    answers(page(version("female", "1", "10:00")))
    synced(store)
    answers(page({"resource": part()}))
    alone = respx.get(f"{BASE}/Patient/p").respond(json=part())
    report = synced(store)
    assert genders(store) == ["female"]
    assert report.faults["Patient"] == (
        "1 record came only in part (SUBSETTED), also by themselves; what was whole is kept"
    )
    assert state(store).state == "behind"
    alone.respond(json=version("other", "2", "12:00")["resource"])
    assert synced(store).counts["Patient"].updated == 1
    assert genders(store) == ["other"]


@respx.mock
def test_a_part_of_what_we_have_as_a_whole_is_not_asked_for_again(store: Store) -> None:
    offers()
    answers(page(version("female", "2", "12:00")))
    synced(store)
    answers(page({"resource": part()}))
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"].unchanged == 1


@respx.mock
def test_a_record_that_only_ever_comes_in_part_is_taken_and_told(store: Store) -> None:
    offers()
    answers(page({"resource": part()}))
    alone = respx.get(f"{BASE}/Patient/p").respond(403)
    report = synced(store)
    assert report.ok
    assert report.remarks == {"Patient": "1 record came only in part (SUBSETTED)"}
    answers(page({"resource": part("3", gender="male")}))
    synced(store)
    assert genders(store) == ["male"], "a part may replace a part"
    alone.respond(410)
    answers(page({"resource": part("4")}))
    assert synced(store).counts["Patient"].deleted == 1
    assert alive(store) == 0


@respx.mock
def test_a_part_read_by_reference_does_not_replace_the_whole(store: Store) -> None:
    offers(offer("Patient", "read"), software="Epic")
    route = respx.get(f"{BASE}/Patient/p").respond(json=version("female", "1", "10:00")["resource"])
    synced(store, patients=("p",))
    route.mock(return_value=httpx.Response(200, json=part()))
    synced(store, patients=("p",))
    assert genders(store) == ["female"]
