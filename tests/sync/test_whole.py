"""Whole must be known, not hoped: what tells that a listing was not everything, and what is done then."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.outcome import OK
from fhir_coprod.settings import EhrSettings, Settings, SyncSettings
from fhir_coprod.store import Query, Store
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging import feed
from fhir_coprod.sync.staging.feed import Feed
from fhir_coprod.sync.staging.stage import Counts
from tests.sync.departments import QUICK
from tests.sync.records import Json, patient
from tests.sync.test_pages import BASE, answers, has, offer, offers, outcome, page, synced


def state(store: Store, type: str = "Patient") -> Feed:
    with store.connect() as connection:
        found = feed.read(connection, "care", type)
    assert found is not None
    return found


def alive(store: Store) -> int:
    """How many Patients there are."""
    return store.search(Query.parse("Patient", [("_total", "accurate")])).total or 0


def numbered(*numbers: int, **more: Any) -> Json:
    return has(*(f"{n:03}" for n in numbers), **more)


# --- totals ---------------------------------------------------------------------------------------


@respx.mock
def test_fewer_records_than_the_total_leave_the_type_behind_until_that_is_its_habit(store: Store) -> None:
    offers()
    answers(has("p", "q", total=3))
    report = synced(store)
    assert report.faults == {"Patient": "the server counts 3 records, and 2 came"}
    assert (state(store).state, report.counts["Patient"].created) == ("behind", 2)
    again = synced(store)
    assert again.ok
    assert again.remarks == {
        "Patient": "the server counts 3 records, and 2 came, as before: it counts in its own way"
    }
    assert state(store).state == "observable"
    assert "counts in its own way" in state(store).words
    assert synced(store).ok, "a habit stays one"
    answers(has("p", "q", total=2))
    assert synced(store).remarks == {}
    answers(has("p", "q", total=4))
    assert not synced(store).ok, "it had stopped"


@respx.mock
def test_a_vendor_file_says_that_totals_are_no_count(store: Store, tmp_path: Any) -> None:
    file = tmp_path / "ward.toml"
    file.write_text("trust_totals = false\n")
    offers()
    answers(has("p", total=3))
    assert synced(store, vendor=str(file)).ok


@respx.mock
@pytest.mark.parametrize("total", [None, "2", 2, 1, 0, -1, "many", True, 2.0])
def test_a_total_that_says_nothing_more_than_what_came_is_no_fault(store: Store, total: Any) -> None:
    """Some servers write it as a text, count only the page, or leave it out."""
    offers()
    answers(has("p", "q", total=total))
    assert synced(store).ok


@respx.mock
def test_a_total_that_counts_each_page_is_none(store: Store) -> None:
    offers()
    answers(has("p", "q", total=2, next="2"), has("r", total=1))
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"].created == 3


@respx.mock
def test_what_came_along_and_what_is_refused_is_counted_rightly(store: Store) -> None:
    offers()
    included = {"resource": patient("i"), "search": {"mode": "include"}}
    remark = {"resource": outcome("information", "informational"), "search": {"mode": "outcome"}}
    answers(
        page({"resource": patient("p")}, {"resource": {"resourceType": "Patient"}}, included, remark, total=2)
    )
    report = synced(store)
    assert report.faults == {}
    assert report.counts["Patient"] == Counts(read=2, created=1, dead=1)


@respx.mock
@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_full_page_that_names_no_next_one_never_becomes_a_habit(
    store: Store, looks: int, tmp_path: Any
) -> None:
    file = tmp_path / "ward.toml"
    file.write_text("page_size = 2\n")
    offers()
    respx.get(f"{BASE}/Patient", params={"_count": "2"}).respond(json=has("p", "q", total=5))
    for _ in range(looks):
        report = synced(store, vendor=str(file))
    assert report.faults["Patient"] == (
        "the server counts 5 records, and 2 came; its last page is full and names no next one"
    )


@respx.mock
def test_a_full_page_without_a_total_is_counted_by_itself(store: Store, tmp_path: Any) -> None:
    file = tmp_path / "ward.toml"
    file.write_text("page_size = 2\n")
    offers()
    respx.routes[-1].respond(json=page(total=5))
    respx.get(f"{BASE}/Patient", params={"_count": "2"}).respond(json=has("p", "q"))
    assert "names no next one" in synced(store, vendor=str(file)).faults["Patient"]
    respx.routes[-2].respond(json=page(total=2))
    assert synced(store, vendor=str(file)).ok


@respx.mock
@pytest.mark.parametrize("kind", ["history", "last-updated"])
def test_fewer_changes_than_the_total_are_looked_for_among_everything(store: Store, kind: str) -> None:
    stamped = [{"resource": patient(id, meta={"lastUpdated": "2026-03-02T10:00:00Z"})} for id in "pqr"]
    if kind == "history":
        offers(offer("Patient", "search-type", "history-type"))
        changes = respx.get(f"{BASE}/Patient/_history")
    else:
        offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
        changes = respx.get(
            f"{BASE}/Patient", params__contains={"_lastUpdated": "ge2026-03-02T09:58:00.000Z"}
        )
    answers(page(*stamped[:2], total=2))
    synced(store)
    changes.respond(json=page(stamped[0], total=2))
    answers(page(*stamped, total=3))
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"].created == 1
    before = respx.calls.call_count
    assert synced(store).ok
    assert respx.calls.call_count == before + 2, "that it counts so is known now"


# --- what moves while it is read ------------------------------------------------------------------


class Moving:
    """A server that pages by offset, and loses its first record after some requests."""

    def __init__(self, records: int, size: int, *, after: int, total: bool = True) -> None:
        self.ids = [f"{n:03}" for n in range(records)]
        self.size, self.after, self.total = size, after, total
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked == self.after + 1:
            self.ids.pop(0)
        start = int(request.url.params.get("page", 0))
        more = {"total": len(self.ids)} if self.total else {}
        following = str(start + self.size) if start + self.size < len(self.ids) else ""
        return httpx.Response(200, json=has(*self.ids[start : start + self.size], next=following, **more))


@respx.mock
@pytest.mark.parametrize("total", [True, False])
def test_a_record_that_goes_while_the_pages_are_read_hides_no_other(store: Store, total: bool) -> None:
    offers()
    server = Moving(30, 10, after=1, total=total)
    respx.get(f"{BASE}/Patient").mock(side_effect=server)
    respx.get(f"{BASE}/Patient/000").respond(410)
    report = synced(store)
    assert report.ok
    assert alive(store) == 30, "the eleventh, too"
    assert server.asked == 6
    assert synced(store).counts["Patient"].deleted == 1


@respx.mock
def test_pages_without_any_order_leave_the_type_behind(store: Store) -> None:
    """Each look shows others, and some twice."""
    offers()
    looks = [
        numbered(0, 1, total=6, next="2"), numbered(1, 2, total=6, next="3"), numbered(0, 3, total=6),
        numbered(2, 4, total=6, next="2"), numbered(2, 1, total=6, next="3"), numbered(3, 0, total=6),
    ]  # fmt: skip
    respx.get(f"{BASE}/Patient").mock(side_effect=[httpx.Response(200, json=one) for one in looks])
    report = synced(store)
    assert report.faults["Patient"].startswith("the server counts 6 records, and 5 came")
    assert report.counts["Patient"].created == 5


@respx.mock
def test_records_that_come_while_the_pages_are_read_do_not_hold_it_up(store: Store) -> None:
    """They are newer than the run, and the next one asks for what is new."""
    offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
    new = {"resource": patient("new", meta={"lastUpdated": "2100-01-01T00:00:00Z"})}
    old = [{"resource": patient(id, meta={"lastUpdated": "2026-01-01T00:00:00Z"})} for id in "pq"]
    looks = [page(old[0], total=2, next="2"), page(old[1], new, total=3)]
    route = respx.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.Response(200, json=one) for one in looks * 2]
    )
    assert synced(store).ok
    assert route.call_count == 4


# --- pages that end in their own way --------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(
    "odd",
    [
        {"link": [{"relation": "next", "url": None}]},
        {"link": None},
        {"link": []},
        {"link": [{"relation": "next", "url": ""}]},
        {"link": [{"relation": None, "url": "x"}]},
        {"entry": None, "link": None, "total": 0},
    ],
)
def test_a_null_is_nothing(store: Store, odd: Json) -> None:
    offers()
    answers({**has("p"), **odd})
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"].read == (0 if "entry" in odd else 1)


@respx.mock
@pytest.mark.parametrize(
    "link", [{"relation": "next", "url": 7}, {"relation": 7, "url": "x"}, "next", [{"relation": "next"}]]
)
def test_a_link_that_cannot_be_read_is_a_fault(store: Store, link: Any) -> None:
    offers()
    answers({**has("p"), "link": [link]})
    assert "links cannot be read" in synced(store).faults["Patient"]


@respx.mock
def test_one_entry_outside_of_a_list_is_read(store: Store) -> None:
    offers()
    answers({**has("p"), "entry": {"resource": patient("q")}, "total": 1})
    assert synced(store).counts["Patient"].created == 1


@respx.mock
def test_a_history_whose_every_page_names_a_next_one_ends_where_its_total_is_met(store: Store) -> None:
    offers(offer("Patient", "search-type", "history-type"))
    first = {"resource": patient("p", meta={"lastUpdated": "2026-03-02T10:00:00Z"})}
    answers(page(first, total=1))
    synced(store)
    endless = iter(range(2, 99))
    history = respx.get(f"{BASE}/Patient/_history").respond(json=page(first, total=1, next="2"))
    more = respx.get(f"{BASE}/Patient", params__contains={"page": "2"}).mock(
        side_effect=lambda request: httpx.Response(200, json=page(total=1, next=str(next(endless))))
    )
    assert synced(store).ok
    assert (history.call_count, more.call_count) == (1, 1)


@respx.mock
@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_link_behind_the_last_page_may_lead_to_nothing(store: Store, status: int) -> None:
    offers()
    answers(has("p", total=2, next="2"), has("q", total=2, next="3"), httpx.Response(status))
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"].created == 2


@respx.mock
def test_an_answer_without_content_is_an_empty_page(store: Store) -> None:
    offers()
    answers(httpx.Response(204))
    assert synced(store).ok


@respx.mock
def test_a_page_that_fails_costs_itself_where_pages_are_counted(store: Store) -> None:
    offers()
    answers(
        has("p", total=4, next="2"), has("q", total=4, next="3"),
        httpx.Response(500), has("s", total=4),
    )  # fmt: skip
    report = synced(store)
    assert report.counts["Patient"].created == 3
    assert report.faults["Patient"].startswith("1 page could not be read")
    assert state(store).state == "behind"


# --- an EHR that comes back empty -----------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize("kind", ["crawl", "full"])
def test_what_vanishes_at_once_is_deleted_only_if_a_person_says_so(store: Store, kind: str) -> None:
    parameters = ("_lastUpdated",) if kind == "full" else ()
    offers(offer("Patient", "search-type", parameters=parameters))
    answers(numbered(*range(60), total=60))
    synced(store)
    answers(page(total=0))
    asked = respx.get(url__regex=rf"{BASE}/Patient/\d+").respond(410)
    report = synced(store, full=kind == "full")
    assert report.faults["Patient"] == (
        "60 of 60 records are not there any more; nothing was deleted here. If the EHR has been emptied by "
        "mistake, wait until it is back; if they are really gone, run: "
        "fhir-coprod sync care --full --accept-deletions"
    )
    assert not asked.called
    assert (alive(store), state(store).state) == (60, "behind")
    accepted = run_with(store, accept_deletions=True, full=True)
    assert accepted.ok
    assert accepted.counts["Patient"].deleted == 60


def run_with(store: Store, *, full: bool = False, accept_deletions: bool = False, **sync: Any) -> EhrReport:
    ehr = EhrSettings(name="care", url=BASE, types=("Patient",), requests_per_second=1000)
    settings = Settings(ehr=(ehr,), sync=SyncSettings(**sync))
    (report,) = run(
        store, settings, full=full, accept_deletions=accept_deletions, politeness=QUICK, validate=lambda d: OK
    )
    return report


@respx.mock
@pytest.mark.parametrize(("gone", "share", "ok"), [(50, 0.1, True), (51, 0.1, False), (51, 0.85, True)])
def test_so_many_may_vanish_as_the_settings_say_and_fifty_always(
    store: Store, gone: int, share: float, ok: bool
) -> None:
    offers()
    answers(numbered(*range(60)))
    synced(store)
    answers(numbered(*range(gone, 60)))
    respx.get(url__regex=rf"{BASE}/Patient/\d+").respond(410)
    report = run_with(store, max_deleted_share=share)
    assert report.ok is ok
    assert alive(store) == (60 - gone if ok else 60)


@respx.mock
def test_a_history_may_not_delete_everything_at_once_either(store: Store) -> None:
    offers(offer("Patient", "search-type", "history-type"))
    stamp = {"lastUpdated": "2026-03-02T10:00:00Z"}
    ids = [f"{n:03}" for n in range(60)]
    answers(page(*({"resource": patient(id, meta=stamp)} for id in ids)))
    synced(store)
    deletions = [{"request": {"method": "DELETE", "url": f"Patient/{id}"}} for id in ids]
    respx.get(f"{BASE}/Patient/_history").respond(json=page(*deletions))
    assert "60 of 60 records" in synced(store).faults["Patient"]
    assert alive(store) == 60


@respx.mock
def test_records_read_by_reference_do_not_vanish_at_once_either(store: Store) -> None:
    offers(offer("Patient", "read"), software="Epic")
    ids = tuple(f"{n:03}" for n in range(60))
    each = respx.get(url__regex=rf"{BASE}/Patient/\d+").mock(
        side_effect=lambda request: httpx.Response(200, json=patient(request.url.path[-3:]))
    )
    synced(store, patients=ids)
    each.mock(return_value=httpx.Response(404), side_effect=None)
    assert "60 of 60 records" in synced(store, patients=ids[:1]).faults["Patient"]
    assert alive(store) == 60


# --- the full look by itself ----------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(("hours", "deleted"), [(24, 0), (0, 0), (0.000001, 1)])
def test_a_deletion_is_found_by_the_full_look_that_comes_by_itself(
    store: Store, hours: float, deleted: int
) -> None:
    offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
    stamped = [{"resource": patient(id, meta={"lastUpdated": "2026-03-02T10:00:00Z"})} for id in "pq"]
    answers(page(*stamped))
    run_with(store)
    answers(page(stamped[0]))
    respx.get(f"{BASE}/Patient/q").respond(410)
    assert run_with(store, full_every_hours=hours).counts["Patient"].deleted == deleted


@respx.mock
def test_a_full_look_that_did_not_see_everything_is_done_again(store: Store) -> None:
    offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
    stamped = {"resource": patient("p", meta={"lastUpdated": "2026-03-02T10:00:00Z"})}
    answers(page(stamped))
    synced(store)
    answers(page(stamped, {"resource": outcome("error", "timeout")}))
    synced(store, full=True)
    answers(page(stamped))
    before = respx.calls.call_count
    assert synced(store).ok
    assert "_lastUpdated" not in str(respx.calls[before + 1].request.url)


@respx.mock
@pytest.mark.parametrize(("more", "since"), [({}, "09:58"), ({"overlap_seconds": 600}, "09:50")])
def test_the_settings_say_how_far_to_reach_back(store: Store, more: Json, since: str) -> None:
    offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
    answers(page({"resource": patient("p", meta={"lastUpdated": "2026-03-02T10:00:00Z"})}))
    synced(store)
    late = {"resource": patient("late", meta={"lastUpdated": "2026-03-02T09:55:00Z"})}
    answers(page(late))
    assert synced(store, **more).counts["Patient"].created == 1
    assert f"ge2026-03-02T{since}" in respx.calls[-1].request.url.params["_lastUpdated"]
